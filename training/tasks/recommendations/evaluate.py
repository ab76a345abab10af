"""How good the recommendations are, beside the simple methods: the content of `metrics.json`."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Final

from personalization.features.window import Window
from training.tasks.recommendations import counts
from training.tasks.recommendations.baselines import baselines
from training.tasks.recommendations.evaluator import RankingEvaluator, Scores
from training.tasks.recommendations.model import Trained
from training.tasks.recommendations.prepare import PreparedRecommendations
from training.tasks.recommendations.splits import HeldOutBaskets

_NO_LIMIT: Final = 1_000_000
_log = logging.getLogger(__name__)


def evaluate(prepared: PreparedRecommendations, trained: Trained, window: Window, seed: int) -> dict[str, Any]:
    """`test` (None where nothing is held out), `validation`, `baselines` of whichever is judged, `baselines_validation`,
    `sequence_alone`, and for a cut in time `random_later_basket`."""
    log, split, recommender = prepared.log, prepared.split, trained.recommender
    train = log.take(split.train)
    judge = RankingEvaluator(log, window, counts.popularity(train), recommender.vectors, recommender.repeat_buying)

    def judged(scores: Scores, targets: HeldOutBaskets | None, by: RankingEvaluator = judge) -> dict[str, float] | None:
        return None if targets is None or not len(targets) else by(scores, targets, seed)

    _log.info("judging; baselines: popularity, recent popularity, personal frequency, item-kNN, item-kNN + Markov")
    rankers = baselines(train, counts.cosine_together(train), counts.transitions(train, steps=1), int(train.time.max()))
    # The simple methods see all that was ever bought; the model what a bundle's window holds.
    generous = replace(judge, window=Window(_NO_LIMIT, _NO_LIMIT))

    def of_rankers(targets: HeldOutBaskets | None) -> dict[str, dict[str, float] | None]:
        return {name: judged(scores, targets, generous) for name, scores in rankers.items()}

    on_validation, on_test = of_rankers(split.validation), of_rankers(split.test)
    headline = split.validation if split.test is None else split.test
    metrics: dict[str, Any] = {
        "test": judged(recommender.scores, split.test),
        "validation": judged(recommender.scores, split.validation),
        "baselines": on_validation if split.test is None else on_test,
        "baselines_validation": on_validation,
        "sequence_alone": judged(lambda h: recommender.user_vectors(h) @ recommender.vectors.T, headline),
    }
    if split.later is not None:
        metrics["random_later_basket"] = judged(recommender.scores, split.later)
    notes = []
    for name, targets in (("validation", split.validation), ("test", split.test)):
        if targets is not None and not len(targets):
            notes.append(f"{name}: nobody has something earlier and something held out; nothing is judged")
        elif targets is not None and len(targets) > judge.most:
            notes.append(f"{name}: {judge.most:,} of {len(targets):,} users, drawn at random, are judged")
    metrics["notes"] = notes
    return metrics
