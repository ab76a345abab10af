"""Ad exposure: counts of a user's earlier impressions, clicks and conversions, per ad and over all ads.

`ExposureLog` counts them in a log of impressions, `ExposureStore` keeps them in the state table:

    pk                       sk                attributes
    user#<id>, session#<id>  exposure#<ad id>  seen, clicked, converted: counts; last_seen: milliseconds

They are features of the model. Frequency caps have counts of their own, by day (`budgets.frequency_caps`). A write that the
client repeats because its response was lost may count twice here: a feature tolerates that, a cap would not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from personalization.core.time import DAY_MS, DAY_SECONDS, MISSING_TIME
from personalization.state.dynamodb import StateTable, Update, number

Outcome = Literal["clicked", "converted"]
Numbers = NDArray[np.float64]

_ATTRIBUTES: Final = ("seen", "clicked", "converted", "last_seen")
_PREFIX: Final = "exposure#"
_LAST: Final = "exposure$"  # the sort key after all of them
_MAX_AD_ID_BYTES: Final = 900  # a sort key holds 1,024


@dataclass(frozen=True)
class Exposure:
    """Counts for N rows, each a user and an ad at a moment.

    impressions, clicks, conversions               (N,) earlier ones of this user and this ad
    last_impression                                (N,) milliseconds, `MISSING_TIME` without one
    all_impressions, all_clicks, all_conversions   (N,) earlier ones of this user and any ad
    """

    impressions: Numbers
    clicks: Numbers
    conversions: Numbers
    last_impression: NDArray[np.int64]
    all_impressions: Numbers
    all_clicks: Numbers
    all_conversions: Numbers

    @classmethod
    def none(cls, rows: int) -> Exposure:
        """Of users who never saw an ad."""
        zeros = np.zeros(rows)
        return cls(zeros, zeros, zeros, np.full(rows, MISSING_TIME), zeros, zeros, zeros)

    def take(self, rows: NDArray[Any]) -> Exposure:
        """The rows at these indices."""
        return Exposure(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def columns(self, moments: NDArray[np.int64]) -> dict[str, Numbers]:
        """The model's columns at `moments` (N,)."""
        never = self.last_impression == MISSING_TIME
        total = np.maximum(self.all_impressions, 1)
        return {
            "pair.seen": self.impressions,
            "pair.clicked": self.clicks,
            "pair.converted": self.conversions,
            "pair.seen_days": np.where(never, np.nan, (moments - np.where(never, 0, self.last_impression)) / DAY_MS),
            "ads.seen": self.all_impressions,
            "ads.clicked": self.all_clicks,
            "ads.converted": self.all_conversions,
            "ads.click_rate": np.where(self.all_impressions > 0, self.all_clicks / total, np.nan),
            "ads.conversion_rate": np.where(self.all_impressions > 0, self.all_conversions / total, np.nan),
        }


@dataclass(frozen=True)
class ExposureLog:
    """I logged impressions.

    user, ad                   (I,) int codes
    moment                     (I,) milliseconds
    clicked_at, converted_at   (I,) milliseconds at which the outcome was received, `MISSING_TIME` without one
    """

    user: NDArray[np.int64]
    ad: NDArray[np.int64]
    moment: NDArray[np.int64]
    clicked_at: NDArray[np.int64]
    converted_at: NDArray[np.int64]

    def before(self, user: NDArray[np.int64], ad: NDArray[np.int64], moment: NDArray[np.int64]) -> Exposure:
        """Counts for N users and ads over what was received before a moment each; (N,) codes and milliseconds."""
        width = int(max(self.ad.max(initial=0), ad.max(initial=0))) + 1
        log_pair, pair = self.user * width + self.ad, user * width + ad
        clicked, converted = self.clicked_at != MISSING_TIME, self.converted_at != MISSING_TIME
        impressions, last_impression = _count_before(log_pair, self.moment, pair, moment)
        return Exposure(
            impressions=impressions,
            clicks=_count_before(log_pair[clicked], self.clicked_at[clicked], pair, moment)[0],
            conversions=_count_before(log_pair[converted], self.converted_at[converted], pair, moment)[0],
            last_impression=last_impression,
            all_impressions=_count_before(self.user, self.moment, user, moment)[0],
            all_clicks=_count_before(self.user[clicked], self.clicked_at[clicked], user, moment)[0],
            all_conversions=_count_before(self.user[converted], self.converted_at[converted], user, moment)[0],
        )


@dataclass(frozen=True)
class ExposureStore:
    """Counts in the state table. Every method raises `StateUnavailable` where it does not answer in time.

    ttl_days   how long counts are kept after the last write
    """

    table: StateTable
    ttl_days: int = 395

    def read(self, partition: str, ads: Sequence[str]) -> Exposure:
        """Counts of one user until now; one row for each of `ads`.

        partition   partition key of the user's or session's state
        """
        counts: dict[str, list[int]] = {}
        for item in self.table.query(partition, (_PREFIX, _LAST)):
            counts[item["sk"]["S"].removeprefix(_PREFIX)] = [number(item, name) for name in _ATTRIBUTES]
        of_ads = np.array([counts.get(ad, [0] * 4) for ad in ads], dtype=np.int64).reshape(-1, 4)
        totals = np.array(list(counts.values()), dtype=np.int64).reshape(-1, 4).sum(axis=0, dtype=np.float64)
        impressions, clicks, conversions = of_ads[:, :3].T.astype(np.float64)
        last_impression = np.where(of_ads[:, 3] > 0, of_ads[:, 3], MISSING_TIME)
        return Exposure(impressions, clicks, conversions, last_impression, *(np.full(len(ads), total) for total in totals[:3]))

    def count_impressions(self, partition: str, ads: Sequence[str], now_ms: int) -> None:
        """Count an impression of each ad."""
        for ad in ads:
            self._add(partition, ad, "ADD seen :one SET last_seen = :now, expires_at = :e", {":now": now_ms}, now_ms)

    def count_outcome(self, partition: str, ad: str, outcome: Outcome, now_ms: int) -> None:
        """Count a click or a conversion after an ad."""
        self._add(partition, ad, f"ADD {outcome} :one SET expires_at = :e", {}, now_ms)

    def _add(self, partition: str, ad: str, expression: str, values: dict[str, int], now_ms: int) -> None:
        if len(ad.encode()) > _MAX_AD_ID_BYTES:
            return
        expires_at = now_ms // 1000 + self.ttl_days * DAY_SECONDS
        self.table.update(Update(partition, _PREFIX + ad, expression, "", {":one": 1, ":e": expires_at, **values}))


def _count_before(
    log_key: NDArray[np.int64], log_moment: NDArray[np.int64], key: NDArray[np.int64], moment: NDArray[np.int64]
) -> tuple[Numbers, NDArray[np.int64]]:
    """For each of N keys the number of its log entries before a moment, and the moment of the last of them."""
    order = np.lexsort((log_moment, log_key))
    log_key, log_moment = log_key[order], log_moment[order]
    # Moments become ranks, so that key and moment fit into one number.
    moments = np.unique(log_moment)
    ranks = len(moments) + 1
    keys, code = np.unique(log_key, return_inverse=True)
    entries = code * ranks + np.searchsorted(moments, log_moment)
    place = np.minimum(np.searchsorted(keys, key), max(len(keys) - 1, 0))
    logged = keys[place] == key if len(keys) else np.zeros(len(key), dtype=bool)
    first = np.searchsorted(entries, place * ranks)
    end = np.searchsorted(entries, place * ranks + np.searchsorted(moments, moment))
    count = np.where(logged, end - first, 0)
    last = np.full(len(key), MISSING_TIME)
    some = count > 0
    last[some] = log_moment[end[some] - 1]
    return count.astype(np.float64), last
