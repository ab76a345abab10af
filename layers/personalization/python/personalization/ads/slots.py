"""Places for ads, and how likely each is looked at.

P(click at a slot) = P(seen | slot, placement) × P(click | seen): the examination hypothesis (Richardson, Dominowska and Ragno,
WWW 2007). The model gives the second factor; the first is a small table that training fits from positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

ANYWHERE = ""  # the row of the table for a placement that it does not list


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one ad.

    slot_id     as the shop calls it
    placement   kind of page or mail, or `None`
    position    1 for the first place, or `None` where that is not known
    floor       expected value per 1,000 impressions below which nothing is shown
    """

    slot_id: str
    placement: str | None = None
    position: int | None = None
    floor: float = 0.0


@dataclass(frozen=True)
class PositionModel:
    """P(seen) by placement and position; `table` may be empty, then every slot counts as seen.

    table   by placement (`ANYWHERE` for the others), the probabilities of positions 1, 2, …
    """

    table: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> PositionModel:
        """From a bundle's ``examination``, absent where it was trained without positions."""
        return cls(dict(manifest.get("examination") or {}))

    @property
    def known(self) -> bool:
        return bool(self.table)

    def seen(self, slot: Slot) -> float:
        """Probability that an ad in this slot is seen. Positions beyond the last known one count like that one."""
        chances = self.table.get(slot.placement or ANYWHERE) or self.table.get(ANYWHERE)
        if not chances or slot.position is None:
            return 1.0
        return float(chances[min(max(slot.position, 1), len(chances)) - 1])

    def seen_all(self, slots: Sequence[Slot]) -> NDArray[np.float64]:
        return np.array([self.seen(slot) for slot in slots], dtype=np.float64)
