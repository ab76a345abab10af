"""The metrics of `metrics.json`. What cannot be computed (AUC of one class) is None, never NaN."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from training.calibration import platt
from training.evaluation.smooth_ece import smooth_ece

EPSILON: Final = 1e-7  # probabilities are held this far from 0 and 1 in logarithms

Metrics = dict[str, float | None]


def binary_metrics(
    labels: NDArray[Any], probability: NDArray[Any], threshold: float = 0.5, weight: NDArray[Any] | None = None
) -> Metrics:
    """auc, log_loss, average_precision, smooth_ece, calibration_slope, predicted_to_observed; accuracy, precision, recall, f1
    at `threshold`.

    labels, probability   (N,); a row counts as positive where its probability reaches the threshold
    weight                (N,) how often a row counts
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    y, p = np.asarray(labels).reshape(-1).astype(np.float64), np.asarray(probability, np.float64).reshape(-1)
    if not len(y):
        return {}
    w = np.ones(len(y)) if weight is None else np.asarray(weight, np.float64).reshape(-1)
    both = 0 < y.sum() < len(y)
    return _finite(
        {
            "auc": float(roc_auc_score(y, p, sample_weight=w)) if both else math.nan,
            "log_loss": log_loss(y, p, w),
            "average_precision": float(average_precision_score(y, p, sample_weight=w)) if y.any() else math.nan,
            "smooth_ece": smooth_ece(y, p, w),
            "calibration_slope": calibration_slope(y, p, w) if both else math.nan,
            "predicted_to_observed": float(w @ p / (w @ y)) if y.any() else math.nan,
            **at_threshold(y, p, threshold, w),
        }
    )


def at_threshold(y: NDArray[Any], p: NDArray[Any], threshold: float, weight: NDArray[Any]) -> dict[str, float]:
    """accuracy, precision, recall and f1, rows counted by weight; what nothing was said of is 0."""
    said = p >= threshold
    hits, positives, named = (float(weight[rows].sum()) for rows in (said & (y == 1), y == 1, said))
    return {
        "accuracy": float(weight[said == (y == 1)].sum() / weight.sum()),
        "precision": hits / named if named else 0.0,
        "recall": hits / positives if positives else 0.0,
        "f1": 2 * hits / (named + positives) if named + positives else 0.0,
    }


def regression_metrics(actual: NDArray[Any], predicted: NDArray[Any]) -> Metrics:
    """mae, rmse, correlation (Pearson's; None where either side is constant)."""
    a, p = np.asarray(actual, np.float64).reshape(-1), np.asarray(predicted, np.float64).reshape(-1)
    if not len(a):
        return {}
    varies = a.std() > 0 and p.std() > 0
    return _finite(
        {
            "mae": float(np.abs(a - p).mean()),
            "rmse": float(np.sqrt(np.square(a - p).mean())),
            "correlation": float(np.corrcoef(a, p)[0, 1]) if varies else math.nan,
        }
    )


def log_loss(labels: NDArray[Any], probability: NDArray[Any], weight: NDArray[Any] | None = None) -> float:
    """Mean negative log likelihood."""
    return float(np.average(row_log_loss(labels, probability), weights=weight))


def row_log_loss(labels: NDArray[Any], probability: NDArray[Any]) -> NDArray[np.float64]:
    """(N,) negative log likelihood of each row, for paired comparisons."""
    y, p = np.asarray(labels, np.float64), np.clip(np.asarray(probability, np.float64), EPSILON, 1 - EPSILON)
    return np.asarray(-(y * np.log(p) + (1 - y) * np.log1p(-p)))


def calibration_slope(labels: NDArray[Any], probability: NDArray[Any], weight: NDArray[Any] | None = None) -> float:
    """Slope of a logistic regression of the label on the logit of the probability; 1 is calibrated, below 1 overconfident."""
    z = logit(np.clip(np.asarray(probability, np.float64), EPSILON, 1 - EPSILON))
    if np.ptp(z) < 1e-9:
        return math.nan  # a constant has no slope
    return platt(z, labels, weight, prior=None)[0]


def best_threshold(labels: NDArray[Any], probability: NDArray[Any]) -> float:
    """The threshold with the best F1 on these rows; 0.5 where they hold no positive."""
    y, p = np.asarray(labels).reshape(-1).astype(np.float64), np.asarray(probability, np.float64).reshape(-1)
    if not y.sum():
        return 0.5
    order = np.argsort(-p, kind="stable")
    hits = np.cumsum(y[order])
    f1 = 2 * hits / (np.arange(1, len(y) + 1) + y.sum())
    last = np.append(np.diff(p[order]) != 0, True)  # equal probabilities fall on one side together
    return float(p[order][np.where(last, f1, -1.0).argmax()])


def _finite(metrics: dict[str, float]) -> Metrics:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}
