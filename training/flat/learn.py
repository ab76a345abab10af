"""From examples to a judged model: tuned where asked, beside its baselines."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.baselines.binary import binary_baselines
from training.evaluation.importance import Importance
from training.evaluation.metrics import Metrics, best_threshold, binary_metrics, log_loss
from training.fitting import Examples, FitOptions
from training.flat.folds import cross_validate
from training.flat.model import TARGET, BinaryModel, train_binary
from training.flat.options import BASE_RATE, TrainOptions
from training.flat.prepare import Prepared
from training.flat.selection import importances, without_harmful
from training.networks.tabular import TabularConfig
from training.tuning import tune

_BASELINE_BUDGET = 120.0  # seconds of the dense network

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What training found, before it is written down.

    prepared        with the columns that are used in the end
    model           None for a constant, which is `rate`, the share of positives among the training rows
    metrics         content of metrics.json
    probabilities   of `judged`, the test rows (validation where there are none): ``model`` and each baseline
    """

    prepared: Prepared
    model: BinaryModel | None
    rate: float
    metrics: dict[str, Any]
    probabilities: dict[str, NDArray[np.float64]]
    importance: list[Importance]
    config: TabularConfig
    fit: FitOptions

    @property
    def judged(self) -> Examples:
        return judged(self.prepared)


def judged(prepared: Prepared) -> Examples:
    """The rows that headline numbers are about: test, or validation where nothing was held out."""
    return prepared.test if len(prepared.test) else prepared.valid


def learn(prepared: Prepared, options: TrainOptions) -> Outcome:
    """Train as asked. A table without a usable column, or with one class among its training rows, gets the base rate."""
    rate = float(prepared.train.targets[TARGET].mean())
    if options.model == BASE_RATE or not prepared.encoder.columns or not 0 < rate < 1:
        return _constant(prepared, rate, options)
    model, config, fit_options, tried = _model(prepared, options)
    _log.info("trained: the best of %d epochs was %d", len(model.fitted.history), model.fitted.best_epoch)
    importance = importances(model, prepared.encoder, prepared.valid, fit_options.seed)
    prepared, model, importance = without_harmful(prepared, model, importance, config, fit_options)
    _log.info("baselines: base rate, logistic regression, dense 64-32-1, LightGBM")
    answers = binary_baselines(
        prepared.encoder,
        prepared.train,
        prepared.valid,
        [prepared.valid, judged(prepared)],
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
    if options.folds:
        metrics["folds"] = cross_validate(prepared, options.folds, config, fit_options)
    if tried:
        metrics["tuning"] = tried
    probabilities = {"model": model.probability(judged(prepared))} | {name: both[1] for name, both in answers.items()}
    return Outcome(prepared, model, rate, metrics, probabilities, importance, config, fit_options)


def _model(prepared: Prepared, options: TrainOptions) -> tuple[BinaryModel, TabularConfig, FitOptions, list[dict[str, Any]]]:
    def attempt(config: TabularConfig, fit: FitOptions) -> tuple[float, BinaryModel]:
        model = train_binary(prepared.encoder, prepared.train, prepared.valid, config, fit)
        return log_loss(prepared.valid.targets[TARGET], model.probability(prepared.valid)), model

    if options.tune:
        return tune(attempt, options.tune, options.config, options.fit)
    return attempt(options.config, options.fit)[1], options.config, options.fit, []


def _constant(prepared: Prepared, rate: float, options: TrainOptions) -> Outcome:
    def metrics(rows: Examples) -> Metrics:
        return _metrics(rows, np.full(len(rows), rate), rate)

    found = {
        "test": metrics(prepared.test),
        "validation": metrics(prepared.valid),
        "baselines": {"base_rate": metrics(judged(prepared))},
        "threshold": rate,
        "rows": prepared.counts,
    }
    answers = {"model": np.full(len(judged(prepared)), rate)}
    return Outcome(prepared, None, rate, found, answers, [], options.config, options.fit)


def _baseline(prepared: Prepared, on_valid: NDArray[np.float64], on_judged: NDArray[np.float64]) -> Metrics:
    """At the threshold that is best for this baseline on the validation rows."""
    return _metrics(judged(prepared), on_judged, best_threshold(prepared.valid.targets[TARGET], on_valid))


def _metrics(rows: Examples, probability: NDArray[np.float64], threshold: float) -> Metrics:
    return binary_metrics(rows.targets[TARGET], probability, threshold)
