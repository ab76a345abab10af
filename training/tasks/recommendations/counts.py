"""What counting says: which items go together, which follow which, what is popular, what is bought again."""

from __future__ import annotations

import itertools
from typing import Any, Final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from personalization.core.time import DAY_MS
from personalization.recommendations.sparse import NeighborMatrix
from training.tasks.recommendations.interaction_log import InteractionLog

NEIGHBOURS: Final = 100
_LONGEST: Final = 200  # newest different items of a user that count as together
_STEPS: Final = 4  # baskets ahead that count as following, the k-th with weight 1/k
_SHRINK: Final = 5.0
_CELLS: Final = 20_000_000  # of a block of an item-to-item product, about
_PRIOR_BUYS: Final = 20.0


def cosine_together(log: InteractionLog) -> sp.csr_matrix:
    """Sparse (items, items): cosine of two items' users; users with many items say less about each (weight 1/√count).

    Where baskets hold several items they take the place of users. At most `NEIGHBOURS` a row.
    """
    unit = _basket_numbers(log) if len(log) >= 2 * max(1, log.baskets_of_user.sum()) else _recent_users(log)
    keep = unit >= 0
    matrix = _ones(unit[keep], log.item[keep], log.items)
    weight = 1.0 / np.sqrt(np.maximum(1.0, np.asarray(matrix.sum(axis=1)).ravel()))
    matrix = (sp.diags(weight.astype(np.float32)) @ matrix).tocsr()
    length = np.sqrt(np.maximum(np.asarray(matrix.multiply(matrix).sum(axis=0)).ravel(), 1e-12))
    matrix = (matrix @ sp.diags((1.0 / length).astype(np.float32))).tocsr()
    return _product(matrix.T.tocsr(), matrix)


def transitions(log: InteractionLog, steps: int = _STEPS) -> sp.csr_matrix:
    """Sparse (items, items): how often an item is followed by another within `steps` baskets, by shrunk row sums."""
    number = _basket_numbers(log)
    count = int(number[-1]) + 1
    matrix = _ones(number, log.item, log.items)
    owner = np.zeros(count, np.int64)
    owner[number] = log.user
    following = sp.csr_matrix(matrix.shape, dtype=np.float32)
    for step in range(1, min(steps, count - 1) + 1):
        ahead = np.flatnonzero(owner[:-step] == owner[step:])
        move = sp.csr_matrix((np.full(len(ahead), 1.0 / step, np.float32), (ahead, ahead + step)), (count, count))
        following = following + move @ matrix
    total = np.asarray(matrix.T @ np.asarray(following.sum(axis=1))).ravel()
    scale = sp.diags((1.0 / (total + _SHRINK)).astype(np.float32))
    return _product((scale @ matrix.T).tocsr(), following.tocsr())


def cosine_alike(features: NeighborMatrix, rarity: NDArray[np.float32]) -> sp.csr_matrix:
    """Sparse (items, items): cosine of two items' content features, weighted by `rarity`; as `content.alike` has it."""
    shape = (len(features.indptr) - 1, len(rarity))
    values = features.values * rarity[features.indices]
    # A copy: zeros are taken out in place, and the features are still needed as they are.
    matrix = sp.csr_matrix((values, features.indices, features.indptr), shape, copy=True)
    matrix.eliminate_zeros()
    length = np.sqrt(np.maximum(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel(), 1e-12))
    matrix = (sp.diags((1.0 / length).astype(np.float32)) @ matrix).tocsr()
    return _product(matrix, matrix.T.tocsr())


def neighbours(matrix: sp.csr_matrix, power: float = 1.0) -> NeighborMatrix:
    """As `NeighborMatrix`, values raised to `power`: a root lets many weak signals count beside a strong one."""
    matrix = matrix.tocsr()
    return NeighborMatrix(
        matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), (matrix.data**power).astype(np.float32)
    )


def popularity(log: InteractionLog) -> NDArray[np.float64]:
    """(items,) number of interactions."""
    return np.bincount(log.item, minlength=log.items).astype(np.float64)


def recent_popularity(log: InteractionLog, as_of: int | None = None) -> NDArray[np.float64]:
    """(items,) interactions, each halved for every 30 days (or a tenth of the whole span, where that is less) of age."""
    newest = int(log.time.max()) if as_of is None else as_of
    span = max(1.0, (newest - int(log.time.min())) / DAY_MS)
    age = (newest - log.time) / DAY_MS
    weight = np.exp2(-age / min(30.0, span / 10.0))
    return np.bincount(log.item, weights=weight, minlength=log.items).astype(np.float64)


def repurchase(log: InteractionLog) -> NDArray[np.float32]:
    """(items,) log odds that a user who has an item in a basket has it in the next one too, shrunk to the mean."""
    width = int(log.basket.max(initial=0)) + 2
    key = np.unique((log.user.astype(np.int64) * log.items + log.item) * width + log.basket)
    pair, basket = key // width, key % width
    user, item = pair // log.items, pair % log.items
    again = np.zeros(len(key), bool)
    again[:-1] = (pair[1:] == pair[:-1]) & (basket[1:] == basket[:-1] + 1)
    asked = basket < log.baskets_of_user[user] - 1
    tried = np.bincount(item[asked], minlength=log.items)
    bought = np.bincount(item[asked & again], minlength=log.items)
    mean = (bought.sum() + 0.5) / (tried.sum() + 1.0)
    chance = (bought + _PRIOR_BUYS * mean) / (tried + _PRIOR_BUYS)
    chance = np.clip(chance, 1e-6, 1 - 1e-6)
    odds: NDArray[np.float32] = (np.log(chance) - np.log1p(-chance)).astype(np.float32)
    return odds


def repeat_share(log: InteractionLog) -> float:
    """Share of the items of second and later baskets that their user had in an earlier basket."""
    order = np.lexsort((log.basket, log.item, log.user))
    user, item, basket = log.user[order], log.item[order], log.basket[order]
    before = np.zeros(len(order), bool)
    same = (user[1:] == user[:-1]) & (item[1:] == item[:-1])
    before[1:] = same & (basket[1:] > basket[:-1])
    later = basket > 0
    return float(before[later].mean()) if later.any() else 0.0


def _basket_numbers(log: InteractionLog) -> NDArray[np.int64]:
    """(E,) number of each interaction's basket among all, in the order of the log."""
    new = np.ones(len(log), bool)
    new[1:] = (log.user[1:] != log.user[:-1]) | (log.basket[1:] != log.basket[:-1])
    return np.cumsum(new) - 1


def _recent_users(log: InteractionLog) -> NDArray[np.int64]:
    """(E,) the user of each interaction, −1 for those before its newest `_LONGEST`."""
    from_end = log.offsets[log.user.astype(np.int64) + 1] - np.arange(len(log))
    return np.where(from_end <= _LONGEST, log.user, -1).astype(np.int64)


def _ones(rows: NDArray[Any], columns: NDArray[Any], items: int) -> sp.csr_matrix:
    count = int(rows.max(initial=-1)) + 1
    matrix = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (count, items))
    matrix.data[:] = 1.0  # the same twice counts once
    return matrix


def _product(left: sp.csr_matrix, right: sp.csr_matrix) -> sp.csr_matrix:
    """left @ right without its diagonal, block by block of rows, each row's best `NEIGHBOURS` kept."""
    cost = np.cumsum(np.asarray(sp.csr_matrix((np.ones_like(left.data), left.indices, left.indptr), left.shape)
                                @ np.diff(right.indptr).astype(np.float64)).ravel())  # fmt: skip
    bounds = [0]
    while bounds[-1] < left.shape[0]:
        before = cost[bounds[-1] - 1] if bounds[-1] else 0.0
        bounds.append(max(bounds[-1] + 1, int(np.searchsorted(cost, before + _CELLS, side="right"))))
    blocks = [_best((left[a:b] @ right).tocsr(), a) for a, b in itertools.pairwise(bounds)]
    return sp.vstack(blocks, format="csr") if blocks else sp.csr_matrix(left.shape, dtype=np.float32)


def _best(block: sp.csr_matrix, first: int) -> sp.csr_matrix:
    """The largest `NEIGHBOURS` of each row that are above 0 and not on the diagonal; `first` is the number of the first row."""
    place = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
    keep = (block.indices != place + first) & (block.data > 0)
    column, value = block.indices[keep], block.data[keep]
    ends = np.cumsum(np.bincount(place[keep], minlength=block.shape[0]))
    few = np.ones(len(value), bool)
    for row in np.flatnonzero(np.diff(ends, prepend=0) > NEIGHBOURS).tolist():
        start = ends[row - 1] if row else 0
        few[start + np.argpartition(-value[start : ends[row]], NEIGHBOURS - 1)[NEIGHBOURS:]] = False
    kept = np.concatenate([[0], np.cumsum(few)])[np.concatenate([[0], ends])]
    return sp.csr_matrix((value[few], column[few], kept), block.shape)
