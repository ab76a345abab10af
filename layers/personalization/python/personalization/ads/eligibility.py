"""Who may take part: reasons that do not depend on how well an ad scores."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from personalization.ads.candidates import Candidates
from personalization.ads.terms import BUDGET_SPENT, FREQUENCY_CAP, INELIGIBLE, OUT_OF_FLIGHT
from personalization.ads.valuation import Valuation
from personalization.core.time import MISSING_TIME, format_timestamp


@dataclass(frozen=True, slots=True)
class LossReason:
    """Why a candidate cannot win: one of `names.REASONS`, and what was found."""

    reason: str
    detail: str


@dataclass(frozen=True)
class Limits:
    """What is known at the moment of the decision.

    now_ms     milliseconds since 1970 UTC
    channel    on which the ad will be shown, or `None`: any
    excluded   ads and campaigns that the shop keeps out of this place
    shown      impressions of each ad that this user had within the frequency window
    spent      campaigns whose budget is used up
    """

    now_ms: int
    channel: str | None = None
    excluded: Collection[str] = ()
    shown: Mapping[str, int] = field(default_factory=dict)
    spent: Collection[str] = ()


def ineligible(candidates: Candidates, worth: Valuation, limits: Limits) -> list[LossReason | None]:
    """For each candidate the first thing that keeps it out, `None` for the eligible ones."""
    out: list[LossReason | None] = [None] * len(candidates)
    excluded, spent = frozenset(limits.excluded), frozenset(limits.spent)
    columns = (np.isfinite(worth.gain), candidates.campaign, candidates.starts_at, candidates.ends_at, candidates.frequency_cap)
    rows = zip(candidates.ad_id, candidates.channel, *(column.tolist() for column in columns), strict=True)
    for row, (ad_id, channel, valued, code, starts, ends, cap) in enumerate(rows):
        campaign, seen = candidates.campaigns[code], limits.shown.get(ad_id, 0)
        if not valued:
            out[row] = LossReason(INELIGIBLE, worth.missing)
        elif ad_id in excluded or campaign in excluded:
            out[row] = LossReason(INELIGIBLE, "excluded by the request")
        elif limits.channel is not None and channel is not None and channel != limits.channel:
            out[row] = LossReason(INELIGIBLE, f"made for the channel {channel!r:.40}")
        elif starts != MISSING_TIME and limits.now_ms < starts:
            out[row] = LossReason(OUT_OF_FLIGHT, f"starts at {format_timestamp(starts, 'seconds')}")
        elif ends != MISSING_TIME and limits.now_ms >= ends:
            out[row] = LossReason(OUT_OF_FLIGHT, f"ended at {format_timestamp(ends, 'seconds')}")
        elif seen >= cap:  # never of a missing one
            out[row] = LossReason(FREQUENCY_CAP, f"shown {seen} times, at most {cap:g} are allowed")
        elif campaign in spent:
            out[row] = LossReason(BUDGET_SPENT, "the campaign's budget is used up")
    return out
