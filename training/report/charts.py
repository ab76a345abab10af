"""Line charts as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

_WIDTH, _HEIGHT = 340, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 10, 36


@dataclass(frozen=True)
class Series:
    """points (n, 2); colour a CSS variable; `dots` for points instead of a line, `area` for a filled curve."""

    points: Points
    colour: str = "--one"
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
            f'<line x1="{left}" x2="{left + 18}" y1="{y - 4}" y2="{y - 4}" stroke="var({one.colour})"'
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
        y = _place(value, axes.y, _HEIGHT - _BOTTOM, _TOP)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for value in np.linspace(*axes.x, axes.ticks):
        x = _place(value, axes.x, _LEFT, _WIDTH - _RIGHT)
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="middle">{value:.3g}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(axes.x_label)}</text>')
    up = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(f'<text transform="translate(11 {up}) rotate(-90)" text-anchor="middle">{escape(axes.y_label)}</text>')
    return "".join(parts)


def _draw(one: Series, axes: Axes) -> str:
    places = [
        (_place(x, axes.x, _LEFT, _WIDTH - _RIGHT), _place(y, axes.y, _HEIGHT - _BOTTOM, _TOP))
        for x, y in one.points
        if np.isfinite(x) and np.isfinite(y)
    ]
    if one.dots:
        return "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="var({one.colour})"/>' for x, y in places)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    if one.area:
        floor = _HEIGHT - _BOTTOM
        path = f"{places[0][0]:.1f},{floor} {path} {places[-1][0]:.1f},{floor}" if places else ""
        return f'<polygon points="{path}" fill="var({one.colour})" opacity=".18"/>'
    dash = ' stroke-dasharray="4 3"' if one.dashed else ""
    return (
        f'<polyline points="{path}" fill="none" stroke="var({one.colour})" stroke-width="1.8" stroke-linejoin="round"{dash}/>'
    )


def _place(value: float, limits: tuple[float, float], start: float, end: float) -> float:
    low, high = limits
    share = (min(max(value, low), high) - low) / (high - low) if high > low else 0.5
    return start + share * (end - start)
