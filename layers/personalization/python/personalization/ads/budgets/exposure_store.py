"""What a user had to do with ads, beside the user's other state: one item an ad.

    pk                       sk                holds
    user#<id>, session#<id>  exposure#<ad id>  seen, clicked, converted: how often; last_seen: milliseconds

The counts are what a model of ads was trained to see (`advertising.exposure`); caps have counts of their own, by day. A write
whose answer was lost and that is repeated may count twice: a model can live with that, a cap could not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from personalization.ads.budgets.counters import CounterTable, Update, number
from personalization.ads.exposure import Exposure
from personalization.core.time import DAY_SECONDS, MISSING_TIME

_PREFIX: Final = "exposure#"
_LAST: Final = "exposure$"  # the sort key behind all of them
_LONGEST: Final = 900  # bytes of an ad's id; a sort key holds 1,024

Happened = Literal["clicked", "converted"]


@dataclass(frozen=True)
class ExposureStore:
    """ttl_days   after the last impression, for which they are kept"""

    table: CounterTable
    ttl_days: int = 395

    def read(self, partition: str, ads: Sequence[str]) -> Exposure:
        """What the user had to do with each of the ads, and with all ads that are remembered."""
        counts: dict[str, tuple[int, int, int, int]] = {}
        for item in self.table.between(partition, _PREFIX, _LAST):
            kept = tuple(number(item, name) for name in ("seen", "clicked", "converted", "last_seen"))
            counts[item["sk"]["S"][len(_PREFIX) :]] = kept  # type: ignore[assignment]  # four of them
        every = np.array(list(counts.values()), dtype=np.int64).reshape(-1, 4)
        mine = np.array([counts.get(ad, (0, 0, 0, 0)) for ad in ads], dtype=np.int64).reshape(-1, 4)
        totals = every.sum(axis=0, dtype=np.float64)
        rows = len(ads)
        return Exposure(
            seen=mine[:, 0].astype(np.float64),
            clicked=mine[:, 1].astype(np.float64),
            converted=mine[:, 2].astype(np.float64),
            last_seen=np.where(mine[:, 3] > 0, mine[:, 3], MISSING_TIME),
            all_seen=np.full(rows, totals[0]),
            all_clicked=np.full(rows, totals[1]),
            all_converted=np.full(rows, totals[2]),
        )

    def seen(self, partition: str, ads: Sequence[str], now_ms: int) -> None:
        """Count an impression of each ad."""
        for ad in ads:
            self._add(partition, ad, "ADD seen :one SET last_seen = :now, expires_at = :e", {":now": now_ms}, now_ms)

    def happened(self, partition: str, ad: str, what: Happened, now_ms: int) -> None:
        """Count a click or a conversion after an ad."""
        self._add(partition, ad, f"ADD {what} :one SET expires_at = :e", {}, now_ms)

    def _add(self, partition: str, ad: str, expression: str, values: dict[str, int], now_ms: int) -> None:
        if len(ad.encode()) > _LONGEST:
            return
        expires_at = now_ms // 1000 + self.ttl_days * DAY_SECONDS
        self.table.update(Update(partition, _PREFIX + ad, expression, "", {":one": 1, ":e": expires_at, **values}))
