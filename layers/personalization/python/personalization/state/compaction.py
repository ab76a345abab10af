"""How deliveries become one memory of a user: pure functions, no store.

The memory is the newest events, the sums over all that were pushed out, and the boundary between the two: the newest pushed
out. What is newer than the boundary is known one by one, so a repeat is recognised by its key and any order of deliveries
gives the same events. What is older is only known as a sum:

* File events below the boundary are taken to be in the sums already and are not counted again, unless the file tells the
  user's whole story better: it begins no later and holds at least as many older events. Then its sums replace ours.
* Events of the API below the boundary are late; each was stored as a row once, and is added to the sums once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from personalization import features
from personalization.features import Lifetime
from personalization.state.event_batch import EventBatch, joined

# An item may hold 400 KB; beyond this many bytes older events are pushed out, whatever the window says.
MAX_PACKED_BYTES: Final = 300_000


@dataclass(frozen=True)
class UserWindow:
    """What is known of one user.

    recent     the newest events
    evicted    sums over older ones, (1,) each, `None` where there are none
    boundary   moment and key of the newest evicted event
    """

    recent: EventBatch | None = None
    evicted: Lifetime | None = None
    boundary: tuple[int, int] | None = None

    @property
    def pushed_out(self) -> tuple[object, ...]:
        """Equal where the same is known only as a sum."""
        sums = self.evicted
        return (self.boundary, *((s.item() for s in (sums.events, sums.purchases, sums.value, sums.first)) if sums else ()))


def fold(
    user_id: str, memory: UserWindow, delivered: EventBatch | None, rows: EventBatch | None, max_events: int | None
) -> UserWindow:
    """The memory after a delivery.

    delivered    a user's events of one file
    rows         events that came through the API and are in no memory yet
    max_events   events that are kept one by one; `None` pushes nothing out
    """
    evicted, parts = memory.evicted, [memory.recent] if memory.recent else []
    replaced: EventBatch | None = None
    if delivered is not None:
        if memory.boundary is not None:
            below = delivered.older(memory.boundary)
            older, delivered = delivered.take(below), delivered.take(~below)
            if len(older) and _tells_more(older, evicted):
                replaced, evicted = older, features.lifetime(older.events)
        parts.append(delivered)
    if rows is not None:
        rows, late = split_late(rows, memory.boundary)
        if replaced is not None:
            late = late.take(~np.isin(late.keys, replaced.keys))
        if len(late):
            evicted = _sum(evicted, features.lifetime(late.events))
        parts.append(rows)
    parts = [part for part in parts if len(part)]
    if not parts:
        return replace(memory, evicted=evicted)
    recent = joined(user_id, parts)
    return _evict(UserWindow(recent, evicted, memory.boundary), max_events)


def split_late(rows: EventBatch, boundary: tuple[int, int] | None) -> tuple[EventBatch, EventBatch]:
    """The rows above the boundary, and those at or below it."""
    if boundary is None:
        return rows, rows.take(np.zeros(0, dtype=np.int64))
    late = rows.older(boundary)
    return rows.take(~late), rows.take(late)


def shrunk(memory: UserWindow) -> UserWindow:
    """The memory with the older half of its events pushed out, for one whose item would be too large."""
    return _evict(memory, len(memory.recent) // 2 if memory.recent else 0)


def _evict(memory: UserWindow, max_events: int | None) -> UserWindow:
    recent = memory.recent
    if recent is None or max_events is None or len(recent) <= max_events:
        return memory
    by_age = np.lexsort((recent.keys, recent.events.timestamp))
    out = by_age[: len(recent) - max_events]
    gone = np.zeros(len(recent), dtype=bool)
    gone[out] = True
    newest = out[-1]
    boundary = (int(recent.events.timestamp[newest]), int(recent.keys[newest]))
    sums = _sum(memory.evicted, features.lifetime(recent.take(gone).events))
    return UserWindow(recent.take(~gone), sums, max(boundary, memory.boundary or boundary))


def _tells_more(older: EventBatch, evicted: Lifetime | None) -> bool:
    return evicted is None or bool(older.events.timestamp[0] <= evicted.first[0] and len(older) >= evicted.events[0])


def _sum(one: Lifetime | None, other: Lifetime) -> Lifetime:
    return other if one is None else one.merge(other)
