"""RFM segments: recency, frequency and monetary value, each scored 1 to 5 by the quintiles of the training data.

The names and their ranges over (recency, mean of frequency and monetary) are the customary ones of direct marketing.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

PROSPECT: Final = "Prospects"

# (name, recency scores, frequency-and-monetary scores), both bounds inclusive; the first that fits. They cover 1..5 × 1..5.
RULES: Final[tuple[tuple[str, tuple[int, int], tuple[int, int]], ...]] = (
    ("Champions", (5, 5), (4, 5)),
    ("Loyal customers", (3, 4), (4, 5)),
    ("Cannot lose them", (1, 1), (5, 5)),
    ("At risk", (1, 2), (3, 5)),
    ("Potential loyalists", (4, 5), (2, 3)),
    ("New customers", (5, 5), (1, 1)),
    ("Promising", (4, 4), (1, 1)),
    ("Need attention", (3, 3), (3, 3)),
    ("About to sleep", (3, 3), (1, 2)),
    ("Hibernating", (2, 2), (1, 2)),
    ("Lost", (1, 1), (1, 2)),
)

NAMES: Final = (*(name for name, _, _ in RULES), PROSPECT)


@dataclass(frozen=True, slots=True)
class RfmQuintiles:
    """Four ascending edges each, of the buyers in training: days since the last purchase, orders, and net value."""

    recency: Sequence[float]
    frequency: Sequence[float]
    monetary: Sequence[float]

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> RfmQuintiles | None:
        """`None` where the bundle has none."""
        rfm = manifest.get("rfm")
        return cls(rfm["recency"], rfm["frequency"], rfm["monetary"]) if rfm else None


def rfm_segment(recency_days: float, orders: float, monetary: float, quintiles: RfmQuintiles) -> dict[str, Any]:
    """Segment of one user: its name and three scores from 1 to 5, 5 is best.

    recency_days   days since the last purchase, NaN for one who never bought
    orders         orders in the history window
    monetary       net value in the history window
    """
    if math.isnan(recency_days) or not orders > 0:
        return {"name": PROSPECT, "recency": None, "frequency": None, "monetary": None}
    recency = 5 - bisect_left(quintiles.recency, recency_days)
    frequency = 1 + bisect_right(quintiles.frequency, orders)
    money = 1 + bisect_right(quintiles.monetary, monetary)
    value_score = math.floor((frequency + money) / 2 + 0.5)
    name = next(name for name, (r0, r1), (w0, w1) in RULES if r0 <= recency <= r1 and w0 <= value_score <= w1)
    return {"name": name, "recency": recency, "frequency": frequency, "monetary": money}


def segment_spread(sizes: Mapping[str, int]) -> dict[str, float | None]:
    """Statistics of the sizes of segments; `None` without users.

    sizes   number of users by segment

    ``coverage``: share of the users in a segment other than `PROSPECT`: users with a purchase.
    ``diversity``: the effective number of segments, the exponential of the entropy of their shares: 1 where all users are in
    one, the number of segments where all are of one size (Hill 1973).
    """
    users = sum(sizes.values())
    if not users:
        return {"coverage": None, "diversity": None}
    shares = [size / users for size in sizes.values() if size]
    entropy = -sum(share * math.log(share) for share in shares)
    return {"coverage": round(1 - sizes.get(PROSPECT, 0) / users, 6), "diversity": round(math.exp(entropy), 6)}
