"""Which event is which: a 64-bit key for each event of a user, the same wherever and however often it is delivered.

An event is itself by its `event_id`, and without one by its content. Exact copies without an id within one delivery are
different events (three equal lines of a basket), so the n-th copy has a key of its own; across deliveries the n-th copy is
the same event again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.events import Events

Keys = NDArray[np.uint64]

# The low bits of a key count copies downwards: of equal events the first copy has the highest key. Eviction takes the
# lowest keys of a moment first, so the copies that stay are always the first ones and can be numbered anew from 0.
_COPY_BITS: Final = np.uint64(0xFFF)
_CONTENT: Final = ("timestamp", "event_type", "quantity", "unit_price", "event_value", "view_duration", "rating")
_MISSING_ITEM: Final = np.uint64(0x9E3779B97F4A7C15)


def text_keys(words: Sequence[str | None]) -> Keys:
    """Hashes of texts, 0 where there is none."""
    return np.fromiter((_text_key(word) for word in words), dtype=np.uint64, count=len(words))


def content_hashes(events: Events) -> Keys:
    """One hash for each event of what happened: the moment, the type, the item and the numbers.

    Left out: when it was received and how it was labelled (category, channel, order), which sources tell differently.
    """
    items = np.append(text_keys(events.items), _MISSING_ITEM)  # code −1 picks the last
    hashes = _mixed(items[events.item])
    for name in _CONTENT:
        hashes = _mixed(hashes ^ _bits(getattr(events, name)))
    return hashes


def event_keys(events: Events, event_ids: Sequence[str | None] | None = None) -> Keys:
    """Keys of all events of one delivery, unique within a user but for repeated `event_ids`.

    event_ids   aligned with the events; None or empty where the shop gives none
    """
    if event_ids is None:
        return completed(events, np.zeros(len(events), dtype=np.uint64))
    named = text_keys(event_ids)
    return completed(events, np.where(named > 0, named | _COPY_BITS, named))


def completed(events: Events, stated: Keys) -> Keys:
    """The keys that are stated, and those that the content gives where the stated one is 0."""
    return _completed(events, stated, content_hashes(events))


def unstated(events: Events, keys: Keys) -> Keys:
    """The inverse of `completed`: 0 for each key that the content gives anyway, so that it need not be stored."""
    hashes = content_hashes(events)
    stated = np.where((keys | _COPY_BITS) == (hashes | _COPY_BITS), np.uint64(0), keys)
    return stated if np.array_equal(_completed(events, stated, hashes), keys) else keys


def order_keys(events: Events, order_ids: Sequence[str | None] | None = None) -> Keys:
    """A key of the order of each event, 0 where it has none.

    Without the shop's own ids an order is known by its lines: by the smallest hash among them.
    """
    if order_ids is not None:
        return text_keys(order_ids)
    keys = np.zeros(len(events), dtype=np.uint64)
    lines = np.flatnonzero(events.order >= 0)
    if len(lines):
        pairs, group = np.unique(np.stack([events.user[lines], events.order[lines]]), axis=1, return_inverse=True)
        smallest = np.full(pairs.shape[1], np.iinfo(np.uint64).max, dtype=np.uint64)
        np.minimum.at(smallest, group, content_hashes(events)[lines])
        keys[lines] = smallest[group]
    return keys


def _text_key(word: str | None) -> int:
    if not word:
        return 0
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _completed(events: Events, stated: Keys, hashes: Keys) -> Keys:
    unnamed = np.flatnonzero(stated == 0)
    if not len(unnamed):
        return stated
    copies = np.minimum(_copies(events.user[unnamed], hashes[unnamed]), _COPY_BITS)
    keys = stated.copy()
    keys[unnamed] = (hashes[unnamed] & ~_COPY_BITS) | (_COPY_BITS - copies)
    return keys


def _copies(user: NDArray[Any], hashes: Keys) -> Keys:
    """How many equal events of the same user stand before each."""
    copies = np.zeros(len(hashes), dtype=np.uint64)
    order = np.lexsort((hashes, user))
    u, h = user[order], hashes[order]
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = (u[1:] != u[:-1]) | (h[1:] != h[:-1])
    position = np.arange(len(order))
    copies[order] = (position - np.maximum.accumulate(np.where(starts, position, 0))).astype(np.uint64)
    return copies


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
