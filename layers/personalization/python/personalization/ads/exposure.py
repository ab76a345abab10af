"""What users had to do with ads before: how often they saw, clicked and converted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personalization.core.time import DAY_MS, MISSING_TIME

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Exposure:
    """N rows, each a user and an ad at a moment.

    seen, clicked, converted   (N,) of this ad by this user before
    last_seen                  (N,) milliseconds, `MISSING_TIME` where never
    all_seen, all_clicked, all_converted   (N,) of any ad by this user before
    """

    seen: Numbers
    clicked: Numbers
    converted: Numbers
    last_seen: NDArray[np.int64]
    all_seen: Numbers
    all_clicked: Numbers
    all_converted: Numbers

    @classmethod
    def none(cls, rows: int) -> Exposure:
        """Of users who never saw an ad."""
        zeros = np.zeros(rows)
        return cls(zeros, zeros, zeros, np.full(rows, MISSING_TIME), zeros, zeros, zeros)

    def take(self, rows: NDArray[Any]) -> Exposure:
        """The rows at these indices."""
        return Exposure(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})

    def columns(self, moments: NDArray[np.int64]) -> dict[str, Numbers]:
        """The model's columns, asked at `moments` (N,)."""
        never = self.last_seen == MISSING_TIME
        some = np.maximum(self.all_seen, 1)
        return {
            "pair.seen": self.seen,
            "pair.clicked": self.clicked,
            "pair.converted": self.converted,
            "pair.seen_days": np.where(never, np.nan, (moments - np.where(never, 0, self.last_seen)) / DAY_MS),
            "ads.seen": self.all_seen,
            "ads.clicked": self.all_clicked,
            "ads.converted": self.all_converted,
            "ads.click_rate": np.where(self.all_seen > 0, self.all_clicked / some, np.nan),
            "ads.conversion_rate": np.where(self.all_seen > 0, self.all_converted / some, np.nan),
        }


@dataclass(frozen=True)
class ExposureLog:
    """I impressions, as they were logged.

    user, ad               (I,) int codes
    moment                 (I,) milliseconds
    clicked_at             (I,) when the click was known, `MISSING_TIME` without one
    converted_at           (I,) likewise
    """

    user: NDArray[np.int64]
    ad: NDArray[np.int64]
    moment: NDArray[np.int64]
    clicked_at: NDArray[np.int64]
    converted_at: NDArray[np.int64]

    def before(self, user: NDArray[np.int64], ad: NDArray[np.int64], moment: NDArray[np.int64]) -> Exposure:
        """What each of N users had to do with an ad, and with all ads, before a moment: what was known then."""
        width = int(max(self.ad.max(initial=0), ad.max(initial=0))) + 1
        pair, asked = self.user * width + self.ad, user * width + ad
        clicked, converted = self.clicked_at != MISSING_TIME, self.converted_at != MISSING_TIME
        seen, last = _counts(pair, self.moment, asked, moment)
        return Exposure(
            seen=seen,
            clicked=_counts(pair[clicked], self.clicked_at[clicked], asked, moment)[0],
            converted=_counts(pair[converted], self.converted_at[converted], asked, moment)[0],
            last_seen=last,
            all_seen=_counts(self.user, self.moment, user, moment)[0],
            all_clicked=_counts(self.user[clicked], self.clicked_at[clicked], user, moment)[0],
            all_converted=_counts(self.user[converted], self.converted_at[converted], user, moment)[0],
        )


def _counts(
    key: NDArray[np.int64], moment: NDArray[np.int64], asked: NDArray[np.int64], before: NDArray[np.int64]
) -> tuple[Numbers, NDArray[np.int64]]:
    """How many entries with the asked key lie before a moment, and the moment of the last of them."""
    order = np.lexsort((moment, key))
    key, moment = key[order], moment[order]
    # Moments become ranks, so that key and moment fit into one number.
    moments = np.unique(moment)
    ranks = len(moments) + 1
    words, code = np.unique(key, return_inverse=True)
    entries = code * ranks + np.searchsorted(moments, moment)
    place = np.minimum(np.searchsorted(words, asked), max(len(words) - 1, 0))
    known = words[place] == asked if len(words) else np.zeros(len(asked), dtype=bool)
    first = np.searchsorted(entries, place * ranks)
    end = np.searchsorted(entries, place * ranks + np.searchsorted(moments, before))
    count = np.where(known, end - first, 0)
    last = np.full(len(asked), MISSING_TIME)
    some = count > 0
    last[some] = moment[end[some] - 1]
    return count.astype(np.float64), last
