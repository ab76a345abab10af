"""The interactions in the order that training needs: by user, then basket, then time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.errors import InvalidInput
from personalization.core.events import Events
from personalization.core.schema import EVENT_CODE, REFUND, SEARCH
from personalization.core.time import DAY_MS
from personalization.features.window import Window
from personalization.recommendations.history import BasketPace, InteractionHistory

_NOT_WANTED: Final = (EVENT_CODE[REFUND], EVENT_CODE[SEARCH])


@dataclass(frozen=True)
class InteractionLog:
    """E interactions of U users, each user's oldest first.

    user, item   int32 (E,) codes; users are numbered as they stand here and have no ids
    time         int64 (E,) milliseconds
    basket       int32 (E,) number of the basket among its user's, 0 the oldest
    event        int8 (E,) codes into `schema.EVENT_TYPES`
    offsets      int64 (U + 1,) bounds of each user's interactions
    items        number of items in the catalogue
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    time: NDArray[np.int64]
    basket: NDArray[np.int32]
    event: NDArray[np.int8]
    offsets: NDArray[np.int64]
    items: int

    def __len__(self) -> int:
        return len(self.item)

    @property
    def users(self) -> int:
        return len(self.offsets) - 1

    @property
    def baskets_of_user(self) -> NDArray[np.int64]:
        """(U,) number of baskets."""
        counts = np.zeros(self.users, np.int64)
        some = np.flatnonzero(np.diff(self.offsets) > 0)
        counts[some] = self.basket[self.offsets[some + 1] - 1] + 1
        return counts

    def take(self, keep: NDArray[np.bool_]) -> InteractionLog:
        """The interactions under this mask; users keep their numbers, baskets theirs."""
        offsets = np.concatenate([[0], np.cumsum(np.bincount(self.user[keep], minlength=self.users))]).astype(np.int64)
        return InteractionLog(
            self.user[keep], self.item[keep], self.time[keep], self.basket[keep], self.event[keep], offsets, self.items
        )

    def pace(self) -> BasketPace:
        """Median days between baskets, mean items in one."""
        new = np.flatnonzero((np.diff(self.user) == 0) & (np.diff(self.basket) > 0))
        days = (self.time[new + 1] - self.time[new]) / DAY_MS
        baskets = max(1, int(self.baskets_of_user.sum()))
        return BasketPace(float(np.median(days)) if len(days) else 7.0, len(self) / baskets)

    def histories(
        self, users: NDArray[np.int64], ends: NDArray[np.int64], as_of: NDArray[np.int64] | None, window: Window
    ) -> InteractionHistory:
        """What these users had before: their interactions up to row `ends` (exclusive), inside the window.

        as_of   (n,) milliseconds; None: the moment of each user's newest interaction
        """
        ends = ends.astype(np.int64)
        starts = np.maximum(self.offsets[users], ends - window.max_events)
        lengths = np.maximum(ends - starts, 0)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        newest = np.where(lengths > 0, ends - 1, 0)
        moment = self.time[newest] if as_of is None else as_of
        age = np.maximum(0.0, (np.repeat(moment, lengths) - self.time[rows]) / DAY_MS).astype(np.float32)
        basket = np.repeat(self.basket[newest], lengths) - self.basket[rows]
        whole = InteractionHistory(self.item[rows], offsets, basket.astype(np.int32), age, self.event[rows])
        young = age < window.max_days
        return whole if young.all() else under(whole, young)


def make_log(events: Events, code_of_item: NDArray[np.int32], items: int) -> InteractionLog:
    """The wanted interactions of `events` (no returns, no searches, known items) with catalogue codes.

    Raises `InvalidInput` where nothing is left.
    """
    code = np.where(events.item >= 0, np.append(code_of_item, -1)[events.item], -1)
    keep = np.flatnonzero((code >= 0) & ~np.isin(events.event_type, _NOT_WANTED))
    if not len(keep):
        raise InvalidInput("expected interactions with items, found none")
    user, item, time = events.user[keep], code[keep].astype(np.int32), events.timestamp[keep]
    order, event = events.order[keep].astype(np.int64), events.event_type[keep]
    # A basket stands where its first line does; without an order it is the lines of one moment.
    key = np.where(order >= 0, order, -2 - time)
    by_basket = np.lexsort((time, key, user))
    starts = _changes(user[by_basket], key[by_basket])
    number = np.cumsum(starts) - 1
    first = np.empty(len(keep), np.int64)
    first[by_basket] = time[by_basket][starts][number]
    sorting = np.lexsort((time, key, first, user))
    item, time, key, event = item[sorting], time[sorting], key[sorting], event[sorting]
    number_of_user = np.unique(user[sorting], return_inverse=True)[1]  # users of dropped rows alone have no number
    offsets = np.concatenate([[0], np.cumsum(np.bincount(number_of_user))]).astype(np.int64)
    number = np.cumsum(_changes(number_of_user, key)) - 1
    basket = number - number[offsets[:-1]][number_of_user]
    return InteractionLog(
        number_of_user.astype(np.int32), item, time, basket.astype(np.int32), event.astype(np.int8), offsets, items
    )


def _changes(*columns: NDArray[np.int64] | NDArray[np.int32]) -> NDArray[np.bool_]:
    new = np.ones(len(columns[0]), bool)
    new[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return new


def under(histories: InteractionHistory, keep: NDArray[np.bool_]) -> InteractionHistory:
    """The histories' items under this mask; baskets and ages stay what they were."""
    kept = np.concatenate([[0], np.cumsum(keep)]).astype(np.int64)
    return InteractionHistory(
        histories.item[keep], kept[histories.offsets], histories.basket[keep], histories.age[keep], histories.event[keep]
    )
