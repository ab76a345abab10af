"""One user's events with their identities, as state stores them.

Each event has a 64-bit key that is the same wherever and however often the event is delivered: a hash of its `event_id`, or
without one a hash of its content. Exact copies without an id within one delivery are different events (three equal lines of a
basket), so the n-th copy has a key of its own; across deliveries the n-th copy is the same event again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.events import Events, concatenate

Keys = NDArray[np.uint64]
Watermark = tuple[int, int]  # moment and key of an event

# The low bits of a key count copies downwards: of equal events the first copy has the highest key. Eviction takes the
# lowest keys of a moment first, so the copies that stay are always the first ones and can be numbered again from 0.
_COPY_BITS: Final = np.uint64(0xFFF)
_CONTENT: Final = ("timestamp", "event_type", "quantity", "unit_price", "event_value", "view_duration", "rating")
WORDS: Final = (("item", "items"), ("category", "categories"), ("channel", "channels"))
_MISSING_ITEM: Final = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class EventBatch:
    """N events of one user by time; events of the same moment keep the order of delivery.

    events          `order` numbers the orders of this batch
    orders          (N,) keys of orders, 0 where an event has none
    explicit_keys   (N,) keys of the events, 0 where the content gives the key
    """

    events: Events
    orders: Keys
    explicit_keys: Keys

    @classmethod
    def of(cls, events: Events, keys: Keys, orders: Keys) -> EventBatch:
        """Events of one user, in any order."""
        by_time = np.argsort(events.timestamp, kind="stable")
        events, keys, orders = events.take(by_time), keys[by_time], orders[by_time]
        return cls(replace(events, order=order_codes(orders)), orders, keys)

    def __len__(self) -> int:
        return len(self.orders)

    @cached_property
    def keys(self) -> Keys:
        """(N,) keys of all events."""
        return _fill_keys(self.events, self.explicit_keys, content_hashes(self.events))

    def minimal_keys(self) -> Keys:
        """(N,) the keys with 0 for each key that `keys` restores from the content, so that it need not be stored."""
        hashes = content_hashes(self.events)
        explicit = np.where((self.keys | _COPY_BITS) == (hashes | _COPY_BITS), np.uint64(0), self.keys)
        return explicit if np.array_equal(_fill_keys(self.events, explicit, hashes), self.keys) else self.keys

    def take(self, rows: NDArray[Any]) -> EventBatch:
        """The events at these indices or under this mask."""
        return EventBatch(self.events.take(rows), self.orders[rows], self.keys[rows])

    def split(self, watermark: Watermark | None) -> tuple[EventBatch, EventBatch]:
        """The events above a watermark, and those at or below it."""
        if watermark is None:
            below = np.zeros(len(self), dtype=bool)
        else:
            moment, key = watermark
            timestamp = self.events.timestamp
            below = (timestamp < moment) | ((timestamp == moment) & (self.keys <= np.uint64(key)))
        return self.take(~below), self.take(below)


def merge_batches(user_id: str, parts: Sequence[EventBatch]) -> EventBatch:
    """The events of all parts, each once: the first with a key stays."""
    if len(parts) == 1:
        return parts[0]
    events = concatenate([part.events for part in parts])
    events = replace(events, user=np.zeros(len(events), dtype=np.int32), users=[user_id])
    keys = np.concatenate([part.keys for part in parts])
    orders = np.concatenate([part.orders for part in parts])
    first = _first_of_each(keys)
    return EventBatch.of(events.take(first), keys[first], orders[first])


def event_batches(
    events: Events, event_ids: Sequence[str | None] | None = None, order_ids: Sequence[str | None] | None = None
) -> Iterator[tuple[str, EventBatch]]:
    """The batch of each user in one delivery; rows that repeat an event id are dropped.

    event_ids, order_ids   (N,) the shop's own, `None` or empty where there is none
    """
    keys, orders = event_keys(events, event_ids), order_keys(events, order_ids)
    by_user = np.argsort(events.user, kind="stable")
    bounds = np.searchsorted(events.user[by_user], np.arange(len(events.users) + 1))
    for code, user_id in enumerate(events.users):
        rows = by_user[bounds[code] : bounds[code + 1]]
        if len(rows):
            rows = rows[_first_of_each(keys[rows])]
            yield user_id, EventBatch.of(events_of_one_user(events.take(rows), user_id), keys[rows], orders[rows])


def events_of_one_user(events: Events, user_id: str) -> Events:
    """Some events of one user with only the words that occur.

    It takes time by the number of events. `Events.compact` takes time by the number of words, which is large for a whole file.
    """
    changes: dict[str, Any] = {"user": np.zeros(len(events), dtype=np.int32), "users": [user_id]}
    for name, words in WORDS:
        used, local = np.unique(getattr(events, name), return_inverse=True)
        missing = int(len(used) > 0 and used[0] < 0)
        vocabulary = getattr(events, words)
        changes |= {name: (local - missing).astype(np.int32), words: [vocabulary[code] for code in used[missing:].tolist()]}
    return replace(events, **changes)


def event_keys(events: Events, event_ids: Sequence[str | None] | None = None) -> Keys:
    """(N,) keys of all events of one delivery, unique within a user but for repeated `event_ids`."""
    explicit = np.zeros(len(events), dtype=np.uint64)
    if event_ids is not None:
        named = _text_keys(event_ids)
        explicit = np.where(named > 0, named | _COPY_BITS, named)
    return _fill_keys(events, explicit, content_hashes(events))


def order_keys(events: Events, order_ids: Sequence[str | None] | None = None) -> Keys:
    """(N,) key of the order of each event, 0 where it has none; without ids the smallest hash among the order's lines."""
    if order_ids is not None:
        return _text_keys(order_ids)
    keys = np.zeros(len(events), dtype=np.uint64)
    lines = np.flatnonzero(events.order >= 0)
    if len(lines):
        pairs, group = np.unique(np.stack([events.user[lines], events.order[lines]]), axis=1, return_inverse=True)
        smallest = np.full(pairs.shape[1], np.iinfo(np.uint64).max, dtype=np.uint64)
        np.minimum.at(smallest, group, content_hashes(events)[lines])
        keys[lines] = smallest[group]
    return keys


def order_codes(orders: Keys) -> NDArray[np.int32]:
    """(N,) numbers of the orders of these keys from 0, −1 for the key 0."""
    codes = np.full(len(orders), -1, dtype=np.int32)
    some = orders > 0
    codes[some] = np.unique(orders[some], return_inverse=True)[1]
    return codes


def content_hashes(events: Events) -> Keys:
    """(N,) hash of the content of each event: the moment, the type, the item and the numbers.

    Left out are the time of receipt and the labels (category, channel, order), because sources state them differently.
    """
    items = np.append(_text_keys(events.items), _MISSING_ITEM)  # code −1 picks the last
    hashes = _mixed(items[events.item])
    for name in _CONTENT:
        hashes = _mixed(hashes ^ _bits(getattr(events, name)))
    return hashes


def _text_keys(words: Sequence[str | None]) -> Keys:
    """Hashes of texts, 0 where there is none."""

    def key(word: str | None) -> int:
        raw = (word or "").encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little") if raw else 0

    return np.fromiter((key(word) for word in words), dtype=np.uint64, count=len(words))


def _fill_keys(events: Events, explicit: Keys, hashes: Keys) -> Keys:
    """The explicit keys, and those of the content where the explicit one is 0."""
    unnamed = np.flatnonzero(explicit == 0)
    if not len(unnamed):
        return explicit
    copies = np.minimum(_copies(events.user[unnamed], hashes[unnamed]), _COPY_BITS)
    keys = explicit.copy()
    keys[unnamed] = (hashes[unnamed] & ~_COPY_BITS) | (_COPY_BITS - copies)
    return keys


def _copies(user: NDArray[Any], hashes: Keys) -> Keys:
    """(N,) number of equal events of the same user before each event."""
    copies = np.zeros(len(hashes), dtype=np.uint64)
    order = np.lexsort((hashes, user))
    u, h = user[order], hashes[order]
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = (u[1:] != u[:-1]) | (h[1:] != h[:-1])
    position = np.arange(len(order))
    copies[order] = (position - np.maximum.accumulate(np.where(starts, position, 0))).astype(np.uint64)
    return copies


def _first_of_each(keys: Keys) -> NDArray[np.int64]:
    return np.sort(np.unique(keys, return_index=True)[1])


def _bits(values: NDArray[Any]) -> Keys:
    """64 bits that are equal for equal values: one NaN, one zero."""
    if values.dtype.kind != "f":
        return values.astype(np.int64).view(np.uint64)
    same = np.where(np.isnan(values), np.nan, values) + 0.0  # -0.0 + 0.0 is 0.0
    return np.ascontiguousarray(same, dtype=np.float64).view(np.uint64)


def _mixed(values: Keys) -> Keys:
    """splitmix64's finaliser (Steele, Lea, Flood 2014): every input bit reaches every output bit."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
