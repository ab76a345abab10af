"""Logged impressions for off-policy evaluation, and the target policies that the command line names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, Final

import numpy as np

from personalization.core import cells
from personalization.core.categorical import Vocabulary
from personalization.core.errors import InvalidInput
from personalization.core.schema import AD_ID, USER_ID, canonical_column
from training.evaluation.off_policy import Floats, LoggedActions, RewardModel, TargetPolicy
from training.io.tables import read_chunks

REWARDS: Final = ("click", "conversion", "conversion_value")


@dataclass(frozen=True)
class LoggedImpressions:
    """logged     the actions; the rows of a user are a cluster
    ads        ids of the actions, by code
    eligible   (N,) number of ads that could have been chosen, NaN where it is not logged
    column     (N,) values of the column of a policy `column:NAME`, or None
    left_out   number of rows that cannot be used
    reward     name of the column of rewards
    """

    logged: LoggedActions
    ads: list[str]
    eligible: Floats
    column: Floats | None
    left_out: int
    reward: str


def read_log(
    path: Path, reward: str | None = None, column: str | None = None, mapping: Mapping[str, str] | None = None,
    zone: tzinfo = UTC,
) -> LoggedImpressions:  # fmt: skip
    """Read a table of impressions with `propensity` and a reward.

    reward   one of `REWARDS`; without one the first that the log has
    column   a further column to read: a policy's probability of the logged ad

    An empty reward is 0. Raises `InvalidInput` where a column is missing or no row can be used.
    """
    users, ads = Vocabulary(), Vocabulary()
    parts: dict[str, list[Any]] = {name: [] for name in ("reward", "action", "propensity", "cluster", "eligible", "column")}
    left_out = 0
    required = [AD_ID, "propensity", *([column] if column else [])]
    for columns, rows, _ in read_chunks(path, required, mapping=mapping, zone=zone):
        reward = reward or next((name for name in REWARDS if name in columns), None)
        if reward is None or reward not in columns:
            raise InvalidInput(f"{path.name}: expected a reward ({reward or ', '.join(REWARDS)}), found none")
        propensity = cells.numbers(columns["propensity"])[0]
        action = ads.codes(cells.words(columns[AD_ID]))
        further = cells.numbers(columns[column])[0] if column else np.zeros(rows)
        usable = (propensity > 0) & (propensity <= 1) & (action >= 0) & (further >= 0)
        left_out += int((~usable).sum())
        eligible = columns.get("eligible_count")
        user = users.codes(cells.words(columns[USER_ID])) if USER_ID in columns else None
        content = {
            "reward": np.nan_to_num(cells.numbers(columns[reward])[0]),
            "action": action.astype(np.int64),
            "propensity": propensity,
            "cluster": np.full(rows, -1) if user is None else user.astype(np.int64),
            "eligible": np.full(rows, np.nan) if eligible is None else cells.numbers(eligible)[0],
            "column": further,
        }
        for name, values in content.items():
            parts[name].append(values[usable])
    joined = {name: np.concatenate(values) for name, values in parts.items() if values}
    if reward is None or not len(joined.get("reward", ())):
        raise InvalidInput(f"{path.name}: expected rows with a propensity above 0 and up to 1, found none")
    cluster = joined["cluster"]
    alone = cluster < 0
    cluster = np.where(alone, cluster.max(initial=0) + 1 + np.cumsum(alone), cluster)
    logged = LoggedActions(joined["reward"], joined["action"], joined["propensity"], np.unique(cluster, return_inverse=True)[1])
    return LoggedImpressions(logged, ads.words, joined["eligible"], joined["column"] if column else None, left_out, reward)


def target_policy(log: LoggedImpressions, policy: str) -> TargetPolicy:
    """A policy of the command line:

    uniform       each eligible ad with the same probability (`eligible_count`; without it, all ads of the log)
    ad:ID         always this ad
    column:NAME   the probability of the logged ad is in that column
    FILE.json     {ad id: probability}, the same for every user

    Raises `InvalidInput` for any other, and for ads that the log lacks.
    """
    logged, ads = log.logged, log.ads
    if log.column is not None:
        return TargetPolicy(log.column)
    if policy == "uniform":
        if np.isfinite(log.eligible).all() and not (log.eligible == len(ads)).all():
            return TargetPolicy(1.0 / np.maximum(log.eligible, 1.0))
        return RewardModel.fit(logged, len(ads)).target(logged, np.full(len(ads), 1.0 / len(ads)))
    if policy.startswith("ad:"):
        return RewardModel.fit(logged, len(ads)).target(logged, _distribution(ads, {policy[3:]: 1.0}))
    if policy.endswith(".json"):
        try:
            content = json.loads(Path(policy).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InvalidInput(f"{policy}: expected a JSON object of ad ids and probabilities ({error})") from None
        return RewardModel.fit(logged, len(ads)).target(logged, _distribution(ads, content))
    raise InvalidInput(f"expected the policy uniform, ad:ID, column:NAME or FILE.json, received {policy!r:.60}")


def policy_column(policy: str) -> str | None:
    """The column of a policy `column:NAME`; None for other policies."""
    return canonical_column(policy.removeprefix("column:")) if policy.startswith("column:") else None


def _distribution(ads: Sequence[str], probabilities: Any) -> Floats:
    if not isinstance(probabilities, dict) or not all(
        isinstance(p, int | float) and 0 <= p <= 1 for p in probabilities.values()
    ):
        raise InvalidInput("expected a JSON object of ad ids and probabilities between 0 and 1")
    unknown = sorted(set(probabilities) - set(ads))
    if unknown:
        raise InvalidInput(f"expected ads of the log, which has {len(ads)}; it lacks {', '.join(unknown[:5])}")
    if abs(sum(probabilities.values()) - 1) > 1e-6:
        raise InvalidInput(f"expected probabilities that add up to 1, received {sum(probabilities.values()):g}")
    return np.array([float(probabilities.get(ad, 0.0)) for ad in ads])
