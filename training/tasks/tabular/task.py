"""`train JOB --table F --label COL`: from a flat table to a bundle."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.bundles.bundle import Bundle
from personalization.core.encoder import TableEncoder
from personalization.core.schema import FLAT, TABLE_SUFFIX
from training.baselines import binary_baselines
from training.evaluation.bootstrap import ClusterBootstrap, bootstrap_binary_metrics
from training.evaluation.group_metrics import Grouping, groupings, metrics_by_group
from training.evaluation.importance import Importance
from training.evaluation.metrics import best_threshold, binary_metrics, log_loss
from training.fitting import Examples
from training.task import (
    BASE_RATE,
    TABULAR,
    Evaluation,
    Explanation,
    ExportedModel,
    Refitted,
    TabularOptions,
    Task,
    explain_tabular,
    export_tabular,
)
from training.tasks.tabular.classifier import (
    BinaryClassifier,
    column_importance,
    cross_validate,
    drop_harmful_columns,
    refit_classifier,
    train_classifier,
)
from training.tasks.tabular.prepare import TARGET, FlatTableData, PreparedTable, prepare_table
from training.tasks.tabular.report import table_report
from training.tuning import TabularSearchSpace, tune

_BASELINE_BUDGET: Final = 120.0  # seconds of the dense network

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FlatTableModel:
    """The model of a flat table.

    prepared     with the columns that are used in the end
    classifier   None for the constant `rate`, the share of positives among the training rows
    options      with tuned settings
    importance   of each column, on validation rows
    groups       whose metrics are reported one by one
    trials       settings and validation losses of the tuning
    """

    prepared: PreparedTable
    rate: float
    options: TabularOptions
    classifier: BinaryClassifier | None = None
    importance: Sequence[Importance] = ()
    groups: Sequence[Grouping] = ()
    trials: Sequence[dict[str, Any]] = ()

    @property
    def threshold(self) -> float:
        return self.rate if self.classifier is None else self.classifier.threshold

    def probability(self, rows: Examples) -> NDArray[np.float64]:
        """(N,) probability of the positive label."""
        return np.full(len(rows), self.rate) if self.classifier is None else self.classifier.probability(rows)


class FlatTableTask(Task[PreparedTable, FlatTableModel]):
    """Any numeric, categorical and date columns with a binary label. A table without a usable column, or with one class
    among its training rows, gets its base rate."""

    kind = FLAT

    def __init__(self, data: FlatTableData, options: TabularOptions) -> None:
        self.name = data.job + TABLE_SUFFIX
        self.data, self.options = data, options

    def prepare(self) -> PreparedTable:
        return prepare_table(self.data)

    def fit(self, prepared: PreparedTable) -> FlatTableModel:
        rate = float(prepared.train.targets[TARGET].mean())
        if self.options.model == BASE_RATE or not prepared.encoder.columns or not 0 < rate < 1:
            return FlatTableModel(prepared, rate, self.options)
        groups = groupings(prepared.encoder, prepared.evaluation_rows.inputs, self.options.groups)

        def attempt(options: TabularOptions) -> tuple[float, BinaryClassifier]:
            model = train_classifier(prepared.encoder, prepared.train, prepared.valid, options.config, options.fit)
            return log_loss(prepared.valid.targets[TARGET], model.probability(prepared.valid)), model

        options, model, trials = tune(attempt, self.options, TabularSearchSpace())
        _log.info("trained: the best of %d epochs was %d", len(model.fit.history), model.fit.best_epoch)
        importance = column_importance(model, prepared.encoder, prepared.valid, options.fit.seed)
        prepared, model, importance = drop_harmful_columns(prepared, model, importance, options.config, options.fit)
        return FlatTableModel(prepared, rate, options, model, importance, groups, trials)

    def export(self, trained: FlatTableModel, directory: Path) -> ExportedModel:
        network = None if trained.classifier is None else trained.classifier.network
        return export_tabular(network, {"probability": trained.rate}, trained.prepared.train.inputs, directory)

    def manifest(self, trained: FlatTableModel, directory: Path) -> dict[str, Any]:
        prepared, classifier, data = trained.prepared, trained.classifier, self.data
        content: dict[str, Any] = {
            "label": {"column": data.label, "positive": prepared.label.positive, "negative": prepared.label.negative},
            "threshold": trained.threshold,
            "fallback": {"probability": trained.rate},
            "data_fingerprint": prepared.fingerprint,
            "rows": prepared.counts,
            "decisions": [decision.to_json() for decision in prepared.decisions],
            "warnings": prepared.warnings,
            "options": {"seed": data.seed, "folds": data.folds, "tune": self.options.tune, "no_test": data.no_test},
        }
        if classifier is not None:
            config, fit = trained.options.config, trained.options.fit
            content["calibration"] = {
                "method": "platt",
                "slope": classifier.slope,
                "intercept": classifier.intercept,
                "rows": len(prepared.valid),
            }
            content["network"] = {"members": config.members, "widths": list(config.widths), "bins": config.bins}
            content["options"] |= {
                "learning_rate": fit.learning_rate,
                "weight_decay": fit.weight_decay,
                "dropout": config.dropout,
                "epochs": classifier.fit.best_epoch,
            }
        return content

    def evaluate(self, trained: FlatTableModel, draft: Bundle) -> Evaluation:
        prepared, threshold = trained.prepared, trained.threshold
        rows = prepared.evaluation_rows
        labels, valid_labels = rows.targets[TARGET], prepared.valid.targets[TARGET]
        probabilities = {"model": trained.probability(rows)}
        metrics: dict[str, Any] = {
            name: binary_metrics(part.targets[TARGET], trained.probability(part), threshold)
            for name, part in (("test", prepared.test), ("validation", prepared.valid))
        }
        metrics |= {"baselines": {}, "threshold": threshold, "rows": prepared.counts}
        if trained.classifier is None:
            metrics["baselines"]["base_rate"] = binary_metrics(labels, probabilities["model"], threshold)
            return Evaluation(metrics, labels, probabilities)
        options = trained.options
        _log.info("baselines: base rate, logistic regression, dense 64-32-1, LightGBM")
        baselines = binary_baselines(
            prepared.encoder, prepared.train, prepared.valid, [prepared.valid, rows],
            seed=options.fit.seed, budget=_BASELINE_BUDGET,
        )  # fmt: skip
        for name, (on_valid, on_rows) in baselines.items():
            probabilities[name] = on_rows
            metrics["baselines"][name] = binary_metrics(labels, on_rows, best_threshold(valid_labels, on_valid))
        bootstrap = ClusterBootstrap.from_groups(len(rows), prepared.evaluation_groups, seed=options.fit.seed)
        metrics["uncertainty"] = bootstrap_binary_metrics(labels, probabilities, threshold, bootstrap)
        metrics["groups"] = metrics_by_group(labels, probabilities["model"], threshold, trained.groups)
        if self.data.folds:
            metrics["folds"] = cross_validate(prepared, self.data.folds, options.config, options.fit)
        if trained.trials:
            metrics["tuning"] = trained.trials
        return Evaluation(metrics, labels, probabilities)

    def explain(self, trained: FlatTableModel, draft: Bundle) -> Explanation:
        rows = None if trained.classifier is None else trained.prepared.evaluation_rows.inputs
        return explain_tabular(draft, trained.prepared.train.inputs, rows, trained.importance)

    def report(self, trained: FlatTableModel, evaluation: Evaluation, explanation: Explanation, exported: ExportedModel) -> str:
        return table_report(self.data, trained, evaluation, explanation, exported)

    def refit(self, trained: FlatTableModel, evaluation: Evaluation) -> Refitted[FlatTableModel] | None:
        """One trained on every row for as many epochs; no rows are left to evaluate it, so the metrics are the first's."""
        prepared, options = trained.prepared, trained.options
        if trained.classifier is None:
            return None
        parts = [prepared.train, prepared.test] + ([] if prepared.valid is prepared.train else [prepared.valid])
        rows = Examples.concatenate([part for part in parts if len(part)])
        _log.info("training once more, on all %d rows", len(rows))
        model = refit_classifier(prepared.encoder, rows, trained.classifier, options.config, options.fit)
        note = "this model was trained on all of them: the metrics are those of the model without the test rows"
        prepared = replace(prepared, notes=[*prepared.notes, note])
        return Refitted(replace(trained, prepared=prepared, classifier=model), evaluation)

    def encoder(self, trained: FlatTableModel) -> TableEncoder:
        return trained.prepared.encoder

    def model_name(self, trained: FlatTableModel) -> str:
        return BASE_RATE if trained.classifier is None else TABULAR
