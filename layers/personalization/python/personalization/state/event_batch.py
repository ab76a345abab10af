"""One user's events with what tells them apart, as state holds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.events import Events, concatenate
from personalization.state.event_keys import Keys, completed, event_keys, order_keys

WORD_LISTS: Final = (("item", "items"), ("category", "categories"), ("channel", "channels"))


@dataclass(frozen=True)
class EventBatch:
    """Events of one user, by time; those of one moment stay in the order in which they came.

    events   N events; `order` numbers the orders of this journal
    orders   (N,) keys of orders, 0 where an event has none
    stated   (N,) keys of the events where they were stated, 0 where the content says it
    """

    events: Events
    orders: Keys
    stated: Keys

    def __len__(self) -> int:
        return len(self.events)

    @cached_property
    def keys(self) -> Keys:
        """(N,) identities of the events."""
        return completed(self.events, self.stated)

    def take(self, rows: NDArray[Any]) -> EventBatch:
        """The events at these indices or under this mask."""
        return EventBatch(self.events.take(rows), self.orders[rows], self.keys[rows])

    def older(self, boundary: tuple[int, int]) -> NDArray[np.bool_]:
        """(N,) which events are at or below a boundary of moment and key."""
        moment, key = boundary
        return np.asarray(
            (self.events.timestamp < moment) | ((self.events.timestamp == moment) & (self.keys <= np.uint64(key))),
            dtype=bool,
        )


def event_batch(events: Events, keys: Keys, orders: Keys) -> EventBatch:
    """A journal of one user's events, in any order."""
    by_time = np.argsort(events.timestamp, kind="stable")
    events, keys, orders = events.take(by_time), keys[by_time], orders[by_time]
    codes = np.full(len(orders), -1, dtype=np.int32)
    known = orders > 0
    codes[known] = np.unique(orders[known], return_inverse=True)[1]
    return EventBatch(replace(events, order=codes), orders, keys)


def joined(user_id: str, parts: Sequence[EventBatch]) -> EventBatch:
    """The events of all parts, each once: the first that has a key stays."""
    if len(parts) == 1:
        return parts[0]
    events = concatenate([part.events for part in parts])
    events = replace(events, user=np.zeros(len(events), dtype=np.int32), users=[user_id])
    keys = np.concatenate([part.keys for part in parts])
    orders = np.concatenate([part.orders for part in parts])
    first = np.sort(np.unique(keys, return_index=True)[1])
    return event_batch(events.take(first), keys[first], orders[first])


def event_batches(
    events: Events, event_ids: Sequence[str | None] | None = None, order_ids: Sequence[str | None] | None = None
) -> Iterator[tuple[str, EventBatch]]:
    """The journal of each user who has events in one delivery; rows that repeat an event id are dropped."""
    keys, orders = event_keys(events, event_ids), order_keys(events, order_ids)
    by_user = np.argsort(events.user, kind="stable")
    bounds = np.searchsorted(events.user[by_user], np.arange(len(events.users) + 1))
    for code, user_id in enumerate(events.users):
        rows = by_user[bounds[code] : bounds[code + 1]]
        if len(rows):
            first = np.sort(np.unique(keys[rows], return_index=True)[1])
            rows = rows[first]
            yield user_id, event_batch(_of_one_user(events.take(rows), user_id), keys[rows], orders[rows])


def _of_one_user(events: Events, user_id: str) -> Events:
    """The same events with word lists of their own: those of a whole file may be long, and are hashed with the events."""
    changes: dict[str, Any] = {"user": np.zeros(len(events), dtype=np.int32), "users": [user_id]}
    for name, words in WORD_LISTS:
        used, local = np.unique(getattr(events, name), return_inverse=True)
        unknown = int(used[0] < 0)
        vocabulary = getattr(events, words)
        changes[name] = (local - unknown).astype(np.int32)
        changes[words] = [vocabulary[code] for code in used[unknown:].tolist()]
    return replace(events, **changes)
