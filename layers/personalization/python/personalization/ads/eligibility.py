"""Eligibility: which candidates may take part in an auction, and the reasons why a candidate lost."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from personalization.ads.candidates import Candidates
from personalization.ads.valuation import Valuation
from personalization.core.time import MISSING_TIME, format_timestamp

# A loser gets the first reason that holds, in this order. The last three are found by the auction.
Reason = Literal[
    "ineligible", "out_of_flight", "frequency_cap", "budget_spent", "below_floor", "paced", "outscored"
]  # fmt: skip
INELIGIBLE: Final = "ineligible"
OUT_OF_FLIGHT: Final = "out_of_flight"
FREQUENCY_CAP: Final = "frequency_cap"
BUDGET_SPENT: Final = "budget_spent"
BELOW_FLOOR: Final = "below_floor"
PACED: Final = "paced"
OUTSCORED: Final = "outscored"


@dataclass(frozen=True, slots=True)
class LossReason:
    """Why a candidate did not win: the reason, and what was found."""

    reason: Reason
    detail: str


@dataclass(frozen=True)
class Limits:
    """What restricts the candidates of a decision.

    now_ms               milliseconds since 1970 UTC
    channel              on which the ads will be shown, `None` for any
    excluded             ids of ads and campaigns that the request excludes
    impressions          by ad id, of this user within the frequency window
    capped               ads whose cap another request of this user reached in the meantime
    spent                campaigns without money
    uncounted_campaigns  campaigns with a budget, while budgets cannot be counted
    uncounted_ads        ads with a frequency cap, while impressions cannot be counted
    """

    now_ms: int
    channel: str | None = None
    excluded: Collection[str] = ()
    impressions: Mapping[str, int] = field(default_factory=dict)
    capped: Collection[str] = ()
    spent: Collection[str] = ()
    uncounted_campaigns: Collection[str] = ()
    uncounted_ads: Collection[str] = ()


def find_blocked(candidates: Candidates, valuation: Valuation, limits: Limits) -> list[LossReason | None]:
    """For each candidate the first reason that blocks it, `None` for the eligible ones."""
    blocked: list[LossReason | None] = [None] * len(candidates)
    excluded, spent = frozenset(limits.excluded), frozenset(limits.spent)
    columns = (
        np.isfinite(valuation.value_if_seen), candidates.campaign, candidates.starts_at, candidates.ends_at,
        candidates.frequency_cap,
    )  # fmt: skip
    rows = zip(candidates.ad_id, candidates.channel, *(column.tolist() for column in columns), strict=True)
    for row, (ad_id, channel, valued, code, starts, ends, cap) in enumerate(rows):
        campaign, impressions = candidates.campaigns[code], limits.impressions.get(ad_id, 0)
        if not valued:
            blocked[row] = LossReason(INELIGIBLE, valuation.unvalued)
        elif ad_id in excluded or campaign in excluded:
            blocked[row] = LossReason(INELIGIBLE, "excluded by the request")
        elif limits.channel is not None and channel is not None and channel != limits.channel:
            blocked[row] = LossReason(INELIGIBLE, f"made for the channel {channel!r:.40}")
        elif starts != MISSING_TIME and limits.now_ms < starts:
            blocked[row] = LossReason(OUT_OF_FLIGHT, f"starts at {format_timestamp(starts, 'seconds')}")
        elif ends != MISSING_TIME and limits.now_ms >= ends:
            blocked[row] = LossReason(OUT_OF_FLIGHT, f"ended at {format_timestamp(ends, 'seconds')}")
        elif impressions >= cap:  # False for a missing cap
            blocked[row] = LossReason(FREQUENCY_CAP, f"shown {impressions} times, at most {cap:g} are allowed")
        elif campaign in spent:
            blocked[row] = LossReason(BUDGET_SPENT, "the campaign's budget is used up")
        elif ad_id in limits.capped:
            blocked[row] = LossReason(FREQUENCY_CAP, "another request has just used the last allowed impression")
        elif campaign in limits.uncounted_campaigns:
            blocked[row] = LossReason(INELIGIBLE, "its budget cannot be counted now")
        elif ad_id in limits.uncounted_ads:
            blocked[row] = LossReason(INELIGIBLE, "its impressions cannot be counted now")
    return blocked
