"""Bootstrap intervals of metrics (Efron 1979): percentiles over resamples of the users, or of the rows where users are unknown.

A resample draws as many users as there are, with replacement. All rows of a user are drawn together, because they are alike.
Two models are compared on the same resamples, so that the uncertainty that both share cancels out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.evaluation.metrics import Metrics, SortedLabels, binary_metrics, regression_metrics, row_log_loss
from training.evaluation.smooth_ece import smooth_ece

LEVEL: Final = 0.95
RESAMPLES: Final = 200
_MIN_SHARE: Final = 0.9  # of the resamples must have a value, or there is no interval

Floats = NDArray[np.float64]
Interval = tuple[float, float] | None


@dataclass(frozen=True)
class ClusterBootstrap:
    """clusters   (N,) codes of the users that are drawn, 0 … users − 1"""

    clusters: NDArray[np.int64]
    resamples: int = RESAMPLES
    seed: int = 0

    @classmethod
    def from_groups(
        cls, rows: int, groups: NDArray[Any] | None = None, *, resamples: int = RESAMPLES, seed: int = 0
    ) -> ClusterBootstrap:
        """`groups` (N,) the user of each row; None where every row is of another user."""
        codes = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
        return cls(codes.astype(np.int64), resamples, seed)

    @property
    def users(self) -> int:
        return int(self.clusters.max(initial=-1)) + 1

    def __iter__(self) -> Iterator[Floats]:
        """(N,) how often each row is in a resample; the same resamples in every iteration."""
        random = np.random.default_rng(self.seed)
        for _ in range(self.resamples):
            drawn = np.bincount(random.integers(0, self.users, self.users), minlength=self.users)
            yield drawn[self.clusters].astype(np.float64)


def bootstrap_binary_metrics(
    labels: NDArray[Any],
    probabilities: Mapping[str, NDArray[Any]],
    threshold: float,
    bootstrap: ClusterBootstrap,
    weight: NDArray[Any] | None = None,
    own: str = "model",
) -> dict[str, Any]:
    """95 % intervals of a model's metrics, and of its lead over others on the same rows.

    labels, weight  (N,); a row counts as often as its weight says
    probabilities   (N,) each; `own` is the model, the others are compared with it
    threshold       of accuracy, precision, recall and F1

    ``{"level", "resamples", "users", "test": {metric: [low, high]}, "smooth_ece_if_calibrated": [low, high],
    "ahead_of": {name: {"auc": [low, high], "log_loss": […]}}}``: positive differences mean a better model, in either metric. An
    interval is None where too few resamples have both classes. The smooth ECE of a resample exceeds that of the rows, because
    drawing adds noise: compare its interval with the one of a perfectly calibrated model.
    """
    y, p = np.asarray(labels, np.float64), np.asarray(probabilities[own], np.float64)
    if not len(y):
        return {}
    ranked = {name: SortedLabels.by_probability(y, other) for name, other in probabilities.items()}
    losses = {name: row_log_loss(y, other) for name, other in probabilities.items()}
    samples: list[Metrics] = []
    ahead: dict[str, dict[str, list[float]]] = {name: {"auc": [], "log_loss": []} for name in probabilities if name != own}
    row_weight = np.ones(len(y)) if weight is None else np.asarray(weight, np.float64)
    for times in bootstrap:
        counted = row_weight * times
        samples.append(binary_metrics(y, p, threshold, counted, ranked[own]))
        for name, differences in ahead.items():
            differences["auc"].append(ranked[own].auc(counted) - ranked[name].auc(counted))
            differences["log_loss"].append(float(np.average(losses[name] - losses[own], weights=counted)))
    random = np.random.default_rng(bootstrap.seed)
    calibrated = [smooth_ece(random.random(len(p)) < p, p, row_weight) for _ in range(bootstrap.resamples)]
    return {
        **_intervals(samples, bootstrap),
        "smooth_ece_if_calibrated": percentile_interval(calibrated),
        "ahead_of": {
            name: {metric: percentile_interval(values) for metric, values in differences.items()}
            for name, differences in ahead.items()
        },
    }


def bootstrap_regression_metrics(actual: NDArray[Any], predicted: NDArray[Any], bootstrap: ClusterBootstrap) -> dict[str, Any]:
    """95 % intervals of mae, rmse and correlation. actual, predicted (N,)."""
    if not len(actual):
        return {}
    return _intervals([regression_metrics(actual, predicted, weight) for weight in bootstrap], bootstrap)


def _intervals(samples: Sequence[Metrics], bootstrap: ClusterBootstrap) -> dict[str, Any]:
    intervals = {name: percentile_interval([one[name] for one in samples]) for name in samples[0]}
    return {"level": LEVEL, "resamples": bootstrap.resamples, "users": bootstrap.users, "test": intervals}


def percentile_interval(values: Sequence[float | None]) -> Interval:
    """The middle 95 % of the values; None where more than a tenth of them is missing (None or NaN)."""
    known = np.array(values, np.float64)
    known = known[np.isfinite(known)]
    if not len(known) or len(known) < _MIN_SHARE * len(values):
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
