"""Item statistics of the training interactions: popularity, co-occurrence, transitions, content similarity, repurchase."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from personalization.core.csr import CsrMatrix
from personalization.core.time import DAY_MS
from personalization.recommendations.blend import CONTENT_SIMILARITY, COOCCURRENCE, TRANSITION
from training.tasks.recommendations.interaction_log import InteractionLog
from training.tasks.recommendations.training_items import TrainingItems, inverse_frequency

NUM_NEIGHBORS: Final = 100  # kept for each item
_USER_ITEMS: Final = 200  # newest interactions of a user that count as co-occurring
_STEPS: Final = 4  # baskets ahead that count as following, the k-th with weight 1/k
_SHRINKAGE: Final = 5.0
_NEIGHBOR_POWER: Final = 0.5  # a root lets many weak neighbors count beside a strong one
_BLOCK_CELLS: Final = 20_000_000  # of a block of an item-to-item product, about
_PRIOR_BASKETS: Final = 20.0
_SIMILARITY_ITEMS: Final = 200_000  # beyond, comparing the content of all items takes longer than it is worth
_MIN_REPEAT_SHARE: Final = 0.01


@dataclass(frozen=True)
class ItemStatistics:
    """What is counted in the training interactions; all arrays by item code.

    popularity          float64 (items,) number of interactions
    recent_popularity   float64 (items,) the same, discounted by age
    cooccurrence, transitions, content_similarity
                        sparse (items, items) scores of each item's neighbors; the last is None without content
    repurchase          float32 (items,) log odds of being in the user's next basket again
    repeat_share        of the items in second and later baskets that the user had before
    """

    popularity: NDArray[np.float64]
    recent_popularity: NDArray[np.float64]
    cooccurrence: sp.csr_matrix
    transitions: sp.csr_matrix
    content_similarity: sp.csr_matrix | None
    repurchase: NDArray[np.float32]
    repeat_share: float

    @cached_property
    def static_scores(self) -> NDArray[np.float32]:
        """(2, items) the rows of `recommender.STATIC`: log popularity and log recent popularity."""
        return np.log1p(np.stack([self.popularity, self.recent_popularity])).astype(np.float32)

    @cached_property
    def neighbors(self) -> dict[str, CsrMatrix]:
        """Item-to-item matrices by name, as `Recommender.matrices` has them."""
        matrices = {
            COOCCURRENCE: neighbor_matrix(self.cooccurrence, _NEIGHBOR_POWER),
            TRANSITION: neighbor_matrix(self.transitions, _NEIGHBOR_POWER),
        }
        if self.content_similarity is not None:
            matrices[CONTENT_SIMILARITY] = neighbor_matrix(self.content_similarity)
        return matrices

    @property
    def repeat_buying(self) -> bool:
        """Whether users buy items again often enough for the blend to consider it."""
        return self.repeat_share >= _MIN_REPEAT_SHARE


def count_statistics(log: InteractionLog, items: TrainingItems) -> ItemStatistics:
    """All statistics of a log that holds training interactions alone."""
    features = items.features
    similarity = None
    if features is not None and log.num_items <= _SIMILARITY_ITEMS:
        similarity = content_similarity(features, inverse_frequency(features, items.num_features))
    return ItemStatistics(
        popularity(log),
        recent_popularity(log),
        cooccurrence(log),
        transitions(log),
        similarity,
        repurchase_log_odds(log),
        repeat_share(log),
    )


def popularity(log: InteractionLog) -> NDArray[np.float64]:
    """(items,) number of interactions."""
    return np.bincount(log.item, minlength=log.num_items).astype(np.float64)


def recent_popularity(log: InteractionLog) -> NDArray[np.float64]:
    """(items,) interactions, each with a half-life of 30 days, or of a tenth of the log's whole span where that is less."""
    newest = int(log.time.max())
    span_days = max(1.0, (newest - int(log.time.min())) / DAY_MS)
    weight = np.exp2(-(newest - log.time) / DAY_MS / min(30.0, span_days / 10.0))
    return np.bincount(log.item, weights=weight, minlength=log.num_items).astype(np.float64)


def cooccurrence(log: InteractionLog) -> sp.csr_matrix:
    """Sparse (items, items): cosine of two items' users, each user weighted by 1/√(number of items).

    Where baskets hold two items or more on average, baskets take the place of users. Each row has at most
    `NUM_NEIGHBORS` entries and no diagonal.
    """
    if len(log) >= 2 * max(1, log.basket_counts.sum()):
        unit, rows = np.cumsum(log.basket_starts) - 1, np.arange(len(log))
    else:
        rows = np.flatnonzero(log.offsets[log.user.astype(np.int64) + 1] - np.arange(len(log)) <= _USER_ITEMS)
        unit = log.user[rows].astype(np.int64)
    matrix = _incidence(unit, log.item[rows], log.num_items)
    weight = 1.0 / np.sqrt(np.maximum(1.0, np.asarray(matrix.sum(axis=1)).ravel()))
    matrix = (sp.diags(weight.astype(np.float32)) @ matrix).tocsr()
    length = np.sqrt(np.maximum(np.asarray(matrix.multiply(matrix).sum(axis=0)).ravel(), 1e-12))
    matrix = (matrix @ sp.diags((1.0 / length).astype(np.float32))).tocsr()
    return _top_product(matrix.T.tocsr(), matrix)


def transitions(log: InteractionLog, steps: int = _STEPS) -> sp.csr_matrix:
    """Sparse (items, items): how often an item is followed by another within `steps` baskets, by shrunk row sums."""
    basket = np.cumsum(log.basket_starts) - 1
    count = int(basket[-1]) + 1
    matrix = _incidence(basket, log.item, log.num_items)
    owner = log.user[log.basket_starts]
    following = sp.csr_matrix(matrix.shape, dtype=np.float32)
    for step in range(1, min(steps, count - 1) + 1):
        rows = np.flatnonzero(owner[:-step] == owner[step:])
        shift = sp.csr_matrix((np.full(len(rows), 1.0 / step, np.float32), (rows, rows + step)), (count, count))
        following = following + shift @ matrix
    total = np.asarray(matrix.T @ np.asarray(following.sum(axis=1))).ravel()
    scale = sp.diags((1.0 / (total + _SHRINKAGE)).astype(np.float32))
    return _top_product((scale @ matrix.T).tocsr(), following.tocsr())


def content_similarity(features: CsrMatrix, weight: NDArray[np.float32]) -> sp.csr_matrix:
    """Sparse (items, items): cosine of two items' content features, weighted by `weight` (features,).

    The same as `item_content.content_neighbors` computes for items that came after training.
    """
    shape = (len(features), len(weight))
    values = features.values * weight[features.indices]
    # A copy: `eliminate_zeros` works in place, and the features are used again afterwards.
    matrix = sp.csr_matrix((values, features.indices, features.indptr), shape, copy=True)
    matrix.eliminate_zeros()
    length = np.sqrt(np.maximum(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel(), 1e-12))
    matrix = (sp.diags((1.0 / length).astype(np.float32)) @ matrix).tocsr()
    return _top_product(matrix, matrix.T.tocsr())


def repurchase_log_odds(log: InteractionLog) -> NDArray[np.float32]:
    """(items,) log odds that a user who has an item in a basket has it in the next one too, shrunk to the mean."""
    width = int(log.basket.max(initial=0)) + 2
    key = np.unique((log.user.astype(np.int64) * log.num_items + log.item) * width + log.basket)
    pair, basket = key // width, key % width
    user, item = pair // log.num_items, pair % log.num_items
    again = np.zeros(len(key), bool)
    again[:-1] = (pair[1:] == pair[:-1]) & (basket[1:] == basket[:-1] + 1)
    has_next = basket < log.basket_counts[user] - 1
    trials = np.bincount(item[has_next], minlength=log.num_items)
    repeats = np.bincount(item[has_next & again], minlength=log.num_items)
    mean = (repeats.sum() + 0.5) / (trials.sum() + 1.0)
    rate = np.clip((repeats + _PRIOR_BASKETS * mean) / (trials + _PRIOR_BASKETS), 1e-6, 1 - 1e-6)
    log_odds: NDArray[np.float32] = (np.log(rate) - np.log1p(-rate)).astype(np.float32)
    return log_odds


def repeat_share(log: InteractionLog) -> float:
    """Share of the items of second and later baskets that their user had in an earlier basket."""
    order = np.lexsort((log.basket, log.item, log.user))
    user, item, basket = log.user[order], log.item[order], log.basket[order]
    repeated = np.zeros(len(order), bool)
    repeated[1:] = (user[1:] == user[:-1]) & (item[1:] == item[:-1]) & (basket[1:] > basket[:-1])
    later = basket > 0
    return float(repeated[later].mean()) if later.any() else 0.0


def neighbor_matrix(matrix: sp.csr_matrix, power: float = 1.0) -> CsrMatrix:
    """The matrix as a bundle holds it, values raised to `power`. Index arrays are shared where their types allow."""
    indptr, indices = matrix.indptr.astype(np.int64, copy=False), matrix.indices.astype(np.int32, copy=False)
    return CsrMatrix(indptr, indices, (matrix.data**power).astype(np.float32, copy=False), matrix.shape[1])


def _incidence(rows: NDArray[Any], items: NDArray[Any], num_items: int) -> sp.csr_matrix:
    """Sparse (rows, items) of ones; an item that comes twice in a row counts once."""
    matrix = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, items)), (int(rows.max(initial=-1)) + 1, num_items))
    matrix.data[:] = 1.0
    return matrix


def _top_product(left: sp.csr_matrix, right: sp.csr_matrix) -> sp.csr_matrix:
    """left @ right without its diagonal, the best `NUM_NEIGHBORS` of each row. Blocks of rows bound the memory."""
    ones = sp.csr_matrix((np.ones_like(left.data), left.indices, left.indptr), left.shape)
    cost = np.cumsum(np.asarray(ones @ np.diff(right.indptr).astype(np.float64)).ravel())
    bounds = [0]
    while bounds[-1] < left.shape[0]:
        before = cost[bounds[-1] - 1] if bounds[-1] else 0.0
        bounds.append(max(bounds[-1] + 1, int(np.searchsorted(cost, before + _BLOCK_CELLS, side="right"))))
    blocks = [_top_entries((left[a:b] @ right).tocsr(), a) for a, b in itertools.pairwise(bounds)]
    return sp.vstack(blocks, format="csr") if blocks else sp.csr_matrix(left.shape, dtype=np.float32)


def _top_entries(block: sp.csr_matrix, first_row: int) -> sp.csr_matrix:
    """The largest `NUM_NEIGHBORS` positive entries of each row of a block of a square matrix, without its diagonal."""
    row = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
    keep = (block.indices != row + first_row) & (block.data > 0)
    column, value = block.indices[keep], block.data[keep]
    ends = np.cumsum(np.bincount(row[keep], minlength=block.shape[0]))
    top = np.ones(len(value), bool)
    for long in np.flatnonzero(np.diff(ends, prepend=0) > NUM_NEIGHBORS).tolist():
        start = ends[long - 1] if long else 0
        top[start + np.argpartition(-value[start : ends[long]], NUM_NEIGHBORS - 1)[NUM_NEIGHBORS:]] = False
    offsets = np.concatenate([[0], np.cumsum(top)])[np.concatenate([[0], ends])]
    return sp.csr_matrix((value[top], column[top], offsets), block.shape)
