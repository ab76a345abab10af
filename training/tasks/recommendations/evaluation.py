"""Evaluation of rankers on held-out baskets: the content of `metrics.json`. One code ranks the model and the baselines."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from personalization.features.history_window import HistoryWindow
from personalization.recommendations.history import InteractionHistory
from personalization.recommendations.recommender import Recommender
from personalization.recommendations.scoring import demote_seen, evaluation_scores
from training.evaluation.ranking import TopListMetrics, ranking_metrics, target_ranks
from training.tasks.recommendations.interaction_log import InteractionLog
from training.tasks.recommendations.item_statistics import ItemStatistics, transitions
from training.tasks.recommendations.splits import HeldOutBaskets, RankingSplit

Scorer = Callable[[InteractionHistory], NDArray[np.float32]]  # histories of N users → scores (N, items)
_BLOCK_CELLS: Final = 8_000_000  # of a block of scores
_MAX_CELLS: Final = 3_000_000_000  # of all scores of one ranker
_UNLIMITED: Final = HistoryWindow(max_events=1_000_000, max_days=1_000_000)
_BASKET_DECAY: Final = 0.8
_MARKOV_WEIGHT: Final = 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RankingEvaluator:
    """Ranks all items for held-out baskets by the scores of any scorer.

    popularity      (items,) training interactions, for novelty
    embeddings      (items, D), for diversity
    repeat_buying   False: items of the history are ranked after all others, whichever scorer it is
    """

    log: InteractionLog
    window: HistoryWindow
    popularity: NDArray[np.float64]
    embeddings: NDArray[np.float32]
    repeat_buying: bool

    @property
    def max_users(self) -> int:
        """Users that `metrics` looks at; more are sampled."""
        return int(np.clip(_MAX_CELLS // self.log.num_items, 2_000, 50_000))

    def metrics(self, scorer: Scorer, targets: HeldOutBaskets, seed: int = 0) -> dict[str, float] | None:
        """All metrics, and the number of users they are means over; None without targets."""
        if not len(targets):
            return None
        sample = targets.sample(self.max_users, seed)
        lists = TopListMetrics(self.popularity / max(self.popularity.sum(), 1.0), self.embeddings)
        return {**ranking_metrics(self._ranks(scorer, sample, lists)), **lists.metrics(), "users": len(sample)}

    def ndcg_at_10(self, scorer: Scorer, targets: HeldOutBaskets) -> float:
        """Mean over all targets; 0 without targets."""
        return ranking_metrics(self._ranks(scorer, targets)).get("ndcg_at_10", 0.0)

    def _ranks(self, scorer: Scorer, targets: HeldOutBaskets, lists: TopListMetrics | None = None) -> list[NDArray[np.float64]]:
        """Rank of each target item, an array for each basket; the scores are added to `lists`."""
        block = max(1, _BLOCK_CELLS // self.log.num_items)
        ranks: list[NDArray[np.float64]] = []
        for start in range(0, len(targets), block):
            some = targets.take(np.arange(start, min(start + block, len(targets))))
            histories = some.histories(self.log, self.window)
            scores = scorer(histories)
            if not self.repeat_buying:
                scores = demote_seen(scores, histories)
            ranks += target_ranks(scores, some.items(self.log))
            if lists is not None:
                lists.add(scores)
        return ranks


def sequence_scorer(recommender: Recommender) -> Scorer:
    """The sequence network alone: user embedding · item embedding."""
    return lambda histories: recommender.user_embeddings(histories) @ recommender.vectors.T


def evaluate(
    recommender: Recommender, log: InteractionLog, split: RankingSplit, statistics: ItemStatistics, seed: int
) -> dict[str, Any]:
    """Metrics of the recommender and the baselines.

    Returns `test` (None where nothing is held out for test), `validation`, `baselines` (on test, or else on validation),
    `baselines_validation`, `sequence_alone`, `notes`, and for a temporal split `random_later_basket`.
    """
    evaluator = RankingEvaluator(log, recommender.window, statistics.popularity, recommender.vectors, recommender.repeat_buying)
    baseline_evaluator = replace(evaluator, window=_UNLIMITED)  # baselines need no bundle and see the whole history
    baselines = baseline_scorers(log.take(split.train), statistics)
    _log.info("evaluation; baselines: %s", ", ".join(baselines))

    def metrics(scorer: Scorer, targets: HeldOutBaskets | None) -> dict[str, float] | None:
        return None if targets is None else evaluator.metrics(scorer, targets, seed)

    def baseline_metrics(targets: HeldOutBaskets) -> dict[str, dict[str, float] | None]:
        return {name: baseline_evaluator.metrics(scorer, targets, seed) for name, scorer in baselines.items()}

    scorer = partial(evaluation_scores, recommender)
    headline = split.validation if split.test is None else split.test
    on_validation = baseline_metrics(split.validation)
    content: dict[str, Any] = {
        "test": metrics(scorer, split.test),
        "validation": metrics(scorer, split.validation),
        "baselines": on_validation if split.test is None else baseline_metrics(split.test),
        "baselines_validation": on_validation,
        "sequence_alone": metrics(sequence_scorer(recommender), headline),
    }
    if split.later is not None:
        content["random_later_basket"] = metrics(scorer, split.later)
    notes = []
    for name, targets in (("validation", split.validation), ("test", split.test)):
        if targets is not None and not len(targets):
            notes.append(f"{name}: no user has both a history and a held-out basket, so there are no metrics")
        elif targets is not None and len(targets) > evaluator.max_users:
            notes.append(f"{name}: metrics are of {evaluator.max_users:,} of {len(targets):,} users, drawn at random")
    return {**content, "notes": notes}


def baseline_scorers(train: InteractionLog, statistics: ItemStatistics) -> dict[str, Scorer]:
    """The baselines by name: popularity, personal frequency, item-kNN, item-kNN with a Markov chain.

    train   the training interactions, which `statistics` were counted in
    """
    popularity = statistics.popularity.astype(np.float32)
    recent_popularity = statistics.recent_popularity.astype(np.float32)
    share = popularity / max(float(popularity.max()), 1.0)
    cooccurrence, next_basket = statistics.cooccurrence, transitions(train, steps=1)

    def same_for_all(scores: NDArray[np.float32]) -> Scorer:
        return lambda histories: np.repeat(scores[None], len(histories), axis=0)

    def frequency(histories: InteractionHistory) -> NDArray[np.float32]:
        return _dense(_basket_counts(histories, train.num_items))

    def frequency_then_popular(histories: InteractionHistory) -> NDArray[np.float32]:
        return frequency(histories) + 0.5 * share

    def item_knn(histories: InteractionHistory) -> NDArray[np.float32]:
        return _dense(_decayed(histories, train.num_items, _BASKET_DECAY) @ cooccurrence) + 1e-6 * share

    def item_knn_markov(histories: InteractionHistory) -> NDArray[np.float32]:
        return item_knn(histories) + _MARKOV_WEIGHT * _dense(_decayed(histories, train.num_items, 0.0) @ next_basket)

    return {
        "popularity": same_for_all(popularity),
        "recent_popularity": same_for_all(recent_popularity),
        "personal_frequency": frequency,
        "global_personal_frequency": frequency_then_popular,
        "item_knn": item_knn,
        "item_knn_markov": item_knn_markov,
    }


def _decayed(histories: InteractionHistory, items: int, decay: float) -> sp.csr_matrix:
    """(N, items): Σ decay^(rank of the basket) over the history; decay 0 is the newest basket alone."""
    rank = histories.basket.astype(np.float64)
    weight = np.where(rank == 0, 1.0, decay**rank).astype(np.float32)
    return sp.csr_matrix((weight, (histories.user, histories.item)), (len(histories), items))


def _basket_counts(histories: InteractionHistory, items: int) -> sp.csr_matrix:
    """(N, items): number of baskets with each item."""
    width = int(histories.basket.max(initial=0)) + 1
    pair = np.unique((histories.user * items + histories.item) * width + histories.basket) // width
    return sp.csr_matrix((np.ones(len(pair), np.float32), (pair // items, pair % items)), (len(histories), items))


def _dense(matrix: Any) -> NDArray[np.float32]:
    dense: NDArray[np.float32] = matrix.toarray().astype(np.float32)
    return dense
