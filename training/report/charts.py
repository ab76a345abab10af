"""Charts of a report as inline SVG: lines in general, and calibration, ROC and lift of a probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation.smooth_ece import reliability_curve, smooth_ece

Points = NDArray[np.float64]

_WIDTH, _HEIGHT = 340, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 10, 36


@dataclass(frozen=True)
class Series:
    """points (n, 2); color a CSS variable; `dots` for points instead of a line, `area` for a filled curve."""

    points: Points
    color: str = "--one"
    name: str = ""
    dashed: bool = False
    dots: bool = False
    area: bool = False


@dataclass(frozen=True)
class Axes:
    """Limits and labels; `x` and `y` are (low, high); `legend` the corner where no curve runs."""

    x: tuple[float, float] = (0.0, 1.0)
    y: tuple[float, float] = (0.0, 1.0)
    x_label: str = ""
    y_label: str = ""
    ticks: int = 5
    legend: str = "top left"


def chart(series: Sequence[Series], axes: Axes, caption: str) -> str:
    """A figure of lines over a light grid, with a legend for the series that have names."""
    parts = [_grid(axes)]
    parts += [_draw(one, axes) for one in series if len(one.points)]
    parts.append(_legend([one for one in series if one.name], axes.legend))
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(caption)}">{"".join(parts)}</svg>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _legend(named: Sequence[Series], corner: str) -> str:
    left = _LEFT + 10 if "left" in corner else _WIDTH - _RIGHT - 120
    top = _TOP + 14 if "top" in corner else _HEIGHT - _BOTTOM - 15 * len(named)
    parts = []
    for row, one in enumerate(named):
        y = top + 15 * row
        dash = ' stroke-dasharray="4 3"' if one.dashed else ""
        parts.append(
            f'<line x1="{left}" x2="{left + 18}" y1="{y - 4}" y2="{y - 4}" stroke="var({one.color})"'
            f' stroke-width="2"{dash}/><text x="{left + 23}" y="{y}">{escape(one.name)}</text>'
        )
    return "".join(parts)


def nice_limit(value: float) -> float:
    """The next of 1, 1.5, 2, 2.5, 5 times a power of ten."""
    if not value > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 1.5, 2, 2.5, 5, 10) if step * power >= value * (1 - 1e-9)))


def _grid(axes: Axes) -> str:
    parts = []
    for value in np.linspace(*axes.y, axes.ticks):
        y = _scaled(value, axes.y, _HEIGHT - _BOTTOM, _TOP)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for value in np.linspace(*axes.x, axes.ticks):
        x = _scaled(value, axes.x, _LEFT, _WIDTH - _RIGHT)
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="middle">{value:.3g}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(axes.x_label)}</text>')
    up = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(f'<text transform="translate(11 {up}) rotate(-90)" text-anchor="middle">{escape(axes.y_label)}</text>')
    return "".join(parts)


def _draw(one: Series, axes: Axes) -> str:
    positions = [
        (_scaled(x, axes.x, _LEFT, _WIDTH - _RIGHT), _scaled(y, axes.y, _HEIGHT - _BOTTOM, _TOP))
        for x, y in one.points
        if np.isfinite(x) and np.isfinite(y)
    ]
    if one.dots:
        return "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="var({one.color})"/>' for x, y in positions)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in positions)
    if one.area:
        floor = _HEIGHT - _BOTTOM
        path = f"{positions[0][0]:.1f},{floor} {path} {positions[-1][0]:.1f},{floor}" if positions else ""
        return f'<polygon points="{path}" fill="var({one.color})" opacity=".18"/>'
    dash = ' stroke-dasharray="4 3"' if one.dashed else ""
    return f'<polyline points="{path}" fill="none" stroke="var({one.color})" stroke-width="1.8" stroke-linejoin="round"{dash}/>'


def _scaled(value: float, limits: tuple[float, float], start: float, end: float) -> float:
    low, high = limits
    share = (min(max(value, low), high) - low) / (high - low) if high > low else 0.5
    return start + share * (end - start)


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
    curve = reliability_curve(y, p, max(error, 0.03))
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
    from sklearn.metrics import roc_curve

    series = [Series(_DIAGONAL, "--soft", dashed=True)]
    for name, p, color in models:
        points = np.stack(roc_curve(y, p)[:2], axis=1)
        series.append(Series(_thinned(points), color, name if len(models) > 1 else ""))
    return chart(series, Axes(x_label="false positive rate", y_label="true positive rate", legend="bottom right"), "ROC")


def _lift(y: NDArray[np.float64], models: list[tuple[str, NDArray[np.float64], str]]) -> str:
    curves = []
    for name, p, color in models:
        rows = np.arange(1, len(y) + 1)
        share, lift = rows / len(y), np.cumsum(y[np.argsort(-p, kind="stable")]) / rows / y.mean()
        shown = share >= 0.02  # a smaller share is a few rows, whose lift is mostly chance
        curves.append(Series(_thinned(np.stack([share, lift], axis=1)[shown]), color, name if len(models) > 1 else ""))
    top = nice_limit(max(float(one.points[:, 1].max()) for one in curves))
    flat = Series(np.array([[0.0, 1.0], [1.0, 1.0]]), "--soft", dashed=True)
    axes = Axes(y=(0.0, top), x_label="share of rows, best first", y_label="lift", legend="bottom left")
    return chart([flat, *curves], axes, "Lift: how many times more positives than in a random choice of that size")


def _thinned(points: NDArray[np.float64], most: int = 300) -> NDArray[np.float64]:
    return points if len(points) <= most else points[np.linspace(0, len(points) - 1, most).astype(int)]
