"""Diversity of a list: maximal marginal relevance (Carbonell & Goldstein, 1998)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

# Two items of one category are alike at least this much, whatever their vectors say; so at full diversity every category
# that there is comes before any comes twice.
_SAME_CATEGORY: Final = 0.7


def diversify(
    scores: NDArray[np.float32],
    vectors: NDArray[np.float32],
    categories: NDArray[np.int32] | None,
    count: int,
    diversity: float,
) -> NDArray[np.int64]:
    """Places of `count` candidates in a new order.

    scores       (n,) descending
    vectors      (n, D), of any length
    categories   (n,) codes, negative where unknown; `None` where no item has one
    diversity    0: as they come; 1: what is least like those before it, whatever its score
    """
    n = len(scores)
    count = min(count, n)
    if diversity <= 0 or n < 2:
        return np.arange(count)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    span = float(scores[0] - scores[-1])
    worth = (scores - scores[-1]) / span if span > 0 else np.ones(n, np.float32)
    share = _SAME_CATEGORY if categories is not None else 0.0
    alike = np.zeros(n, np.float32)
    taken = np.zeros(n, bool)
    order = np.empty(count, np.int64)
    for place in range(count):
        gain = (1.0 - diversity) * worth - diversity * alike
        gain[taken] = -np.inf
        best = int(gain.argmax())  # of equal ones the first, which has the higher score
        order[place] = best
        taken[best] = True
        likeness = (1.0 - share) * np.maximum(unit @ unit[best], 0.0)
        if categories is not None and categories[best] >= 0:
            likeness += share * (categories == categories[best])
        np.maximum(alike, likeness, out=alike)
    return order
