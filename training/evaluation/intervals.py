"""How sure a metric is: percentile intervals over resamples of the users, and of the rows where nobody has two (Efron 1979).

A resample draws as many users as there are, with replacement; all rows of a user come together, since they are alike. Two
models are compared on the same resamples: what is uncertain about both cancels out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.evaluation.metrics import at_threshold, calibration_slope, row_log_loss
from training.evaluation.smooth_ece import smooth_ece

LEVEL: Final = 0.95
RESAMPLES: Final = 200
_LEAST: Final = 0.9  # of the resamples must have a value, or there is no interval

Floats = NDArray[np.float64]
Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Resampler:
    """clusters   (N,) codes of what is drawn together: 0 … users − 1"""

    clusters: NDArray[np.int64]
    resamples: int = RESAMPLES
    seed: int = 0

    @classmethod
    def of(cls, rows: int, groups: NDArray[Any] | None = None, *, resamples: int = RESAMPLES, seed: int = 0) -> Resampler:
        """`groups` (N,) names who a row is of; `None` where each row is of somebody else."""
        codes = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
        return cls(codes.astype(np.int64), resamples, seed)

    @property
    def users(self) -> int:
        return int(self.clusters.max(initial=-1)) + 1

    def __iter__(self) -> Iterator[Floats]:
        """(N,) how often each row is in a resample; the same resamples each time."""
        random = np.random.default_rng(self.seed)
        for _ in range(self.resamples):
            drawn = np.bincount(random.integers(0, self.users, self.users), minlength=self.users)
            yield drawn[self.clusters].astype(np.float64)


def binary_uncertainty(
    labels: NDArray[Any],
    probabilities: Mapping[str, NDArray[Any]],
    threshold: float,
    resampler: Resampler,
    weight: NDArray[Any] | None = None,
    own: str = "model",
) -> dict[str, Any]:
    """95 % intervals of a model's metrics, and of how far it is ahead of others on the same rows.

    labels, weight  (N,); a row counts as often as its weight says
    probabilities   (N,) each; `own` is the model, the others are compared with it
    threshold       of accuracy, precision, recall and F1

    ``{"level", "resamples", "users", "test": {metric: [low, high]}, "smooth_ece_if_calibrated": [low, high],
    "ahead_of": {name: {"auc": [low, high], "log_loss": […]}}}``: a pair above 0 is a model that is better, in either metric; an
    interval is None where too few resamples had both classes. The smooth ECE of a resample is larger than that of the rows,
    because drawing adds noise: read its interval beside the one that a perfectly calibrated model would have.
    """
    y, p = np.asarray(labels, np.float64), np.asarray(probabilities[own], np.float64)
    if not len(y):
        return {}
    rankings = {name: Ranking.of(y, answer) for name, answer in probabilities.items()}
    losses = {name: row_log_loss(y, answer) for name, answer in probabilities.items()}
    found: dict[str, list[float]] = {}
    ahead: dict[str, dict[str, list[float]]] = {name: {"auc": [], "log_loss": []} for name in probabilities if name != own}
    rows = np.ones(len(y)) if weight is None else np.asarray(weight, np.float64)
    for times in resampler:
        counted = rows * times
        metrics = _weighted(rankings[own], losses[own], y, p, threshold, counted)
        for name, value in metrics.items():
            found.setdefault(name, []).append(value)
        for name, differences in ahead.items():
            differences["auc"].append(metrics["auc"] - rankings[name].auc(counted))
            differences["log_loss"].append(float(np.average(losses[name] - losses[own], weights=counted)))
    random = np.random.default_rng(resampler.seed)
    perfect = [smooth_ece(random.random(len(p)) < p, p, rows) for _ in range(resampler.resamples)]
    return {
        "level": LEVEL,
        "resamples": resampler.resamples,
        "users": resampler.users,
        "test": {name: interval(values) for name, values in found.items()},
        "smooth_ece_if_calibrated": interval(perfect),
        "ahead_of": {
            name: {metric: interval(values) for metric, values in differences.items()} for name, differences in ahead.items()
        },
    }


def regression_uncertainty(actual: NDArray[Any], predicted: NDArray[Any], resampler: Resampler) -> dict[str, Any]:
    """95 % intervals of mae, rmse and correlation. actual, predicted (N,)."""
    a, p = np.asarray(actual, np.float64), np.asarray(predicted, np.float64)
    if not len(a):
        return {}
    found: dict[str, list[float]] = {"mae": [], "rmse": [], "correlation": []}
    for weight in resampler:
        found["mae"].append(float(np.average(np.abs(a - p), weights=weight)))
        found["rmse"].append(float(np.sqrt(np.average(np.square(a - p), weights=weight))))
        (va, cov), (_, vp) = np.cov(a, p, aweights=weight, ddof=0)
        found["correlation"].append(float(cov / np.sqrt(va * vp)) if va > 0 and vp > 0 else np.nan)
    intervals = {name: interval(values) for name, values in found.items()}
    return {"level": LEVEL, "resamples": resampler.resamples, "users": resampler.users, "test": intervals}


def interval(values: list[float]) -> Interval:
    """The middle 95 % of these values; None where too many of them are none."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not len(known) or len(known) < _LEAST * len(values):
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class Ranking:
    """Labels from the least probable row up, sorted once: each resample then costs a few sums.

    labels   (N,) in this order
    order    (N,) rows
    ends     (T,) where a run of equal probabilities ends
    """

    labels: Floats
    order: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, labels: NDArray[Any], probability: NDArray[Any]) -> Ranking:
        order = np.argsort(probability, kind="stable")
        ends = np.flatnonzero(np.append(np.diff(np.asarray(probability)[order]) != 0, True))
        return cls(np.asarray(labels, np.float64)[order], order, ends)

    def auc(self, weight: Floats) -> float:
        """Area under the ROC curve, rows counted by weight (N,); NaN where one class has none."""
        true, false = self._runs(weight)
        below = np.cumsum(false) - false
        total = true.sum() * false.sum()
        return float((true * (below + false / 2)).sum() / total) if total > 0 else np.nan

    def average_precision(self, weight: Floats) -> float:
        """Precision at each step of recall, rows counted by weight (N,); NaN without a positive."""
        true, false = (values[::-1] for values in self._runs(weight))
        named = np.cumsum(true + false)
        precision = np.divide(np.cumsum(true), named, out=np.zeros_like(named), where=named > 0)
        return float((precision * true).sum() / true.sum()) if true.sum() > 0 else np.nan

    def _runs(self, weight: Floats) -> tuple[Floats, Floats]:
        """Weight of the positives and of the others in each run of equal probabilities."""
        here = weight[self.order]
        both = (np.cumsum(here * self.labels)[self.ends], np.cumsum(here * (1 - self.labels))[self.ends])
        return np.diff(both[0], prepend=0.0), np.diff(both[1], prepend=0.0)


def _weighted(ranking: Ranking, losses: Floats, y: Floats, p: Floats, threshold: float, weight: Floats) -> dict[str, float]:
    """What `binary_metrics` says of these weights, without sorting the rows again."""
    here = weight > 0
    positives = float(weight @ y)
    both = 0 < positives < weight.sum()
    return {
        "auc": ranking.auc(weight),
        "log_loss": float(np.average(losses, weights=weight)),
        "average_precision": ranking.average_precision(weight),
        "smooth_ece": smooth_ece(y, p, weight),
        "calibration_slope": calibration_slope(y[here], p[here], weight[here]) if both else np.nan,
        "predicted_to_observed": float(weight @ p / positives) if positives else np.nan,
        **at_threshold(y, p, threshold, weight),
    }
