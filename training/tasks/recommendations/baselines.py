"""The simple methods that a recommender has to beat, as a shop would write them on one evening."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from personalization.recommendations.history import InteractionHistory
from training.tasks.recommendations.counts import popularity, recent_popularity
from training.tasks.recommendations.evaluator import Scores
from training.tasks.recommendations.interaction_log import InteractionLog

_DECAY: Final = 0.8
_MARKOV: Final = 5.0


def baselines(
    log: InteractionLog, together: sp.csr_matrix, following: sp.csr_matrix, as_of: int | None = None
) -> dict[str, Scores]:
    """Rankers by name, from training interactions alone.

    together    item-to-item cosine; following  transitions one basket ahead, by row sums
    """
    counts = popularity(log).astype(np.float32)
    recent = recent_popularity(log, as_of).astype(np.float32)
    share = counts / max(float(counts.max()), 1.0)

    def same_for_all(values: NDArray[np.float32]) -> Scores:
        return lambda histories: np.repeat(values[None], len(histories), axis=0)

    def frequency(histories: InteractionHistory) -> NDArray[np.float32]:
        return _dense(_one_a_basket(histories, log.items))

    def frequency_then_popular(histories: InteractionHistory) -> NDArray[np.float32]:
        return frequency(histories) + 0.5 * share

    def knn(histories: InteractionHistory) -> NDArray[np.float32]:
        return _dense(_weighted(histories, log.items, _DECAY) @ together) + 1e-6 * share

    def knn_markov(histories: InteractionHistory) -> NDArray[np.float32]:
        return knn(histories) + _MARKOV * _dense(_weighted(histories, log.items, 0.0) @ following)

    return {
        "popularity": same_for_all(counts),
        "recent_popularity": same_for_all(recent),
        "personal_frequency": frequency,
        "global_personal_frequency": frequency_then_popular,
        "item_knn": knn,
        "item_knn_markov": knn_markov,
    }


def _weighted(histories: InteractionHistory, items: int, decay: float) -> sp.csr_matrix:
    """(N, items): decay^rank of the basket of each item of a history; 0 is the newest basket alone."""
    ranks = histories.basket.astype(np.float64)
    weight = np.where(ranks == 0, 1.0, decay**ranks).astype(np.float32)
    return sp.csr_matrix((weight, (histories.user, histories.item)), (len(histories), items))


def _one_a_basket(histories: InteractionHistory, items: int) -> sp.csr_matrix:
    """(N, items): number of baskets with each item."""
    width = int(histories.basket.max(initial=0)) + 1
    key = np.unique((histories.user * items + histories.item) * width + histories.basket) // width
    return sp.csr_matrix((np.ones(len(key), np.float32), (key // items, key % items)), (len(histories), items))


def _dense(matrix: Any) -> NDArray[np.float32]:
    dense: NDArray[np.float32] = matrix.toarray().astype(np.float32)
    return dense
