"""Control variates of explanations: games with known Shapley values that resemble the user embedding.

The worth of a coalition is a weighted mean of the worths of its single players: the r-th newest of a coalition weighs
1 / (1 + r)^power. Power 0 gives the plain mean; a network that depends mostly on the newest items is near power 3. Sampling
then estimates only the difference between the user embedding and such a game, whose Shapley values are in closed form.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

POWERS: Final = (0.0, 1.0, 2.0, 3.0, 4.0, 8.0)

Floats = NDArray[np.float64]


def player_weights(inside: NDArray[np.bool_], power: float) -> Floats:
    """(coalitions, n) weight of each player in each coalition, 0 outside it.

    inside   bool (coalitions, n), players from the oldest to the newest
    """
    newer = inside[:, ::-1].cumsum(axis=1)[:, ::-1] - inside
    weights = np.where(inside, (1.0 + newer) ** -power, 0.0)
    return np.asarray(weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300))


@lru_cache(maxsize=256)
def shapley_matrix(count: int, power: float) -> Floats:
    """(n, n): its product with the worths of the single players is their Shapley values; players from the oldest on.

    In a random coalition of s other players the number of newer ones has a hypergeometric distribution.
    """
    weight: Floats = np.power(1.0 + np.arange(count, dtype=np.float64), -power)
    total = np.concatenate([[1.0], np.cumsum(weight)])  # weight of a coalition by its size
    newer = count - 1 - np.arange(count)
    matrix = np.zeros((count, count))
    alone = _probability(count - 1) @ weight  # weight of i when it joins s others
    matrix[np.arange(count), np.arange(count)] = (alone[newer] / total[1:]).sum(axis=1)
    if count > 1:
        probability = _probability(count - 2)
        before, after = (
            probability @ weight[:-1],
            probability @ weight[1:],
        )  # weight of another player, without i and with a newer i
        size = np.arange(1, count)
        for i in range(count):
            others = np.delete(np.arange(count), i)
            newer_i = i > others
            m = newer[others] - newer_i
            with_i = np.where(newer_i[:, None], after[m], before[m])
            change = with_i / total[size + 1] - before[m] / total[size]
            matrix[i, others] = (change * size / (count - 1)).sum(axis=1)
    return matrix / count


@lru_cache(maxsize=8)
def _probability(others: int) -> Floats:
    """(m, k, r): P(r of k players drawn from `others` are among m of them); each from 0 to `others`."""
    size = np.arange(others + 1)
    m, k, r = np.meshgrid(size, size, size, indexing="ij")
    possible = (r <= m) & (r <= k) & (k - r <= others - m)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, others + 1)))])

    def log_choose(n: NDArray[np.int64], some: NDArray[np.int64]) -> Floats:
        some = np.where(possible, some, 0)
        found: Floats = log_factorial[n] - log_factorial[some] - log_factorial[np.where(possible, n - some, 0)]
        return found

    probability = np.exp(log_choose(m, r) + log_choose(others - m, k - r) - log_choose(np.full_like(k, others), k))
    return np.where(possible, probability, 0.0)
