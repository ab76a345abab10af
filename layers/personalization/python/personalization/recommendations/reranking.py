"""A list in another order: diversity (maximal marginal relevance, Carbonell & Goldstein 1998) and promotion of items."""

from __future__ import annotations

from math import ceil, floor
from typing import Final

import numpy as np
from numpy.typing import NDArray

# Two items of one category are alike at least this much, whatever their embeddings; so at full diversity every category
# appears before any appears twice.
_SAME_CATEGORY: Final = 0.7
_SLACK: Final = 1e-9  # .3 · 10 is 3


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
    relative = (scores - scores[-1]) / span if span > 0 else np.ones(n, np.float32)
    share = _SAME_CATEGORY if categories is not None else 0.0
    alike = np.zeros(n, np.float32)
    taken = np.zeros(n, bool)
    order = np.empty(count, np.int64)
    for place in range(count):
        gain = (1.0 - diversity) * relative - diversity * alike
        gain[taken] = -np.inf
        best = int(gain.argmax())  # of equal ones the first, which has the higher score
        order[place] = best
        taken[best] = True
        similarity = (1.0 - share) * np.maximum(unit @ unit[best], 0.0)
        if categories is not None and categories[best] >= 0:
            similarity += share * (categories == categories[best])
        np.maximum(alike, similarity, out=alike)
    return order


def promote(order: NDArray[np.int64], promoted: NDArray[np.bool_], share: float, k: int) -> NDArray[np.int64]:
    """The first `k` of `order`, in which at least ⌈share · k⌉ are promoted, where there are as many.

    order      codes or places, best first; may be longer than `k`
    promoted   (len(order),)

    The list keeps its order but for promoted ones that move up, spread over the list: of the first p at least ⌊share · p⌋.
    """
    k = min(k, len(order))
    own = np.flatnonzero(promoted)
    needed = min(ceil(share * k - _SLACK), len(own))
    taken = np.zeros(len(order), bool)
    chosen = np.empty(k, np.int64)
    have = next_any = next_own = 0
    for place in range(k):
        while next_any < len(order) and taken[next_any]:
            next_any += 1
        while next_own < len(own) and taken[own[next_own]]:
            next_own += 1
        left = k - place
        behind = have < min(floor(share * (place + 1) + _SLACK), needed) or needed - have >= left
        pick = int(own[next_own]) if behind and next_own < len(own) else next_any
        taken[pick] = True
        have += bool(promoted[pick])
        chosen[place] = pick
    return order[chosen]
