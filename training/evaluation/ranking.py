"""Ranking metrics over all items, without sampled negatives: recall, NDCG, MRR; coverage, diversity, novelty of lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from personalization.recommendations.retrieval import top_k

CUTOFFS: Final = (5, 10, 20)
LIST_LENGTH: Final = 20  # of the lists that coverage and novelty look at
_DIVERSITY_LENGTH: Final = 10


def target_ranks(scores: NDArray[np.float32], targets: Sequence[NDArray[np.int32]]) -> list[NDArray[np.float64]]:
    """Rank of each target among all items, 0 the best; items with equal scores share the mean of their ranks.

    scores    (N, items)
    targets   distinct item codes of each row
    """
    ranks = []
    for row, items in zip(scores, targets, strict=True):
        value = row[items][:, None]
        ranks.append((row > value).sum(axis=1) + ((row == value).sum(axis=1) - 1) / 2.0)
    return ranks


def ranking_metrics(ranks: Sequence[NDArray[np.float64]]) -> dict[str, float]:
    """Means over users of `recall_at_k`, `ndcg_at_k` and `mrr_at_20`; empty without users.

    ranks   of each user's targets, from `target_ranks`

    Recall is hits / targets. The ideal of NDCG is min(targets, k) hits at the top.
    """
    if not ranks:
        return {}
    users = len(ranks)
    user = np.repeat(np.arange(users), [len(r) for r in ranks])
    rank = np.concatenate(ranks)
    targets = np.bincount(user, minlength=users)
    gain = 1.0 / np.log2(rank + 2.0)
    ideal_gain = np.cumsum(1.0 / np.log2(np.arange(max(CUTOFFS)) + 2.0))
    metrics: dict[str, float] = {}
    for k in CUTOFFS:
        hit = rank < k
        metrics[f"recall_at_{k}"] = float(np.mean(np.bincount(user, weights=hit, minlength=users) / targets))
        ideal = ideal_gain[np.minimum(targets, k) - 1]
        metrics[f"ndcg_at_{k}"] = float(np.mean(np.bincount(user, weights=hit * gain, minlength=users) / ideal))
    first = np.full(users, np.inf)
    np.minimum.at(first, user, rank)
    metrics["mrr_at_20"] = float(np.mean(np.where(first < max(CUTOFFS), 1.0 / (first + 1.0), 0.0)))
    return metrics


@dataclass
class TopListMetrics:
    """Metrics of the users' top lists beyond accuracy. Blocks of scores are added one after the other.

    popularity   (items,) share of the training interactions
    embeddings   (items, D), by which items are similar
    """

    popularity: NDArray[np.float64]
    embeddings: NDArray[np.float32]
    _recommended: NDArray[np.bool_] = field(init=False)
    _novelty: list[float] = field(default_factory=list)
    _diversity: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._recommended = np.zeros(len(self.popularity), bool)

    def add(self, scores: NDArray[np.float32]) -> None:
        """Add the lists of the `LIST_LENGTH` items with the best scores (N, items)."""
        count = min(LIST_LENGTH, scores.shape[1])
        top = np.stack([top_k(row, count) for row in scores])
        self._recommended[top] = True
        self._novelty.extend((-np.log2(self.popularity[top] + 1e-12)).mean(axis=1).tolist())
        unit = self.embeddings[top[:, :_DIVERSITY_LENGTH]].astype(np.float64)
        unit /= np.maximum(np.linalg.norm(unit, axis=2, keepdims=True), 1e-12)
        pairs = unit.shape[1] * (unit.shape[1] - 1)
        if pairs:
            cosines = np.square(unit.sum(axis=1)).sum(axis=1) - np.square(unit).sum(axis=(1, 2))
            self._diversity.extend((1.0 - cosines / pairs).tolist())

    def metrics(self) -> dict[str, float]:
        """`coverage`: share of all items that are in some list. `diversity`: mean 1 − cosine of two items among the first
        ten of a list. `novelty`: mean −log2 of an item's share of the training interactions."""
        return {
            "coverage": float(self._recommended.mean()),
            "diversity": float(np.mean(self._diversity)) if self._diversity else 0.0,
            "novelty": float(np.mean(self._novelty)) if self._novelty else 0.0,
        }
