"""From examples to a judged model: tuned where asked, beside its baselines."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.baselines.binary import binary_baselines
from training.evaluation.by_group import Grouping, by_group, groupings
from training.evaluation.importance import Importance
from training.evaluation.intervals import Resampler, binary_uncertainty
from training.evaluation.metrics import Metrics, best_threshold, binary_metrics, log_loss
from training.fitting import Examples, FitOptions
from training.networks.tabular import TabularConfig
from training.tasks.tabular.folds import cross_validate
from training.tasks.tabular.model import TARGET, BinaryModel, train_binary
from training.tasks.tabular.options import BASE_RATE, TrainOptions
from training.tasks.tabular.prepare import PreparedTable
from training.tasks.tabular.selection import importances, without_harmful
from training.tuning import tune

_BASELINE_BUDGET = 120.0  # seconds of the dense network

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedTable:
    """What training found, before it is written down.

    prepared        with the columns that are used in the end
    model           None for a constant, which is `rate`, the share of positives among the training rows
    metrics         content of metrics.json
    probabilities   of `judged`, the test rows (validation where there are none): ``model`` and each baseline
    """

    prepared: PreparedTable
    model: BinaryModel | None
    rate: float
    metrics: dict[str, Any]
    probabilities: dict[str, NDArray[np.float64]]
    importance: list[Importance]
    config: TabularConfig
    fit: FitOptions

    @property
    def judged(self) -> Examples:
        """The rows that `probabilities` are of."""
        return self.prepared.judged


def learn(prepared: PreparedTable, options: TrainOptions) -> TrainedTable:
    """Train as asked. A table without a usable column, or with one class among its training rows, gets the base rate."""
    rate = float(prepared.train.targets[TARGET].mean())
    if options.model == BASE_RATE or not prepared.encoder.columns or not 0 < rate < 1:
        return _constant(prepared, rate, options)
    groups = groupings(prepared.encoder, prepared.judged.inputs, options.groups)  # of columns that may yet be left out
    model, config, fit_options, tried = _model(prepared, options)
    _log.info("trained: the best of %d epochs was %d", len(model.fitted.history), model.fitted.best_epoch)
    importance = importances(model, prepared.encoder, prepared.valid, fit_options.seed)
    prepared, model, importance = without_harmful(prepared, model, importance, config, fit_options)
    _log.info("baselines: base rate, logistic regression, dense 64-32-1, LightGBM")
    answers = binary_baselines(
        prepared.encoder,
        prepared.train,
        prepared.valid,
        [prepared.valid, prepared.judged],
        seed=fit_options.seed,
        budget=_BASELINE_BUDGET,
    )
    metrics: dict[str, Any] = {
        "test": _metrics(prepared.test, model.probability(prepared.test), model.threshold),
        "validation": _metrics(prepared.valid, model.probability(prepared.valid), model.threshold),
        "baselines": {name: _baseline(prepared, *both) for name, both in answers.items()},
        "threshold": model.threshold,
        "rows": prepared.counts,
    }
    probabilities = {"model": model.probability(prepared.judged)} | {name: both[1] for name, both in answers.items()}
    metrics |= _how_sure(prepared, probabilities, model.threshold, groups, options.fit.seed)
    if options.folds:
        metrics["folds"] = cross_validate(prepared, options.folds, config, fit_options)
    if tried:
        metrics["tuning"] = tried
    return TrainedTable(prepared, model, rate, metrics, probabilities, importance, config, fit_options)


def _model(
    prepared: PreparedTable, options: TrainOptions
) -> tuple[BinaryModel, TabularConfig, FitOptions, list[dict[str, Any]]]:
    def attempt(config: TabularConfig, fit: FitOptions) -> tuple[float, BinaryModel]:
        model = train_binary(prepared.encoder, prepared.train, prepared.valid, config, fit)
        return log_loss(prepared.valid.targets[TARGET], model.probability(prepared.valid)), model

    if options.tune:
        return tune(attempt, options.tune, options.config, options.fit)
    return attempt(options.config, options.fit)[1], options.config, options.fit, []


def _constant(prepared: PreparedTable, rate: float, options: TrainOptions) -> TrainedTable:
    def metrics(rows: Examples) -> Metrics:
        return _metrics(rows, np.full(len(rows), rate), rate)

    found = {
        "test": metrics(prepared.test),
        "validation": metrics(prepared.valid),
        "baselines": {"base_rate": metrics(prepared.judged)},
        "threshold": rate,
        "rows": prepared.counts,
    }
    answers = {"model": np.full(len(prepared.judged), rate)}
    return TrainedTable(prepared, None, rate, found, answers, [], options.config, options.fit)


def _how_sure(
    prepared: PreparedTable,
    probabilities: dict[str, NDArray[np.float64]],
    threshold: float,
    groups: Sequence[Grouping],
    seed: int,
) -> dict[str, Any]:
    """Intervals and errors by group, on the judged rows."""
    rows = prepared.judged
    labels, resampler = rows.targets[TARGET], Resampler.of(len(rows), prepared.held_groups, seed=seed)
    return {
        "uncertainty": binary_uncertainty(labels, probabilities, threshold, resampler),
        "groups": by_group(labels, probabilities["model"], threshold, groups),
    }


def _baseline(prepared: PreparedTable, on_valid: NDArray[np.float64], on_judged: NDArray[np.float64]) -> Metrics:
    """At the threshold that is best for this baseline on the validation rows."""
    return _metrics(prepared.judged, on_judged, best_threshold(prepared.valid.targets[TARGET], on_valid))


def _metrics(rows: Examples, probability: NDArray[np.float64], threshold: float) -> Metrics:
    return binary_metrics(rows.targets[TARGET], probability, threshold)
