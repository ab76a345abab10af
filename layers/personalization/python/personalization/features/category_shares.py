"""Preferred categories of users, with shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personalization.core.categorical import Codes
from personalization.core.events import Events
from personalization.features.orders import is_purchase


@dataclass(frozen=True, slots=True)
class CategoryShares:
    """One row for each user and word, R in all: users ascending, and of a user the largest share first.

    offsets   int64 (U + 1,) bounds of each user's rows
    code      int32 (R,) code of the word
    share     float64 (R,) within (0, 1]; the shares of a user sum to 1
    """

    offsets: NDArray[np.int64]
    code: Codes
    share: NDArray[np.float64]

    def top(self) -> tuple[Codes, NDArray[np.float64]]:
        """(U,) code of each user's first row and its share; −1 and NaN where the user has none."""
        has = np.diff(self.offsets) > 0
        code = np.full(len(has), -1, dtype=np.int32)
        share = np.full(len(has), np.nan)
        code[has] = self.code[self.offsets[:-1][has]]
        share[has] = self.share[self.offsets[:-1][has]]
        return code, share


def category_shares(events: Events, codes: Codes | None = None) -> CategoryShares:
    """Share of each category among a user's purchase lines, or among all events of a user without a purchase.

    codes   (N,) codes to count in place of `events.category`

    Of equal shares the most recent one comes first.
    """
    codes = events.category if codes is None else codes
    users = len(events.users)
    known = codes >= 0
    bought = known & is_purchase(events)
    buyer = np.zeros(users, dtype=bool)
    buyer[events.user[bought]] = True
    counted = np.flatnonzero(np.where(buyer[events.user], bought, known))
    width = int(codes.max(initial=0)) + 1
    keys = events.user[counted].astype(np.int64) * width + codes[counted]
    pairs, inverse, count = np.unique(keys, return_inverse=True, return_counts=True)
    last = np.zeros(len(pairs), dtype=np.int64)
    np.maximum.at(last, inverse, counted)
    user = pairs // width
    order = np.lexsort((-last, -count, user))
    user, count = user[order], count[order]
    total = np.bincount(user, weights=count, minlength=users)
    offsets = np.searchsorted(user, np.arange(users + 1)).astype(np.int64)
    return CategoryShares(offsets, (pairs[order] % width).astype(np.int32), count / total[user])
