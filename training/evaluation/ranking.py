"""Ranking metrics over all items: recall, NDCG, MRR, and what the lists are like as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

CUTS: Final = (5, 10, 20)
LIST: Final = 20  # length of the lists that coverage, diversity and novelty look at
_PAIRS: Final = 10  # diversity is of the first ten


def target_ranks(scores: NDArray[np.float32], targets: Sequence[NDArray[np.int32]]) -> list[NDArray[np.float64]]:
    """Rank of each target among all items, 0 the best; items of equal score share the middle of their ranks.

    scores (N, items); targets: for each row different items.
    """
    ranks = []
    for row, wanted in zip(scores, targets, strict=True):
        value = row[wanted][:, None]
        ranks.append((row > value).sum(axis=1) + ((row == value).sum(axis=1) - 1) / 2.0)
    return ranks


def ranking_metrics(ranks: Sequence[NDArray[np.float64]]) -> dict[str, float]:
    """Means over users of `recall_at_k` (hits / targets), `ndcg_at_k` (ideal: all of min(targets, k) on top), `mrr_at_20`."""
    if not ranks:
        return {}
    user = np.repeat(np.arange(len(ranks)), [len(r) for r in ranks])
    rank = np.concatenate(ranks)
    size = np.bincount(user, minlength=len(ranks))
    gain = 1.0 / np.log2(rank + 2.0)
    best = np.cumsum(1.0 / np.log2(np.arange(max(CUTS)) + 2.0))
    found: dict[str, float] = {}
    for k in CUTS:
        hit = rank < k
        found[f"recall_at_{k}"] = float(np.mean(np.bincount(user, weights=hit, minlength=len(ranks)) / size))
        ideal = best[np.minimum(size, k) - 1]
        found[f"ndcg_at_{k}"] = float(np.mean(np.bincount(user, weights=hit * gain, minlength=len(ranks)) / ideal))
    first = np.full(len(ranks), np.inf)
    np.minimum.at(first, user, rank)
    found["mrr_at_20"] = float(np.mean(np.where(first < max(CUTS), 1.0 / (first + 1.0), 0.0)))
    return found


@dataclass
class TopListMetrics:
    """Gathers the top lists of users, for what they are like together.

    popularity   (items,) share of the training interactions
    vectors      (items, D) that say which items are alike
    """

    popularity: NDArray[np.float64]
    vectors: NDArray[np.float32]
    _shown: NDArray[np.bool_] = field(init=False)
    _novelty: list[float] = field(default_factory=list)
    _diversity: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._shown = np.zeros(len(self.popularity), bool)

    def add(self, scores: NDArray[np.float32]) -> None:
        """The lists of the best items by these scores (N, items)."""
        count = min(LIST, scores.shape[1])
        top = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
        top = np.take_along_axis(top, order, axis=1)
        self._shown[top] = True
        self._novelty.extend((-np.log2(self.popularity[top] + 1e-12)).mean(axis=1).tolist())
        few = self.vectors[top[:, :_PAIRS]].astype(np.float64)
        few /= np.maximum(np.linalg.norm(few, axis=2, keepdims=True), 1e-12)
        pairs = few.shape[1] * (few.shape[1] - 1)
        if pairs:
            together = np.square(few.sum(axis=1)).sum(axis=1) - np.square(few).sum(axis=(1, 2))
            self._diversity.extend((1.0 - together / pairs).tolist())

    def metrics(self) -> dict[str, float]:
        """`coverage`: share of all items that are in somebody's first 20; `diversity`: mean 1 − cosine of the vectors of two
        of a user's first ten; `novelty`: mean −log2 of the share of the training interactions."""
        return {
            "coverage": float(self._shown.mean()),
            "diversity": float(np.mean(self._diversity)) if self._diversity else 0.0,
            "novelty": float(np.mean(self._novelty)) if self._novelty else 0.0,
        }
