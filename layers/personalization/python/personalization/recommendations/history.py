"""Users' interactions with items, in columns: the form in which training, evaluation and serving pass histories on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.events import Events
from personalization.core.schema import EVENT_CODE, PURCHASE
from personalization.core.time import DAY_MS
from personalization.features.history_window import HistoryWindow, broadcast_to_users, truncate_to_window

_UNKNOWN_EVENT: Final = -1


@dataclass(frozen=True, slots=True)
class BasketPace:
    """How fast the users of the training data buy; histories without times are given this pace.

    basket_days    days from one basket to the next (median)
    basket_items   items in a basket (mean)
    """

    basket_days: float = 7.0
    basket_items: float = 1.0


@dataclass(frozen=True, slots=True)
class InteractionHistory:
    """E interactions of N users, each user's oldest first, one user after the other.

    item      int32 (E,) codes in the catalog, none negative
    offsets   int64 (N + 1,) bounds of each user's items
    basket    int32 (E,) 0 for the newest basket of the user, 1 for the one before, …
    age       float32 (E,) days before the moment of scoring, never negative
    event     int8 (E,) codes into `schema.EVENT_TYPES`, −1 unknown
    """

    item: NDArray[np.int32]
    offsets: NDArray[np.int64]
    basket: NDArray[np.int32]
    age: NDArray[np.float32]
    event: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)

    @property
    def user(self) -> NDArray[np.int64]:
        """(E,) the number of the user that each item belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, users: NDArray[np.int64]) -> InteractionHistory:
        """The histories of these users, in this order."""
        lengths = self.lengths[users]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.arange(offsets[-1]) + np.repeat(self.offsets[users] - offsets[:-1], lengths)
        return InteractionHistory(self.item[rows], offsets, self.basket[rows], self.age[rows], self.event[rows])

    def of(self, user: int) -> NDArray[np.int32]:
        """Items of one user."""
        return self.item[self.offsets[user] : self.offsets[user + 1]]


def from_items(histories: Sequence[Sequence[int]], pace: BasketPace, longest: int) -> InteractionHistory:
    """Histories of item codes without times: their newest `longest` items, at the pace of the training data."""
    recent = [history[-longest:] for history in histories]
    lengths = np.array([len(history) for history in recent], np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    item = np.fromiter((code for history in recent for code in history), np.int32, int(offsets[-1]))
    from_end = np.repeat(offsets[1:], lengths) - np.arange(len(item)) - 1
    basket = (from_end // max(1, round(pace.basket_items))).astype(np.int32)
    age = (basket * pace.basket_days).astype(np.float32)
    return InteractionHistory(item, offsets, basket, age, np.full(len(item), -1, np.int8))


def from_events(
    events: Events, code_of_item: NDArray[np.int32], as_of: int | NDArray[np.int64], window: HistoryWindow
) -> InteractionHistory:
    """Histories of all of `events.users`, from events as `features.events_known_at` returns them.

    code_of_item  catalog code for each of `events.items`, −1 for items that are not in it: they are left out
    as_of         milliseconds; the moment of scoring, one for all or one a user
    """
    moments = broadcast_to_users(as_of, len(events.users))
    known = np.where(events.item >= 0, code_of_item[events.item], -1) if len(code_of_item) else np.full(len(events), -1)
    events = truncate_to_window(events.take(known >= 0), moments, window)
    item = code_of_item[events.item] if len(events) else np.zeros(0, np.int32)
    offsets = events.offsets()
    age = np.maximum(0.0, (moments[events.user] - events.timestamp) / DAY_MS).astype(np.float32)
    return InteractionHistory(item.astype(np.int32), offsets, baskets(events), age, events.event_type.astype(np.int8))


def baskets(events: Events) -> NDArray[np.int32]:
    """(E,) rank of each event's basket from the user's newest; sorted events.

    A basket is the lines of one order, or without orders, of one moment.
    """
    if not len(events):
        return np.zeros(0, np.int32)
    same = events.user[1:] == events.user[:-1]
    order, moment = events.order, events.timestamp
    continues = same & np.where((order[1:] >= 0) & (order[:-1] >= 0), order[1:] == order[:-1], moment[1:] == moment[:-1])
    number = np.concatenate([[0], np.cumsum(~continues)])
    ends = events.offsets()[1:]
    newest = number[np.maximum(ends - 1, 0)]
    ranks: NDArray[np.int32] = (newest[events.user] - number).astype(np.int32)
    return ranks


def purchased_items(history: InteractionHistory) -> NDArray[np.int32]:
    """Codes of the items that were bought; an interaction of unknown type counts as a purchase."""
    buys = (history.event == EVENT_CODE[PURCHASE]) | (history.event == _UNKNOWN_EVENT)
    return np.unique(history.item[buys])
