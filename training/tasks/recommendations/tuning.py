"""`--tune N`: N settings of the network, judged by NDCG@10 on validation alone."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from training.tasks.recommendations.model import train_sequence_model
from training.tasks.recommendations.options import RecommendationData, RecommendationTraining
from training.tasks.recommendations.prepare import PreparedRecommendations

_log = logging.getLogger(__name__)


def tune(
    prepared: PreparedRecommendations, data: RecommendationData, training: RecommendationTraining
) -> tuple[RecommendationTraining, list[dict[str, Any]]]:
    """Try `training.tune` settings after the given ones, which are the first; the best settings, and all tries.

    Tree-structured Parzen estimator, seeded (Bergstra et al. 2011; optuna).
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tried: list[dict[str, Any]] = []
    best: tuple[float, RecommendationTraining] = (-1.0, training)

    def objective(trial: Any) -> float:
        nonlocal best
        config = replace(
            training.config,
            size=trial.suggest_categorical("size", [32, 64, 96, 128]),
            blocks=trial.suggest_int("blocks", 1, 3),
            dropout=trial.suggest_float("dropout", 0.1, 0.6),
            smooth=trial.suggest_float("smooth", 0.0, 1.0),
        )
        rate = trial.suggest_float("learning_rate", 3e-4, 4e-3, log=True)
        one = replace(
            training,
            config=config,
            fit=replace(training.fit, learning_rate=rate),
            drop=trial.suggest_float("drop", 0.0, 0.5),
        )
        trained = train_sequence_model(prepared, one)
        value = max((epoch["validation_ndcg_at_10"] for epoch in trained.report.history), default=0.0)
        tried.append({**trial.params, "validation_ndcg_at_10": value})
        _log.info("try %d of %d: validation NDCG@10 %.4f", len(tried), training.tune + 1, value)
        if value > best[0]:
            best = (value, one)
        return value

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=data.seed))
    first = training.config
    study.enqueue_trial(
        {
            "size": first.size,
            "blocks": first.blocks,
            "dropout": first.dropout,
            "smooth": first.smooth,
            "learning_rate": training.fit.learning_rate,
            "drop": training.drop,
        }
    )
    study.optimize(objective, n_trials=training.tune + 1)
    return best[1], tried
