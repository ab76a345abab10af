"""Interactions in columns: of one user in the API, of all users in training and batch, in the same class.

Words are codes into vocabularies (`core.categorical`). So a million events take megabytes, and code is written once, for N
events of U users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.categorical import MISSING, CategoricalColumn, Codes, Vocabulary

Numbers = NDArray[np.float64]

# Columns with a value for each event; the other fields of `Events` are the vocabularies.
EVENT_COLUMNS: Final = (
    "user", "item", "event_type", "timestamp", "received_at", "quantity", "unit_price", "event_value", "view_duration",
    "rating", "category", "channel", "order",
)  # fmt: skip
# Column of codes → its vocabulary.
WORD_LISTS: Final = {"user": "users", "item": "items", "category": "categories", "channel": "channels"}


@dataclass(frozen=True)
class Events:
    """N events of U users.

    user, item, category, channel, order   int32 codes into the vocabularies below, −1 where missing
    event_type                             int8 codes into `schema.EVENT_TYPES`
    timestamp, received_at                 int64 milliseconds since 1970 UTC
    quantity, unit_price, event_value, view_duration, rating
                                           float64, NaN where missing; `event_value` is the line total, returns negative
    users, items, categories, channels     the vocabularies
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
        """The events at these indices or under this mask, with the same vocabularies."""
        return replace(self, **{name: getattr(self, name)[rows] for name in EVENT_COLUMNS})

    def sorted(self) -> Events:
        """Sorted by user, then time; events of one moment keep their order."""
        order = np.lexsort((self.timestamp, self.user))
        return self if np.array_equal(order, np.arange(len(order))) else self.take(order)

    def offsets(self) -> NDArray[np.int64]:
        """(U + 1,) bounds of each user's events in `sorted()` order."""
        return np.searchsorted(self.user, np.arange(len(self.users) + 1)).astype(np.int64)

    def with_categories(self, category_of_item: Mapping[str, str]) -> Events:
        """The events with the category of their item where they have none."""
        if not category_of_item:
            return self
        vocabulary = Vocabulary(self.categories)
        of_item = np.append(vocabulary.codes([category_of_item.get(item) for item in self.items]), np.int32(MISSING))
        category = np.where(self.category >= 0, self.category, of_item[self.item])  # an event without item picks the last
        return replace(self, category=category, categories=vocabulary.words)

    def compact(self) -> Events:
        """The same events with only the words that occur, in the same order; a user without an event is no longer listed."""
        changed: dict[str, Any] = {}
        for column, words in WORD_LISTS.items():
            compact = CategoricalColumn(getattr(self, column), getattr(self, words)).compact()
            changed |= {column: compact.codes, words: compact.words}
        return replace(self, **changed)


def empty_events(users: Sequence[str] = ()) -> Events:
    """No events, with these users listed."""
    dtypes: dict[str, Any] = {"event_type": np.int8, "timestamp": np.int64, "received_at": np.int64}
    dtypes |= dict.fromkeys(("user", "item", "category", "channel", "order"), np.int32)
    columns: dict[str, Any] = {name: np.zeros(0, dtypes.get(name, np.float64)) for name in EVENT_COLUMNS}
    return Events(**columns, users=list(users))


def concatenate(parts: Sequence[Events]) -> Events:
    """All events of several parts, in their order; equal words of different parts get one code."""
    if len(parts) == 1:
        return parts[0]
    vocabularies = {column: Vocabulary() for column in WORD_LISTS}
    pieces: dict[str, list[NDArray[Any]]] = {name: [] for name in EVENT_COLUMNS}
    orders = 0
    for part in parts:
        for name in EVENT_COLUMNS:
            values = getattr(part, name)
            if name in WORD_LISTS:
                recode = np.append(vocabularies[name].codes(getattr(part, WORD_LISTS[name])), np.int32(MISSING))
                values = recode[values]  # MISSING picks the appended one
            elif name == "order":
                values = np.where(values >= 0, values + orders, -1).astype(np.int32)
            pieces[name].append(values)
        orders += int(part.order.max(initial=-1)) + 1
    template = empty_events()
    columns: dict[str, Any] = {
        name: np.concatenate(pieces[name]) if pieces[name] else getattr(template, name) for name in EVENT_COLUMNS
    }
    columns |= {words: vocabularies[column].words for column, words in WORD_LISTS.items()}
    return Events(**columns)


assert {f.name for f in fields(Events)} >= set(EVENT_COLUMNS)  # the two lists are one
