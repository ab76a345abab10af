"""Promotion: a share of the list for items that the shop wants seen."""

from __future__ import annotations

from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

_SLACK = 1e-9  # .3 · 10 is 3


def promote(order: NDArray[np.int64], wanted: NDArray[np.bool_], share: float, k: int) -> NDArray[np.int64]:
    """The first `k` of `order`, in which at least ⌈share · k⌉ are wanted ones, where there are as many.

    order    codes or places, best first; may be longer than `k`
    wanted   (len(order),)

    The list keeps its order but for wanted ones that move up, spread over the list: of the first p at least ⌊share · p⌋.
    """
    k = min(k, len(order))
    own = np.flatnonzero(wanted)
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
        have += bool(wanted[pick])
        chosen[place] = pick
    return order[chosen]
