"""Interactions in columns: of one user in the API, of all users in training and batch, in the same shape.

Words are dictionary-encoded: `user`, `item`, `category`, `order` hold codes into lists, −1 where there is none. So a
million events take megabytes, and code is written once, for N events of U users.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int32]
Numbers = NDArray[np.float64]

# Columns of one event each; the rest of `Events` are the word lists.
EVENT_COLUMNS: Final = (
    "user", "item", "event_type", "timestamp", "received_at", "quantity", "unit_price", "event_value", "view_duration",
    "rating", "category", "channel", "order",
)  # fmt: skip
# Column of codes → the words it points to.
WORD_LISTS: Final = {"user": "users", "item": "items", "category": "categories", "channel": "channels"}


@dataclass(frozen=True)
class Events:
    """N events of U users.

    user, item, category, channel, order   int32 codes into the lists below, −1 where unknown
    event_type                             int8 codes into `schema.EVENT_TYPES`
    timestamp, received_at                 int64 milliseconds since 1970 UTC
    quantity, unit_price, event_value, view_duration, rating
                                           float64, NaN where missing; `event_value` is the line total, returns negative
    users, items, categories, channels     the words
    """

    user: Codes
    item: Codes
    event_type: NDArray[np.int8]
    timestamp: NDArray[np.int64]
    received_at: NDArray[np.int64]
    quantity: Numbers
    unit_price: Numbers
    event_value: Numbers
    view_duration: Numbers
    rating: Numbers
    category: Codes
    channel: Codes
    order: Codes
    users: list[str] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.timestamp)

    def take(self, rows: NDArray[Any]) -> Events:
        """The events at these indices or under this mask, with the same word lists."""
        return replace(self, **{name: getattr(self, name)[rows] for name in EVENT_COLUMNS})

    def sorted(self) -> Events:
        """By user, then time; events of the same moment keep their order."""
        order = np.lexsort((self.timestamp, self.user))
        return self if np.array_equal(order, np.arange(len(order))) else self.take(order)

    def offsets(self) -> NDArray[np.int64]:
        """(U + 1,) bounds of each user's events in `sorted()` order."""
        return np.searchsorted(self.user, np.arange(len(self.users) + 1)).astype(np.int64)

    def with_categories(self, category_of_item: Mapping[str, str]) -> Events:
        """Fill in the category of events that have none from their item's."""
        if not category_of_item:
            return self
        words = Interner(self.categories)
        by_item = np.array([words.code(category_of_item.get(item)) for item in self.items] or [-1], dtype=np.int32)
        found = np.where(self.item >= 0, by_item[self.item], -1).astype(np.int32)
        category = np.where(self.category >= 0, self.category, found).astype(np.int32)
        return replace(self, category=category, categories=words.words)


class Interner:
    """Codes for words in order of first appearance; `None` and empty have the code −1."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        self.words: list[str] = list(words)
        self._codes = {word: code for code, word in enumerate(self.words)}

    def code(self, word: str | None) -> int:
        if not word:
            return -1
        code = self._codes.get(word)
        if code is None:
            code = self._codes[word] = len(self.words)
            self.words.append(word)
        return code

    def codes(self, words: Sequence[str | None]) -> Codes:
        return np.fromiter((self.code(word) for word in words), dtype=np.int32, count=len(words))


def empty_events(users: Sequence[str] = ()) -> Events:
    """No events, of these users."""
    dtypes: dict[str, Any] = {"event_type": np.int8, "timestamp": np.int64, "received_at": np.int64}
    dtypes |= dict.fromkeys(("user", "item", "category", "channel", "order"), np.int32)
    columns: dict[str, Any] = {name: np.zeros(0, dtypes.get(name, np.float64)) for name in EVENT_COLUMNS}
    return Events(**columns, users=list(users))


def concatenate(parts: Sequence[Events]) -> Events:
    """All events of several parts, in their order; equal words of different parts become one."""
    if len(parts) == 1:
        return parts[0]
    interners = {column: Interner() for column in WORD_LISTS}
    pieces: dict[str, list[NDArray[Any]]] = {name: [] for name in EVENT_COLUMNS}
    orders = 0
    for part in parts:
        for name in EVENT_COLUMNS:
            values = getattr(part, name)
            if name in WORD_LISTS:
                recode = np.append(interners[name].codes(getattr(part, WORD_LISTS[name])), np.int32(-1))
                values = recode[values]  # code −1 picks the appended −1
            elif name == "order":
                values = np.where(values >= 0, values + orders, -1).astype(np.int32)
            pieces[name].append(values)
        orders += int(part.order.max(initial=-1)) + 1
    template = empty_events()
    columns: dict[str, Any] = {
        name: np.concatenate(pieces[name]) if pieces[name] else getattr(template, name) for name in EVENT_COLUMNS
    }
    columns |= {words: interners[column].words for column, words in WORD_LISTS.items()}
    return Events(**columns)


assert {f.name for f in fields(Events)} >= set(EVENT_COLUMNS)  # the two lists are one
