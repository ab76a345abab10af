"""Pacing: spending a budget along the forecast of traffic, so that it lasts until the end of its span.

The plan: by any moment a campaign has spent its budget × the share of the span's traffic that is forecast up to then. The
control needs no state but the money spent: it compares it with the plan for now and the plan a little ahead. The difference
is the sum of (spent − planned) so far, which is what a dual price of the budget would be after as many steps of descent
(Balseiro, Lu and Mirrokni, ICML 2020). By default the score is shaded by it: the campaign keeps the slots that it wins by
far, and leaves those where others are worth nearly as much. The alternative throttles it at random, equally often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from personalization.core.time import DAY_MS, HOUR_MS

WEEK_HOURS: Final = 168
# A campaign may be ahead of its plan by the plan of this share of its span.
AHEAD: Final = 1 / 96  # a quarter of an hour of a day
_FIRST_MONDAY_MS: Final = 4 * DAY_MS  # 00:00 UTC; the first day of 1970 was a Thursday

Control = Literal["shade", "throttle"]


@dataclass(frozen=True, slots=True)
class Pace:
    """How a campaign takes part in a decision.

    weight          factor of its scores, 0 … 1; at 0 it does not take part
    participation   probability with which it takes part in a slot
    """

    weight: float = 1.0
    participation: float = 1.0


class Traffic:
    """A forecast of traffic that repeats every week.

    weights     traffic of the 168 hours of a week from Monday 00:00 on, in any unit; even traffic without any
    offset_ms   of the local time of `weights` from UTC

    Raises `ValueError` for other than 168 finite numbers, negative ones, or only zeros.
    """

    def __init__(self, weights: Sequence[float] = (), offset_ms: int = 0) -> None:
        hours = np.asarray(weights if len(weights) else np.ones(WEEK_HOURS), dtype=np.float64)
        if hours.shape != (WEEK_HOURS,) or not np.isfinite(hours).all() or (hours < 0).any() or hours.sum() <= 0:
            raise ValueError(f"expected {WEEK_HOURS} numbers that are not negative and not all 0, received {len(hours)}")
        shares = hours / hours.sum()
        # Python floats: values are looked up one at a time.
        self._hours: list[float] = shares.tolist()
        self._before: list[float] = [0.0, *np.cumsum(shares).tolist()]
        self._offset_ms = offset_ms

    def until(self, moment_ms: float) -> float:
        """Traffic from a fixed Monday on, in weeks."""
        hours = (moment_ms + self._offset_ms - _FIRST_MONDAY_MS) / HOUR_MS
        weeks, within = divmod(hours, WEEK_HOURS)
        hour = min(int(within), WEEK_HOURS - 1)
        return weeks + self._before[hour] + (within - hour) * self._hours[hour]

    def share(self, starts_ms: float, ends_ms: float, moment_ms: float) -> float:
        """Share of the traffic between start and end that comes before a moment, 0 … 1."""
        start, whole = self.until(starts_ms), self.until(ends_ms) - self.until(starts_ms)
        if moment_ms >= ends_ms or whole <= 0:
            return 1.0
        return min(max((self.until(moment_ms) - start) / whole, 0.0), 1.0)


def pace(
    spent: float, budget: float, traffic: Traffic, starts_ms: int, ends_ms: int, now_ms: int, control: Control = "shade"
) -> Pace:
    """How a campaign takes part now.

    spent, budget        money in one unit; `spent` is settled and reserved money
    starts_ms, ends_ms   span of the budget

    A campaign behind its plan takes part fully, one that has spent its plan for `AHEAD` of the span from now not at all,
    linearly in between.
    """
    ahead_ms = AHEAD * (ends_ms - starts_ms)
    planned, planned_ahead = (budget * traffic.share(starts_ms, ends_ms, now_ms + shift) for shift in (0, ahead_ms))
    if spent < planned:
        return Pace()
    part = (planned_ahead - spent) / (planned_ahead - planned) if planned_ahead > planned else 0.0
    part = min(max(part, 0.0), 1.0)
    return Pace(weight=part) if control == "shade" else Pace(participation=part)
