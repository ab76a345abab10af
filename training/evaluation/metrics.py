"""The metrics of `metrics.json`. A metric that cannot be computed (AUC of one class) is None, never NaN."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from training.calibration import platt
from training.evaluation.smooth_ece import smooth_ece

EPSILON: Final = 1e-7  # probabilities are clipped to [EPSILON, 1 − EPSILON] before logarithms

Floats = NDArray[np.float64]
Metrics = dict[str, float | None]


@dataclass(frozen=True)
class SortedLabels:
    """Labels in the order of their probabilities: sorted once, AUC and average precision of any weights cost a few sums.

    labels   (N,) by ascending probability
    order    (N,) rows in this order
    ends     (T,) last index of each run of equal probabilities
    """

    labels: Floats
    order: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def by_probability(cls, labels: NDArray[Any], probability: NDArray[Any]) -> SortedLabels:
        """labels (N,) of 0 and 1, probability (N,)."""
        order = np.argsort(probability, kind="stable")
        ends = np.flatnonzero(np.append(np.diff(np.asarray(probability)[order]) != 0, True))
        return cls(np.asarray(labels, np.float64)[order], order, ends)

    def auc(self, weight: Floats) -> float:
        """Area under the ROC curve, rows counted by weight (N,); NaN where one class has none."""
        positive, negative = self._runs(weight)
        below = np.cumsum(negative) - negative
        pairs = positive.sum() * negative.sum()
        return float((positive * (below + negative / 2)).sum() / pairs) if pairs > 0 else math.nan

    def average_precision(self, weight: Floats) -> float:
        """Precision at each step of recall, rows counted by weight (N,); NaN without a positive."""
        positive, negative = (values[::-1] for values in self._runs(weight))
        predicted = np.cumsum(positive + negative)
        precision = np.divide(np.cumsum(positive), predicted, out=np.zeros_like(predicted), where=predicted > 0)
        return float((precision * positive).sum() / positive.sum()) if positive.sum() > 0 else math.nan

    def _runs(self, weight: Floats) -> tuple[Floats, Floats]:
        """Weight of the positives and of the negatives in each run of equal probabilities."""
        weight = weight[self.order]
        sums = (np.cumsum(weight * labels)[self.ends] for labels in (self.labels, 1 - self.labels))
        positive, negative = (np.diff(values, prepend=0.0) for values in sums)
        return positive, negative


def binary_metrics(
    labels: NDArray[Any],
    probability: NDArray[Any],
    threshold: float = 0.5,
    weight: NDArray[Any] | None = None,
    sorted_labels: SortedLabels | None = None,
) -> Metrics:
    """auc, log_loss, average_precision, smooth_ece, calibration_slope, predicted_to_observed; accuracy, precision, recall, f1
    at `threshold`.

    labels, probability   (N,); a row is predicted positive where its probability reaches the threshold
    weight                (N,) how often a row counts
    sorted_labels         of the same rows, for callers that vary the weights
    """
    y, p = np.asarray(labels).reshape(-1).astype(np.float64), np.asarray(probability, np.float64).reshape(-1)
    if not len(y):
        return {}
    w = np.ones(len(y)) if weight is None else np.asarray(weight, np.float64).reshape(-1)
    ranked = sorted_labels or SortedLabels.by_probability(y, p)
    positives = float(w @ y)
    counted = w > 0
    values = {
        "auc": ranked.auc(w),
        "log_loss": log_loss(y, p, w),
        "average_precision": ranked.average_precision(w),
        "smooth_ece": smooth_ece(y, p, w),
        "calibration_slope": calibration_slope(y[counted], p[counted], w[counted]) if 0 < positives < w.sum() else math.nan,
        "predicted_to_observed": float(w @ p / positives) if positives else math.nan,
        **_at_threshold(y, p, threshold, w),
    }
    return _without_nan(values)


def _at_threshold(y: Floats, p: Floats, threshold: float, weight: Floats) -> dict[str, float]:
    """accuracy, precision, recall and f1, rows counted by weight; a ratio without a denominator is 0."""
    predicted = p >= threshold
    hits, positives, named = (float(weight[rows].sum()) for rows in (predicted & (y == 1), y == 1, predicted))
    return {
        "accuracy": float(weight[predicted == (y == 1)].sum() / weight.sum()),
        "precision": hits / named if named else 0.0,
        "recall": hits / positives if positives else 0.0,
        "f1": 2 * hits / (named + positives) if named + positives else 0.0,
    }


def regression_metrics(actual: NDArray[Any], predicted: NDArray[Any], weight: NDArray[Any] | None = None) -> Metrics:
    """mae, rmse, correlation (Pearson's; None where either side is constant). actual, predicted, weight (N,)."""
    a, p = np.asarray(actual, np.float64).reshape(-1), np.asarray(predicted, np.float64).reshape(-1)
    if not len(a):
        return {}
    (variance_a, covariance), (_, variance_p) = np.cov(a, p, aweights=weight, ddof=0)
    varies = variance_a > 0 and variance_p > 0
    values = {
        "mae": float(np.average(np.abs(a - p), weights=weight)),
        "rmse": float(np.sqrt(np.average(np.square(a - p), weights=weight))),
        "correlation": float(covariance / np.sqrt(variance_a * variance_p)) if varies else math.nan,
    }
    return _without_nan(values)


def log_loss(labels: NDArray[Any], probability: NDArray[Any], weight: NDArray[Any] | None = None) -> float:
    """Mean negative log likelihood."""
    return float(np.average(row_log_loss(labels, probability), weights=weight))


def row_log_loss(labels: NDArray[Any], probability: NDArray[Any]) -> Floats:
    """(N,) negative log likelihood of each row, for paired comparisons."""
    y, p = np.asarray(labels, np.float64), np.clip(np.asarray(probability, np.float64), EPSILON, 1 - EPSILON)
    return np.asarray(-(y * np.log(p) + (1 - y) * np.log1p(-p)))


def calibration_slope(labels: NDArray[Any], probability: NDArray[Any], weight: NDArray[Any] | None = None) -> float:
    """Slope of a logistic regression of the label on the logit of the probability (Cox 1958); 1 is calibrated, less than 1
    overconfident. NaN for a constant probability.
    """
    z = logit(np.clip(np.asarray(probability, np.float64), EPSILON, 1 - EPSILON))
    if np.ptp(z) < 1e-9:
        return math.nan
    return platt(z, labels, weight, prior=None)[0]


def best_threshold(labels: NDArray[Any], probability: NDArray[Any]) -> float:
    """The threshold with the best F1 on these rows; 0.5 without a positive."""
    y, p = np.asarray(labels).reshape(-1).astype(np.float64), np.asarray(probability, np.float64).reshape(-1)
    if not y.sum():
        return 0.5
    order = np.argsort(-p, kind="stable")
    hits = np.cumsum(y[order])
    f1 = 2 * hits / (np.arange(1, len(y) + 1) + y.sum())
    last = np.append(np.diff(p[order]) != 0, True)  # equal probabilities are on one side of a threshold
    return float(p[order][np.where(last, f1, -1.0).argmax()])


def _without_nan(values: dict[str, float]) -> Metrics:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
