"""What the user of `train ads --impressions F` asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Final

from personalization.core.time import parse_timezone
from personalization.features import Window

PATIENCE: Final = 10


@dataclass(frozen=True)
class AdData:
    """The data.

    impressions        what was shown, with click or conversion
    ads, users         tables; without `ads` an ad is only its id
    interactions       files, merged: what the users did otherwise
    attribution_days   for which a conversion is waited; None: found in the data
    no_test            nothing is held out for test: what is last is validation
    timezone           of the shop: of hours and weekdays, and of timestamps without an offset
    window             history that features see
    max_rows           more training rows than this are sampled (seeded)
    """

    impressions: Path
    ads: Path | None = None
    users: Path | None = None
    interactions: tuple[Path, ...] = ()
    mapping: Mapping[str, str] = field(default_factory=dict)
    attribution_days: float | None = None
    no_test: bool = False
    timezone: str = "UTC"
    window: Window = field(default_factory=Window)
    max_rows: int = 400_000
    seed: int = 0

    @property
    def files(self) -> list[Path]:
        others = (path for path in (self.ads, self.users) if path is not None)
        return [self.impressions, *others, *self.interactions]

    @property
    def zone(self) -> tzinfo:
        """Raises `InvalidInput` for a name that the time zone database does not have."""
        return parse_timezone(self.timezone)
