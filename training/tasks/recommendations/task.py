"""Recommendations as a training task: what to show next, from a log of interactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from personalization.bundles.bundle import Bundle
from personalization.core.schema import INTERACTIONS
from personalization.recommendations.blend import MATRIX_KEYS
from personalization.recommendations.recommender import Recommender
from training.task import BASE_RATE, Evaluation, Explanation, ExportedModel, Refitted, Task
from training.tasks.recommendations.bundle_files import write_files
from training.tasks.recommendations.evaluation import evaluate
from training.tasks.recommendations.model import (
    SequenceModel,
    SequenceOptions,
    learn_blend,
    popularity_recommender,
    train_sequence_model,
    untrained_model,
)
from training.tasks.recommendations.prepare import PreparedRecommendations, RecommendationData, prepare_recommendations
from training.tasks.recommendations.report import recommendations_report
from training.tasks.recommendations.sequence_training import VALIDATION_METRIC
from training.tuning import tune

SEQUENCE_BLEND: Final = "sequence-mix"
_FALLBACK_ITEMS: Final = 200
_PARITY_USERS: Final = 256


@dataclass(frozen=True)
class TrainedRecommender:
    """The model of a recommendations bundle.

    options   with tuned settings
    trials    settings and validation NDCG@10 of the tuning
    """

    prepared: PreparedRecommendations
    model: SequenceModel
    recommender: Recommender
    options: SequenceOptions
    trials: Sequence[dict[str, Any]] = ()


class RecommendationTask(Task[PreparedRecommendations, TrainedRecommender]):
    """A sequence network, blended with item statistics; for the base rate popularity alone."""

    name = "recommendations"
    kind = INTERACTIONS.kind

    def __init__(self, data: RecommendationData, options: SequenceOptions) -> None:
        self.data, self.options = data, options

    def prepare(self) -> PreparedRecommendations:
        return prepare_recommendations(self.data)

    def fit(self, prepared: PreparedRecommendations) -> TrainedRecommender:
        if self.options.model == BASE_RATE:
            model = untrained_model(prepared, self.options)
            return TrainedRecommender(prepared, model, popularity_recommender(prepared, model), self.options)

        def attempt(options: SequenceOptions) -> tuple[float, SequenceModel]:
            model = train_sequence_model(prepared, options)
            return model.validation_ndcg, model

        options, model, trials = tune(attempt, self.options, SequenceSearchSpace())
        return TrainedRecommender(prepared, model, learn_blend(prepared, model), options, trials)

    def export(self, trained: TrainedRecommender, directory: Path) -> ExportedModel:
        prepared = trained.prepared
        sample = prepared.split.validation.sample(_PARITY_USERS, self.data.seed)
        histories = sample.histories(prepared.log, self.data.window)
        files, difference = write_files(directory, trained.recommender, trained.model, prepared.items, histories)
        return ExportedModel(difference, files=files)

    def manifest(self, trained: TrainedRecommender, directory: Path) -> dict[str, Any]:
        prepared, recommender, data = trained.prepared, trained.recommender, trained.prepared.data
        popular = np.argsort(-prepared.statistics.popularity, kind="stable")[:_FALLBACK_ITEMS]
        config, fit = trained.model.network.config, trained.options.fit
        return {
            "timezone": data.timezone,
            "history_window": {"max_events": data.window.max_events, "max_days": data.window.max_days},
            "repeat_buying": recommender.repeat_buying,
            "recommendations": {
                "longest": recommender.longest,
                "size": config.size,
                "items": len(prepared.items),
                "pace": asdict(recommender.pace),
                "matrices": [MATRIX_KEYS[name] for name in recommender.matrices],
                "content": [column.name for column in prepared.items.columns],
            },
            "fallback": {"items": [prepared.items.ids[code] for code in popular]},
            "data_fingerprint": prepared.fingerprint,
            "options": {
                "seed": data.seed,
                "split": data.split,
                "cutoff": data.cutoff.isoformat() if data.cutoff else None,
                "no_test": data.no_test,
                "network": asdict(config),
                "fit": {
                    "seed": fit.seed,
                    "epochs": fit.epochs,
                    "patience": fit.patience,
                    "targets": fit.batch,
                    "learning_rate": fit.learning_rate,
                    "average": fit.average,
                },
                "drop": config.item_dropout,
                "best_epoch": trained.model.report.best_epoch,
            },
        }

    def evaluate(self, trained: TrainedRecommender, draft: Bundle) -> Evaluation:
        prepared = trained.prepared
        served = replace(trained.recommender, encode=lambda inputs: draft.run(inputs)["user_vector"])
        metrics = evaluate(served, prepared.log, prepared.split, prepared.statistics, self.data.seed)
        metrics["data"] = prepared.report
        if trained.trials:
            metrics["tuning"] = trained.trials
        return Evaluation(metrics)

    def report(
        self, trained: TrainedRecommender, evaluation: Evaluation, explanation: Explanation, exported: ExportedModel
    ) -> str:
        return recommendations_report(trained.prepared, trained.recommender, trained.model, evaluation.metrics)

    def refit(self, trained: TrainedRecommender, evaluation: Evaluation) -> Refitted[TrainedRecommender]:
        """One with nothing held out for test: it is trained and evaluated as with `no_test`, by the tuned settings."""
        task = RecommendationTask(replace(self.data, no_test=True), replace(trained.options, tune=0))
        return Refitted(replace(task.fit(task.prepare()), trials=trained.trials))

    def model_name(self, trained: TrainedRecommender) -> str:
        return BASE_RATE if self.options.model == BASE_RATE else SEQUENCE_BLEND


class SequenceSearchSpace:
    """Size, regularisation and learning rate of the sequence network, compared by its NDCG@10 on validation users."""

    metric = VALIDATION_METRIC
    maximize = True

    def parameters(self, options: SequenceOptions) -> dict[str, Any]:
        config = options.config
        return {
            "size": config.size,
            "blocks": config.blocks,
            "dropout": config.dropout,
            "smooth": config.smooth,
            "learning_rate": options.fit.learning_rate,
            "drop": config.item_dropout,
        }

    def suggest(self, trial: Any, options: SequenceOptions) -> SequenceOptions:
        config = replace(
            options.config,
            size=trial.suggest_categorical("size", [32, 64, 96, 128]),
            blocks=trial.suggest_int("blocks", 1, 3),
            dropout=trial.suggest_float("dropout", 0.1, 0.6),
            smooth=trial.suggest_float("smooth", 0.0, 1.0),
            item_dropout=trial.suggest_float("drop", 0.0, 0.5),
        )
        rate = trial.suggest_float("learning_rate", 3e-4, 4e-3, log=True)
        return replace(options, config=config, fit=replace(options.fit, learning_rate=rate))
