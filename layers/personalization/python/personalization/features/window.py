"""Which events a model may see: those received up to the moment of the question, and of these the newest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personalization.core.events import Events
from personalization.core.time import DAY_MS


@dataclass(frozen=True, slots=True)
class Window:
    """A bundle's `history_window`: at most the newest `max_events`, none older than `max_days`."""

    max_events: int = 500
    max_days: int = 365


def per_user(as_of: int | NDArray[np.int64], users: int) -> NDArray[np.int64]:
    """(users,) moments in milliseconds, from one for all or one for each."""
    return np.broadcast_to(np.asarray(as_of, dtype=np.int64), (users,))


def visible(events: Events, as_of: int | NDArray[np.int64]) -> Events:
    """The events that happened and were received up to `as_of` (milliseconds, one for all or one a user), sorted.

    A late event, received after the moment of the question, was not known then: a model must not learn from it.
    """
    moments = per_user(as_of, len(events.users))[events.user]
    known = (events.timestamp <= moments) & (events.received_at <= moments)
    return (events if known.all() else events.take(known)).sorted()


def truncate(events: Events, as_of: int | NDArray[np.int64], window: Window) -> Events:
    """The part of sorted, visible events that lies within the window. State keeps the same part."""
    if not len(events):
        return events
    ends = events.offsets()[1:]
    position_from_end = ends[events.user] - np.arange(len(events))
    oldest = per_user(as_of, len(events.users)) - window.max_days * DAY_MS
    keep = (position_from_end <= window.max_events) & (events.timestamp > oldest[events.user])
    return events if keep.all() else events.take(keep)
