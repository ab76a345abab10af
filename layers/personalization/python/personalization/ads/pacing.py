"""Spending a budget along the forecast of traffic, so that it lasts until its end and not beyond.

The plan: by any moment of the flight a campaign spends its budget × the share of the flight's traffic forecast up to then. The
control needs no memory but the money spent: how far the campaign is between its plan for now and its plan a little ahead. That
distance is the sum of (spent − planned) so far, which is what a dual price of the budget would be after as many steps of
descent (Balseiro, Lu and Mirrokni, ICML 2020); so the default shades the score by it: the campaign keeps the places that it
wins by far and leaves those where others are worth nearly as much. The alternative holds it back at random, as often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from personalization.core.time import DAY_MS, HOUR_MS

WEEK_HOURS: Final = 168
# Monday 00:00; the first day of 1970 was a Thursday.
_FIRST_MONDAY_MS: Final = 4 * DAY_MS
# How far ahead of its plan a campaign may be: the plan of this share of the flight.
AHEAD: Final = 1 / 96  # a quarter of an hour of a day

Control = Literal["shade", "throttle"]


@dataclass(frozen=True, slots=True)
class Pace:
    """How a campaign takes part in a decision.

    weight          its scores are multiplied by, 0 … 1; at 0 it takes no part
    participation   probability with which it takes part in a slot
    """

    weight: float = 1.0
    participation: float = 1.0


class Traffic:
    """A forecast of traffic that repeats every week.

    weights   traffic of the 168 hours of a week from Monday 00:00 on, in any unit; even without any
    """

    def __init__(self, weights: Sequence[float] = (), offset_ms: int = 0) -> None:
        hours = np.asarray(weights if len(weights) else np.ones(WEEK_HOURS), dtype=np.float64)
        if hours.shape != (WEEK_HOURS,) or not np.isfinite(hours).all() or (hours < 0).any() or hours.sum() <= 0:
            raise ValueError(f"expected {WEEK_HOURS} numbers that are not negative and not all 0, received {len(hours)}")
        shares = hours / hours.sum()
        # Plain numbers: one is asked for at a time.
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

    spent   money settled and reserved so far

    Behind its plan it takes part fully, at its plan for `AHEAD` of the flight from now not at all, linearly in between.
    """
    ahead_ms = AHEAD * (ends_ms - starts_ms)
    now, soon = (budget * traffic.share(starts_ms, ends_ms, now_ms + shift) for shift in (0, ahead_ms))
    if spent < now:
        return Pace()
    part = (soon - spent) / (soon - now) if soon > now else 0.0
    part = min(max(part, 0.0), 1.0)
    return Pace(weight=part) if control == "shade" else Pace(participation=part)
