"""Games whose Shapley values are known, and which are much like a user vector: they take most of the noise out of sampling.

The worth of a coalition is a mean of what its players are worth alone, in which newer players weigh more: the r-th newest of a
coalition 1 / (1 + r)^power. With power 0 it is the plain mean; a network that listens to the newest items is near power 3.
The values are linear in what the players are worth alone, with numbers that depend on the size of the game only.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

POWERS: Final = (0.0, 1.0, 2.0, 3.0, 4.0, 8.0)

Floats = NDArray[np.float64]


def shares(inside: NDArray[np.bool_], power: float) -> Floats:
    """(coalitions, n) the weight of each player in each coalition, 0 for those who are not in it.

    inside   (coalitions, n), players from the oldest to the newest
    """
    newer = inside[:, ::-1].cumsum(axis=1)[:, ::-1] - inside
    weights = np.where(inside, (1.0 + newer) ** -power, 0.0)
    found: Floats = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    return found


@lru_cache(maxsize=256)
def values(count: int, power: float) -> Floats:
    """(n, n): row i times what the players are worth alone is the Shapley value of player i, players from the oldest on.

    A coalition of s of the others is drawn; of them, so many are newer than a player as a hypergeometric distribution says.
    """
    weight: Floats = np.power(1.0 + np.arange(count, dtype=np.float64), -power)
    total = np.concatenate([[1.0], np.cumsum(weight)])  # of a coalition by its size
    newer = count - 1 - np.arange(count)
    found = np.zeros((count, count))
    alone = _chance(count - 1) @ weight  # of i itself, when it joins s of the others
    found[np.arange(count), np.arange(count)] = (alone[newer] / total[1:]).sum(axis=1)
    if count > 1:
        chance = _chance(count - 2)
        before, after = chance @ weight[:-1], chance @ weight[1:]  # of another, without i and with i if that is newer
        size = np.arange(1, count)
        for i in range(count):
            others = np.delete(np.arange(count), i)
            i_is_newer = i > others
            m = newer[others] - i_is_newer
            with_i = np.where(i_is_newer[:, None], after[m], before[m])
            change = with_i / total[size + 1] - before[m] / total[size]
            found[i, others] = (change * size / (count - 1)).sum(axis=1)
    return found / count


@lru_cache(maxsize=8)
def _chance(others: int) -> Floats:
    """(m, k, r): P(r of the k that are drawn from the `others` are among m of them); each from 0 to `others`."""
    size = np.arange(others + 1)
    m, k, r = np.meshgrid(size, size, size, indexing="ij")
    possible = (r <= m) & (r <= k) & (k - r <= others - m)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, others + 1)))])

    def log_choose(n: NDArray[np.int64], some: NDArray[np.int64]) -> Floats:
        some = np.where(possible, some, 0)
        found: Floats = log_factorial[n] - log_factorial[some] - log_factorial[np.where(possible, n - some, 0)]
        return found

    chance = np.exp(log_choose(m, r) + log_choose(others - m, k - r) - log_choose(np.full_like(k, others), k))
    return np.where(possible, chance, 0.0)
