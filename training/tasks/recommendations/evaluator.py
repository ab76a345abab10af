"""Scores of any ranker against held-out baskets: the recommender and the simple methods are judged by the same code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from personalization.features.window import Window
from personalization.recommendations.history import InteractionHistory
from personalization.recommendations.recommender import demote_seen
from training.evaluation.ranking import Lists, ranking_metrics, target_ranks
from training.tasks.recommendations.interaction_log import InteractionLog
from training.tasks.recommendations.splits import HeldOutBaskets

Scores = Callable[[InteractionHistory], NDArray[np.float32]]  # histories of N users → (N, items)
_CELLS: Final = 8_000_000  # of a block of scores
_MOST_CELLS: Final = 3_000_000_000  # of all scores of one ranker: with more users than fit some are drawn, and it is said


@dataclass(frozen=True)
class RankingEvaluator:
    """Asks rankers the questions of held-out baskets.

    repeat_buying  False: items of the history come after everything else, whoever ranks
    """

    log: InteractionLog
    window: Window
    popularity: NDArray[np.float64]
    vectors: NDArray[np.float32]
    repeat_buying: bool

    @property
    def most(self) -> int:
        """Users that are judged: all of a small shop's."""
        return int(np.clip(_MOST_CELLS // self.log.items, 2_000, 50_000))

    def ranks(self, scores: Scores, targets: HeldOutBaskets, lists: Lists | None = None) -> list[NDArray[np.float64]]:
        """Rank of each target item, a row for each question."""
        block = max(1, _CELLS // self.log.items)
        ranks: list[NDArray[np.float64]] = []
        for start in range(0, len(targets), block):
            some = targets.take(np.arange(start, min(start + block, len(targets))))
            histories = some.histories(self.log, self.window)
            found = scores(histories)
            if not self.repeat_buying:
                found = demote_seen(found, histories)
            ranks.extend(target_ranks(found, some.items(self.log)))
            if lists is not None:
                lists.add(found)
        return ranks

    def __call__(self, scores: Scores, targets: HeldOutBaskets, seed: int = 0) -> dict[str, float]:
        """All metrics; of at most `most` users, drawn at random."""
        judged = targets.sample(self.most, seed)
        total = max(self.popularity.sum(), 1.0)
        lists = Lists(self.popularity / total, self.vectors)
        found = ranking_metrics(self.ranks(scores, judged, lists))
        return {**found, **lists.metrics(), "users": len(judged)} if len(judged) else {}
