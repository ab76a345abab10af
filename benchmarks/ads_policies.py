"""A randomised experiment of three arms: are its off-policy values right, and which policy earns most?

    python -m benchmarks.ads_policies [--resamples 200] [--rows 6000]

Households of the Complete Journey data with their features at four moments; how they answer to nothing, to a coupon and to a
better coupon is simulated from these features, so that every policy's true value is known. Households that buy often would buy
anyway, and a coupon only costs; those that have cooled down can be won back; those that are gone cannot.

An experiment gives every household one arm at random. From one experiment two policies are learnt, and judged by others:
- response: the arm with the highest expected profit of those who buy under it, whoever would have bought anyway
- uplift: the arm with the highest expected profit over doing nothing (`value_own` with an effect)
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from benchmarks import journey
from benchmarks.report import publish
from personalization import features
from personalization.ads.candidates import Candidates
from personalization.ads.predict import PredictedRates
from personalization.ads.valuation import value_own
from personalization.core import cells
from personalization.features import HistoryWindow
from training.evaluation.off_policy import LoggedActions, TargetPolicy, estimate
from training.io.interactions import read_interactions

ARMS: Final = ("nothing", "coupon", "better coupon")
SHARES: Final = np.array([0.4, 0.35, 0.25])  # of the arms in an experiment
MARGIN: Final = 8.0  # of a purchase
DISCOUNT: Final = np.array([0.0, 1.5, 3.0])
COST: Final = np.array([0.0, 0.05, 0.05])  # of a mail
CUTS: Final = ("2017-05-01", "2017-07-01", "2017-09-01", "2017-11-01")

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Population:
    """x   (N, F) standardised features
    buys   (N, arms) true probability of a purchase under each arm
    """

    x: Numbers
    buys: Numbers

    @property
    def profit(self) -> Numbers:
        """(N, arms) true expected profit."""
        return self.buys * (MARGIN - DISCOUNT) - COST


@dataclass(frozen=True)
class Experiment:
    """rows   of the population
    arm      (n,)
    bought   (n,) 0 or 1
    """

    rows: NDArray[np.int64]
    arm: NDArray[np.int64]
    bought: Numbers

    @property
    def logged(self) -> LoggedActions:
        profit = self.bought * (MARGIN - DISCOUNT[self.arm]) - COST[self.arm]
        return LoggedActions(profit, self.arm, SHARES[self.arm])


def population() -> Population:
    """Real features, and answers made from them."""
    events = read_interactions([journey.table("interactions")]).events
    parts = []
    for cut in CUTS:
        columns = features.compute(events, int(cells.timestamps([cut])[0][0]), HistoryWindow(), ZoneInfo("America/New_York"))
        parts.append(np.column_stack([columns[name] for name in features.FEATURES]))
    raw = np.concatenate(parts)
    names = [n for n in range(raw.shape[1]) if len(np.unique(raw[:, n][np.isfinite(raw[:, n])])) > 1]
    raw = raw[np.isfinite(raw[:, list(features.FEATURES).index("recency_days")])][:, names]
    raw = np.where(np.isfinite(raw), raw, np.nanmedian(raw, axis=0))
    x = np.clip((raw - raw.mean(axis=0)) / raw.std(axis=0), -4, 4)
    name = [list(features.FEATURES)[n] for n in names].index
    lately, overdue, worth = x[:, name("orders_28d")], x[:, name("overdue")], x[:, name("average_order_value")]
    often = -0.6 + 1.6 * lately - 0.5 * overdue
    # Won back are those between: neither those who come anyway nor those who have gone.
    between = np.exp(-0.5 * ((often + 1.2) / 0.8) ** 2)
    lift = np.stack([np.zeros(len(x)), 1.2 * between - 0.1, 1.7 * between + 0.2 * worth - 0.2], axis=1)
    return Population(x, 1 / (1 + np.exp(-(often[:, None] + lift))))


def experiment(people: Population, rows: int, random: np.random.Generator) -> Experiment:
    chosen = random.integers(0, len(people.x), rows)
    arm = random.choice(len(ARMS), rows, p=SHARES)
    bought = (random.random(rows) < people.buys[chosen, arm]).astype(float)
    return Experiment(chosen, arm, bought)


def learnt(people: Population, made: Experiment, x: Numbers) -> Numbers:
    """(N, arms) P(purchase) under each arm, one logistic regression an arm."""
    out = np.empty((len(x), len(ARMS)))
    for arm in range(len(ARMS)):
        mine = made.arm == arm
        model = LogisticRegression(C=0.05, max_iter=300).fit(people.x[made.rows[mine]], made.bought[mine])
        out[:, arm] = model.predict_proba(x)[:, 1]
    return out


def choices(buys: Numbers, *, uplift: bool) -> NDArray[np.int64]:
    """(N,) arm with the highest worth, nothing where none is worth more than 0: as the shop's own ads are chosen."""
    row = {"ad_id": "", "campaign_id": "own", "value": MARGIN}
    ads = [row | {"ad_id": ARMS[a], "discount": DISCOUNT[a], "cost": COST[a]} for a in (1, 2)]
    candidates = Candidates.from_rows(ads)
    out = np.zeros(len(buys), dtype=np.int64)
    for n, chance in enumerate(buys):
        effect = chance[1:] - chance[0] if uplift else None
        expected = value_own(candidates, PredictedRates(np.ones(2), chance[1:], effect)).expected(1.0)
        best = int(expected.argmax())
        out[n] = best + 1 if expected[best] > 0 else 0
    return out


def reward_model(people: Population, made: Experiment) -> Numbers:
    """(n, arms) expected profit by a ridge regression an arm, learnt on the other half of the rows."""
    x = np.column_stack([np.ones(len(made.rows)), people.x[made.rows]])
    half = np.arange(len(x)) % 2
    out = np.empty((len(x), len(ARMS)))
    for part in (0, 1):
        for arm in range(len(ARMS)):
            mine = (half != part) & (made.arm == arm)
            gram = x[mine].T @ x[mine] + 20.0 * np.eye(x.shape[1])
            out[half == part, arm] = x[half == part] @ np.linalg.solve(gram, x[mine].T @ made.logged.reward[mine])
    return out


def one_hot(arms: NDArray[np.int64]) -> Numbers:
    out: Numbers = np.eye(len(ARMS))[arms]
    return out


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--rows", type=int, default=6_000, help="households in an experiment")
    options = parser.parse_args([] if arguments is None else arguments)
    random = np.random.default_rng(11)
    people = population()
    first = experiment(people, options.rows, random)
    guessed = learnt(people, first, people.x)
    policies = {f"always {word}": np.full(len(people.x), arm) for arm, word in enumerate(ARMS)}
    policies |= {"response": choices(guessed, uplift=False), "uplift": choices(guessed, uplift=True)}
    policies["best possible"] = people.profit.argmax(axis=1)
    truth = {name: float(people.profit[np.arange(len(arms)), arms].mean()) for name, arms in policies.items()}
    inside: dict[tuple[str, str], int] = {}
    means: dict[tuple[str, str], list[float]] = {}
    ahead = 0
    for _ in range(options.resamples):
        made = experiment(people, options.rows, random)
        model = reward_model(people, made)
        values = {}
        for name, arms in policies.items():
            found = estimate(made.logged, TargetPolicy.of(made.logged, one_hot(arms[made.rows]), model))
            values[name] = found["dr"].value
            for method in ("ips", "dr"):
                low, high = found[method].interval()
                key = (name, method)
                inside[key] = inside.get(key, 0) + (low <= truth[name] <= high)
                means.setdefault(key, []).append(found[method].value)
        ahead += values["uplift"] > values["response"]
    rows: list[dict[str, Any]] = [
        {
            "policy": name,
            "treats": float((arms > 0).mean()),
            "true profit": truth[name],
            **{
                f"{method} {what}": content
                for method in ("ips", "dr")
                for what, content in (
                    ("mean", float(np.mean(means[name, method]))),
                    ("spread", float(np.std(means[name, method]))),
                    ("coverage", inside[name, method] / options.resamples),
                )
            },
        }
        for name, arms in policies.items()
    ]
    retrained = []
    for _ in range(20):
        again = learnt(people, experiment(people, options.rows, random), people.x)
        gains = [people.profit[np.arange(len(people.x)), choices(again, uplift=up)].mean() for up in (True, False)]
        retrained.append(float(gains[0] - gains[1]))
    publish(
        "ads_policies",
        f"A randomised experiment of three arms, {options.resamples} resamples of {options.rows:,} households",
        rows,
        [
            "coverage: how often the 95 % interval holds the true value; aim ≥ .90.",
            f"Uplift was ahead of response by DR in {ahead / options.resamples:.0%} of the resamples; in truth by "
            f"{np.mean(retrained):.3f} a household (20 trainings, {min(retrained):.3f} to {max(retrained):.3f}).",
        ],
    )


if __name__ == "__main__":
    main(sys.argv[1:])
