"""Options of `train profiles --interactions`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, tzinfo
from pathlib import Path
from typing import Final

from personalization.core.schema import HAZARD_DAYS
from personalization.core.time import parse_timezone
from personalization.features import HistoryWindow
from training.networks.tabular import TabularConfig

PATIENCE: Final = 8  # epochs; an epoch over the rows of many cuts is long
# A user has one row at each cut: a wide and deep network would memorise the users.
NETWORK: Final = TabularConfig(widths=(64,), dropout=0.3)


@dataclass(frozen=True)
class ProfileData:
    """Files and horizons.

    interactions    files, merged; `mapping` (our name → their column) is for all without a mapping file beside them
    items, users    tables with categories and attributes
    id_map          table: other id → user_id
    cutoff          the test cut: the first day that training does not use
    no_test         nothing is held out for test: training goes up to the cutoff, or to the end of the data
    horizon         days of the headline probability and of the expected spend
    churn_horizon   days without a purchase that count as churn
    timezone        of the shop: of days and hours, and of timestamps without an offset
    window          history that features see
    max_users       more users than this, or their events, are sampled by user (seeded); max_rows limits the training rows
    """

    interactions: tuple[Path, ...]
    items: Path | None = None
    users: Path | None = None
    id_map: Path | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    cutoff: date | None = None
    no_test: bool = False
    horizon: int = 14
    churn_horizon: int = 90
    timezone: str = "UTC"
    window: HistoryWindow = field(default_factory=HistoryWindow)
    max_users: int = 60_000
    max_events: int = 6_000_000
    max_rows: int = 300_000
    seed: int = 0

    @property
    def files(self) -> list[Path]:
        return [*self.interactions, *(path for path in (self.items, self.users, self.id_map) if path is not None)]

    @property
    def days(self) -> tuple[int, ...]:
        """Ends of the intervals of the hazard, ascending."""
        return tuple(sorted({*HAZARD_DAYS, self.horizon, self.churn_horizon}))

    @property
    def zone(self) -> tzinfo:
        """Raises `InvalidInput` for a name that the time zone database does not have."""
        return parse_timezone(self.timezone)
