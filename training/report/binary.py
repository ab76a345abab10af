"""What one looks at for a probability: calibration, ROC, lift."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation.smooth_ece import reliability, smooth_ece
from training.report.charts import Axes, Series, chart, nice_limit

_DIAGONAL = np.array([[0.0, 0.0], [1.0, 1.0]])


def binary_charts(labels: NDArray[Any], probability: NDArray[Any], versus: tuple[str, NDArray[Any]] | None = None) -> str:
    """Reliability diagram, ROC and lift curve of probabilities, beside those of another model where given.

    labels, probability   (N,)
    versus                name and probabilities (N,) of the model to compare with
    """
    y, p = np.asarray(labels, np.float64), np.asarray(probability, np.float64)
    if not 0 < y.sum() < len(y):
        return "<p>These rows hold one class only: there is no curve to draw.</p>"
    models = [("this model", p, "--one")] + ([(versus[0], np.asarray(versus[1]), "--two")] if versus else [])
    return f'<div class="charts">{_reliability(y, p)}{_roc(y, models)}{_lift(y, models)}</div>'


def _reliability(y: NDArray[np.float64], p: NDArray[np.float64]) -> str:
    error = smooth_ece(y, p)
    # The curve is drawn with a wider kernel than the error's own bandwidth where that is tiny: else it shows single rows.
    curve = reliability(y, p, max(error, 0.03))
    dense = curve[:, 2] > 0.01 * curve[:, 2].max()
    density = np.stack([curve[:, 0], 0.25 * curve[:, 2] / curve[:, 2].max()], axis=1)
    order = np.array_split(np.argsort(p, kind="stable"), min(10, len(p)))
    deciles = np.array([[p[rows].mean(), y[rows].mean()] for rows in order])
    series = [
        Series(_DIAGONAL, "--soft", dashed=True),
        Series(density, "--one", area=True),
        Series(curve[dense][:, :2], "--one"),
        Series(deciles, "--one", dots=True),
    ]
    axes = Axes(x_label="predicted probability", y_label="share of positives")
    return chart(
        series, axes, f"Calibration (smooth ECE {error:.4f}). Dots: tenths of the rows. Shaded: where the predictions lie."
    )


def _roc(y: NDArray[np.float64], models: list[tuple[str, NDArray[np.float64], str]]) -> str:
    series = [Series(_DIAGONAL, "--soft", dashed=True)]
    for name, p, colour in models:
        order, last = _descending(p)
        true = np.append(0.0, np.cumsum(y[order])[last]) / y.sum()
        false = np.append(0.0, np.cumsum(1 - y[order])[last]) / (1 - y).sum()
        series.append(Series(_thinned(np.stack([false, true], axis=1)), colour, name if len(models) > 1 else ""))
    return chart(series, Axes(x_label="false positive rate", y_label="true positive rate", legend="bottom right"), "ROC")


def _lift(y: NDArray[np.float64], models: list[tuple[str, NDArray[np.float64], str]]) -> str:
    curves = []
    for name, p, colour in models:
        order, _ = _descending(p)
        share = np.arange(1, len(y) + 1) / len(y)
        lift = np.cumsum(y[order]) / np.arange(1, len(y) + 1) / y.mean()
        shown = share >= 0.02  # before that the curve is a few rows' luck
        curves.append(Series(_thinned(np.stack([share, lift], axis=1)[shown]), colour, name if len(models) > 1 else ""))
    top = nice_limit(max(float(one.points[:, 1].max()) for one in curves))
    flat = Series(np.array([[0.0, 1.0], [1.0, 1.0]]), "--soft", dashed=True)
    axes = Axes(y=(0.0, top), x_label="share of rows, best first", y_label="lift", legend="bottom left")
    return chart([flat, *curves], axes, "Lift: how many times more positives than in a random choice of that size")


def _descending(p: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Best first, and where a run of equal probabilities ends."""
    order = np.argsort(-p, kind="stable")
    return order, np.append(np.diff(p[order]) != 0, True)


def _thinned(points: NDArray[np.float64], most: int = 300) -> NDArray[np.float64]:
    return points if len(points) <= most else points[np.linspace(0, len(points) - 1, most).astype(int)]
