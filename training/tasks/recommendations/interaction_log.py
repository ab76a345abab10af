"""The interaction log that recommendations are trained on: columns sorted by user, then basket, then time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.errors import InvalidInput
from personalization.core.events import Events
from personalization.core.schema import EVENT_CODE, REFUND, SEARCH
from personalization.core.time import DAY_MS
from personalization.features.history_window import HistoryWindow
from personalization.recommendations.history import BasketPace, InteractionHistory

_IGNORED_EVENTS: Final = (EVENT_CODE[REFUND], EVENT_CODE[SEARCH])


@dataclass(frozen=True)
class InteractionLog:
    """E interactions of U users, each user's oldest first.

    user, item   int32 (E,) codes; user codes are row numbers of the log and carry no ids
    time         int64 (E,) milliseconds
    basket       int32 (E,) number of the basket within its user, 0 the oldest
    event        int8 (E,) codes into `schema.EVENT_TYPES`
    offsets      int64 (U + 1,) bounds of each user's interactions
    num_items    items in the catalog; some may have no interaction
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    time: NDArray[np.int64]
    basket: NDArray[np.int32]
    event: NDArray[np.int8]
    offsets: NDArray[np.int64]
    num_items: int

    def __len__(self) -> int:
        return len(self.item)

    @property
    def num_users(self) -> int:
        return len(self.offsets) - 1

    @property
    def basket_counts(self) -> NDArray[np.int64]:
        """(U,) number of baskets of each user."""
        counts = np.zeros(self.num_users, np.int64)
        active = np.flatnonzero(np.diff(self.offsets) > 0)
        counts[active] = self.basket[self.offsets[active + 1] - 1] + 1
        return counts

    @property
    def basket_starts(self) -> NDArray[np.bool_]:
        """(E,) True for the first row of each basket."""
        return _changes(self.user, self.basket)

    @property
    def basket_gaps(self) -> NDArray[np.int64]:
        """Milliseconds between consecutive baskets of a user, for all users."""
        last = np.flatnonzero((np.diff(self.user) == 0) & (np.diff(self.basket) > 0))
        return self.time[last + 1] - self.time[last]

    @property
    def pace(self) -> BasketPace:
        """Median days between baskets and mean items in a basket."""
        gaps = self.basket_gaps
        baskets = max(1, int(self.basket_counts.sum()))
        return BasketPace(float(np.median(gaps / DAY_MS)) if len(gaps) else 7.0, len(self) / baskets)

    def take(self, mask: NDArray[np.bool_]) -> InteractionLog:
        """The interactions under a mask (E,). Users and baskets keep their numbers."""
        offsets = np.concatenate([[0], np.cumsum(np.bincount(self.user[mask], minlength=self.num_users))]).astype(np.int64)
        return InteractionLog(
            self.user[mask], self.item[mask], self.time[mask], self.basket[mask], self.event[mask], offsets, self.num_items
        )

    def histories(
        self, users: NDArray[np.int64], ends: NDArray[np.int64], as_of: NDArray[np.int64] | None, window: HistoryWindow
    ) -> InteractionHistory:
        """Histories of `users`: their interactions before row `ends` (exclusive) that lie inside the window.

        as_of   (N,) milliseconds from which ages count; None: the time of the newest interaction of each history
        """
        ends = ends.astype(np.int64)
        starts = np.maximum(self.offsets[users], ends - window.max_events)
        lengths = np.maximum(ends - starts, 0)
        rows = row_ranges(starts, lengths)
        owner = np.repeat(np.arange(len(users)), lengths)
        newest = np.where(lengths > 0, ends - 1, 0)
        as_of = self.time[newest] if as_of is None else as_of
        age = np.maximum(0.0, (as_of[owner] - self.time[rows]) / DAY_MS).astype(np.float32)
        inside = age < window.max_days
        rows, owner, age = rows[inside], owner[inside], age[inside]
        offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(users)))]).astype(np.int64)
        basket = (self.basket[newest][owner] - self.basket[rows]).astype(np.int32)
        return InteractionHistory(self.item[rows], offsets, basket, age, self.event[rows])


def build_log(events: Events, code_of_item: NDArray[np.int32], num_items: int) -> InteractionLog:
    """The interactions of `events` with catalog items, without refunds and searches.

    code_of_item   catalog code for each of `events.items`, −1 for items that are left out

    Raises `InvalidInput` where no interaction is left.
    """
    code = np.where(events.item >= 0, np.append(code_of_item, -1)[events.item], -1)
    kept = np.flatnonzero((code >= 0) & ~np.isin(events.event_type, _IGNORED_EVENTS))
    if not len(kept):
        raise InvalidInput("expected at least one interaction with an item_id, received none")
    user, item, time = events.user[kept], code[kept].astype(np.int32), events.timestamp[kept]
    order, event = events.order[kept].astype(np.int64), events.event_type[kept]
    # A basket is the lines of one order, or without orders the lines of one timestamp. It is placed at its first line.
    basket_key = np.where(order >= 0, order, -2 - time)
    by_basket = np.lexsort((time, basket_key, user))
    starts = _changes(user[by_basket], basket_key[by_basket])
    first_time = np.empty(len(kept), np.int64)
    first_time[by_basket] = time[by_basket][starts][np.cumsum(starts) - 1]
    sorting = np.lexsort((time, basket_key, first_time, user))
    item, time, basket_key, event = item[sorting], time[sorting], basket_key[sorting], event[sorting]
    user = np.unique(user[sorting], return_inverse=True)[1].astype(np.int32)  # users whose rows are all left out get no code
    offsets = np.concatenate([[0], np.cumsum(np.bincount(user))]).astype(np.int64)
    number = np.cumsum(_changes(user, basket_key)) - 1
    basket = number - number[offsets[:-1]][user]
    return InteractionLog(user, item, time, basket.astype(np.int32), event.astype(np.int8), offsets, num_items)


def row_ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows of several ranges, one range after the other."""
    rows: NDArray[np.int64] = np.arange(lengths.sum()) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    return rows


def _changes(*columns: NDArray[Any]) -> NDArray[np.bool_]:
    """(E,) True for the first row and wherever one of the columns differs from the row before."""
    changed = np.ones(len(columns[0]), bool)
    changed[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return changed
