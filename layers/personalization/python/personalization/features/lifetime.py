"""Sums over all events of a user, also those that the history window no longer holds. They do not depend on the order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personalization.core.events import Events
from personalization.core.time import MISSING_TIME
from personalization.features.orders import is_purchase, net_value

_NO_FIRST = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Lifetime:
    """One entry per user.

    events, purchases   float64 numbers of events and of purchase lines
    value               float64 net value, returns taken off
    first, last         int64 milliseconds of the first and last event, `MISSING_TIME` without an event
    """

    events: NDArray[np.float64]
    purchases: NDArray[np.float64]
    value: NDArray[np.float64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]

    def merge(self, other: Lifetime) -> Lifetime:
        """Sums over both; the two must not share an event."""
        first = np.minimum(_or_latest(self.first), _or_latest(other.first))
        return Lifetime(
            self.events + other.events,
            self.purchases + other.purchases,
            self.value + other.value,
            np.where(first == _NO_FIRST, MISSING_TIME, first),
            np.maximum(self.last, other.last),
        )


def lifetime(events: Events) -> Lifetime:
    """Sums over all of `events`, one entry for each of `events.users`."""
    users = len(events.users)
    purchase = is_purchase(events)
    first = np.full(users, _NO_FIRST)
    last = np.full(users, MISSING_TIME)
    np.minimum.at(first, events.user, events.timestamp)
    np.maximum.at(last, events.user, events.timestamp)
    return Lifetime(
        np.bincount(events.user, minlength=users).astype(np.float64),
        np.bincount(events.user[purchase], minlength=users).astype(np.float64),
        np.bincount(events.user, weights=net_value(events), minlength=users).astype(np.float64),
        np.where(first == _NO_FIRST, MISSING_TIME, first),
        last,
    )


def _or_latest(moments: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(moments == MISSING_TIME, _NO_FIRST, moments)
