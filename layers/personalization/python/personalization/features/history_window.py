"""Where the window of every feature is cut: what was known at a moment, and of that the newest events.

`events_known_at` is the point-in-time rule, `truncate_to_window` the limit of the bundle's `history_window`. Training, batch
and the API apply both, in this order; state keeps the same part of a user's events.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personalization.core.events import Events
from personalization.core.time import DAY_MS


@dataclass(frozen=True, slots=True)
class HistoryWindow:
    """A bundle's `history_window`: of each user the newest `max_events`, none older than `max_days` days."""

    max_events: int = 500
    max_days: int = 365


def broadcast_to_users(as_of: int | NDArray[np.int64], users: int) -> NDArray[np.int64]:
    """(users,) moments in milliseconds, from one for all or one for each."""
    return np.broadcast_to(np.asarray(as_of, dtype=np.int64), (users,))


def events_known_at(events: Events, as_of: int | NDArray[np.int64]) -> Events:
    """The events that happened and were received at `as_of` or before, sorted by user and time.

    as_of   milliseconds, one for all users or (U,)

    An event that was received later was not known then: a model must not learn from it.
    """
    moments = broadcast_to_users(as_of, len(events.users))[events.user]
    known = (events.timestamp <= moments) & (events.received_at <= moments)
    return (events if known.all() else events.take(known)).sorted()


def truncate_to_window(events: Events, as_of: int | NDArray[np.int64], window: HistoryWindow) -> Events:
    """The part of each user's events that lies within the window before `as_of`.

    events   as `events_known_at` returns them
    as_of    milliseconds, one for all users or (U,)
    """
    if not len(events):
        return events
    ends = events.offsets()[1:]
    position_from_end = ends[events.user] - np.arange(len(events))
    oldest = broadcast_to_users(as_of, len(events.users)) - window.max_days * DAY_MS
    keep = (position_from_end <= window.max_events) & (events.timestamp > oldest[events.user])
    return events if keep.all() else events.take(keep)
