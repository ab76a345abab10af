"""The classifier of a flat table: one network for one binary label, calibrated; feature selection and cross-validation."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from personalization.core.encoder import TableEncoder
from training.baselines import binary_baselines
from training.calibration import platt
from training.evaluation.importance import Importance, permutation_importance
from training.evaluation.metrics import Metrics, best_threshold, binary_metrics, row_log_loss
from training.fitting import Examples, FitOptions, FitReport, fit_tabular
from training.networks.crosses import CrossedBinaryHead
from training.networks.tabular import TabularConfig, TabularNetwork, build_tabular, encoder_statistics
from training.tasks.tabular.prepare import TARGET, PreparedTable
from training.tasks.tabular.splits import split

_FOLD_VALIDATION_SHARE: Final = 0.15
_FOLD_BASELINE_BUDGET: Final = 60.0  # seconds of the dense network

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BinaryClassifier:
    """A trained network of one binary label.

    network            with the calibration set in its serving view
    slope, intercept   of the calibration of its logit
    threshold          of the probability with the best F1 on the validation rows
    """

    network: TabularNetwork
    fit: FitReport
    slope: float
    intercept: float
    threshold: float

    def probability(self, rows: Examples) -> NDArray[np.float64]:
        """(N,) calibrated probability of the positive label."""
        if not len(rows):
            return np.zeros(0)
        logits = self.network.raw(dict(rows.inputs))[TARGET][:, 0].astype(np.float64)
        return np.asarray(expit(self.slope * logits + self.intercept))


def train_classifier(
    encoder: TableEncoder, train: Examples, valid: Examples, config: TabularConfig, options: FitOptions
) -> BinaryClassifier:
    """Train on `train`; early stopping, calibration (Platt 1999) and threshold are fitted on `valid`."""
    head, network = _build(encoder, train, config, options)
    report = fit_tabular(network, train, valid, options)
    logits = network.raw(dict(valid.inputs))[TARGET][:, 0]
    slope, intercept = platt(logits, valid.targets[TARGET], valid.weight)
    head.calibration.assign(slope, intercept)
    model = BinaryClassifier(network, report, slope, intercept, 0.5)
    return replace(model, threshold=best_threshold(valid.targets[TARGET], model.probability(valid)))


def refit_classifier(
    encoder: TableEncoder, rows: Examples, like: BinaryClassifier, config: TabularConfig, options: FitOptions
) -> BinaryClassifier:
    """A classifier trained on all `rows` for the best number of epochs of `like`, with its calibration and threshold."""
    head, network = _build(encoder, rows, config, options)
    report = fit_tabular(network, rows, None, replace(options, epochs=max(1, like.fit.best_epoch)))
    head.calibration.assign(like.slope, like.intercept)
    return replace(like, network=network, fit=report)


def column_importance(model: BinaryClassifier, encoder: TableEncoder, rows: Examples, seed: int) -> list[Importance]:
    """Permutation importance of each column."""

    def predict(inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        return model.probability(Examples(inputs, {}))

    return permutation_importance(encoder, predict, rows.inputs, rows.targets[TARGET], seed=seed)


def drop_harmful_columns(
    prepared: PreparedTable,
    model: BinaryClassifier,
    importance: list[Importance],
    config: TabularConfig,
    options: FitOptions,
) -> tuple[PreparedTable, BinaryClassifier, list[Importance]]:
    """Train again without the columns whose permutation improves the validation loss.

    The smaller model is kept only where its validation loss is lower by more than two standard errors (paired over rows).
    """
    harmful = [entry.column for entry in importance if entry.harmful]
    if not harmful or len(harmful) == len(prepared.encoder.columns):
        return prepared, model, importance
    smaller = prepared.without_columns(harmful, "made predictions on the validation rows worse")
    challenger = train_classifier(smaller.encoder, smaller.train, smaller.valid, config, options)
    labels = prepared.valid.targets[TARGET]
    gain = row_log_loss(labels, model.probability(prepared.valid))
    gain -= row_log_loss(labels, challenger.probability(smaller.valid))
    if len(gain) < 2 or gain.mean() <= 2 * gain.std(ddof=1) / np.sqrt(len(gain)):
        return prepared, model, importance
    return smaller, challenger, column_importance(challenger, smaller.encoder, smaller.valid, options.seed)


def cross_validate(prepared: PreparedTable, folds: int, config: TabularConfig, options: FitOptions) -> dict[str, Any]:
    """Mean over folds of each metric and its standard error, of the network and its baselines.

    Each row of the table is held out once; 15 % of the others are validation rows. The columns' types were decided once,
    without the labels. ``{"count", "mean": {metric}, "standard_error": {metric}, "baselines": {name: {"mean",
    "standard_error"}}}``.
    """
    labels = prepared.table.targets[TARGET]
    results: dict[str, list[Metrics]] = {}
    for fold, test_rows in enumerate(split(labels, prepared.groups, [1.0] * folds, options.seed)):
        rest = np.setdiff1d(np.arange(len(labels)), test_rows)
        groups = np.unique(prepared.groups[rest], return_inverse=True)[1]
        shares = [1 - _FOLD_VALIDATION_SHARE, _FOLD_VALIDATION_SHARE]
        train_rows, valid_rows = split(labels[rest], groups, shares, options.seed + fold)
        train, valid, test = (prepared.table.take(rows) for rows in (rest[train_rows], rest[valid_rows], test_rows))
        if not len(valid) or not len(test) or not 0 < train.targets[TARGET].mean() < 1:
            continue  # too few rows of a class for so many folds
        model = train_classifier(prepared.encoder, train, valid, config, options)
        probabilities = {"": [model.probability(valid), model.probability(test)]}
        probabilities |= binary_baselines(
            prepared.encoder, train, valid, [valid, test], seed=options.seed, budget=_FOLD_BASELINE_BUDGET
        )
        for name, (on_valid, on_test) in probabilities.items():
            threshold = best_threshold(valid.targets[TARGET], on_valid)
            results.setdefault(name, []).append(binary_metrics(test.targets[TARGET], on_test, threshold))
        _log.info("fold %d of %d: AUC %s", fold + 1, folds, results[""][-1]["auc"])
    own = _summary(results.pop("", []))
    return {"count": folds, **own, "baselines": {name: _summary(metrics) for name, metrics in results.items()}}


def _build(
    encoder: TableEncoder, rows: Examples, config: TabularConfig, options: FitOptions
) -> tuple[CrossedBinaryHead, TabularNetwork]:
    statistics = encoder_statistics(encoder, dict(rows.inputs), config, options.seed)
    head = CrossedBinaryHead(TARGET, statistics, len(rows))
    return head, build_tabular(encoder, statistics, (head,), config)


def _summary(metrics: Sequence[Metrics]) -> dict[str, Mapping[str, float | None]]:
    mean: dict[str, float | None] = {}
    error: dict[str, float | None] = {}
    for name in metrics[0] if metrics else ():
        values = [value for one in metrics if (value := one[name]) is not None]
        mean[name] = float(np.mean(values)) if values else None
        error[name] = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return {"mean": mean, "standard_error": error}
