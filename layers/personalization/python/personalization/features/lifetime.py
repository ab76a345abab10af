"""Sums over all of a user's events, however old: they add up, so late events and any order give the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personalization.core.events import Events
from personalization.core.schema import EVENT_CODE, PURCHASE, REFUND
from personalization.core.time import MISSING_TIME

_NEVER_YET = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Lifetime:
    """One entry per user.

    events, purchases   float64 numbers of events and of purchase lines
    value               float64 net value, returns taken off
    first, last         int64 milliseconds of the first and last event, `MISSING_TIME` where there is none
    """

    events: NDArray[np.float64]
    purchases: NDArray[np.float64]
    value: NDArray[np.float64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]

    def merge(self, other: Lifetime) -> Lifetime:
        """Sums over both; the two must not share an event."""
        first = np.minimum(_late(self.first), _late(other.first))
        return Lifetime(
            self.events + other.events,
            self.purchases + other.purchases,
            self.value + other.value,
            np.where(first == _NEVER_YET, MISSING_TIME, first),
            np.maximum(self.last, other.last),
        )


def lifetime(events: Events) -> Lifetime:
    """Sums over all the given events, per user of `events.users`."""
    users = len(events.users)
    purchase = is_purchase(events)
    first = np.full(users, _NEVER_YET)
    last = np.full(users, MISSING_TIME)
    np.minimum.at(first, events.user, events.timestamp)
    np.maximum.at(last, events.user, events.timestamp)
    return Lifetime(
        np.bincount(events.user, minlength=users).astype(np.float64),
        np.bincount(events.user[purchase], minlength=users).astype(np.float64),
        np.bincount(events.user, weights=net_value(events), minlength=users).astype(np.float64),
        np.where(first == _NEVER_YET, MISSING_TIME, first),
        last,
    )


def is_return(events: Events) -> NDArray[np.bool_]:
    """A refund, or a purchase of a negative quantity."""
    refund = events.event_type == EVENT_CODE[REFUND]
    return np.asarray(refund | ((events.event_type == EVENT_CODE[PURCHASE]) & (events.quantity < 0)), dtype=bool)


def is_purchase(events: Events) -> NDArray[np.bool_]:
    """A line bought; returns are not."""
    return np.asarray((events.event_type == EVENT_CODE[PURCHASE]) & ~(events.quantity < 0), dtype=bool)


def net_value(events: Events) -> NDArray[np.float64]:
    """Value of each purchase or return (negative), 0 for any other event and where no value is known."""
    counts = is_purchase(events) | is_return(events)
    return np.where(counts & np.isfinite(events.event_value), events.event_value, 0.0)


def _late(moments: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(moments == MISSING_TIME, _NEVER_YET, moments)
