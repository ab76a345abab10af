"""Smooth calibration error (Błasiok & Nakkiran 2023, "Smooth ECE: principled reliability diagrams via kernel smoothing")."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, idct

GRID: Final = 4_000  # cells of [0, 1]
MIN_BANDWIDTH: Final = 0.001


def smooth_ece(labels: NDArray[Any], probability: NDArray[Any], weight: NDArray[Any] | None = None) -> float:
    """Calibration error without bins: the kernel bandwidth equals the error. 0 is calibrated; NaN without rows.

    labels, probability, weight   (N,); a row counts as often as its weight says

    At bandwidth s the residuals (label − probability) are smoothed over the probability by a Gaussian kernel reflected at
    0 and 1, and the error is the integral of the absolute value; it falls as s grows, so the fixed point is found by
    bisection. Residuals are first put on a fine grid, so the cost hardly depends on the number of rows.
    """
    y, p = np.asarray(labels, np.float64).reshape(-1), np.clip(np.asarray(probability, np.float64).reshape(-1), 0.0, 1.0)
    if not len(y):
        return float("nan")
    w = np.ones(len(y)) if weight is None else np.asarray(weight, np.float64).reshape(-1)
    spectrum = dct(on_grid(p, w * (y - p)) / w.sum())
    low, high = MIN_BANDWIDTH, 1.0
    if (smallest := error_at(spectrum, low)) <= low:
        return smallest
    for _ in range(20):
        midpoint = (low + high) / 2
        if error_at(spectrum, midpoint) < midpoint:
            high = midpoint
        else:
            low = midpoint
    return error_at(spectrum, high)


def reliability_curve(
    labels: NDArray[Any], probability: NDArray[Any], bandwidth: float, points: int = 101
) -> NDArray[np.float64]:
    """(points, 3): probability, smoothed share of positives there, density of rows; for a reliability diagram."""
    y, p = np.asarray(labels, np.float64).reshape(-1), np.clip(np.asarray(probability, np.float64).reshape(-1), 0.0, 1.0)
    sigma = max(bandwidth, MIN_BANDWIDTH)
    density = _smoothed(dct(on_grid(p, np.ones_like(p))), sigma)
    residual = _smoothed(dct(on_grid(p, y - p)), sigma)
    at = np.linspace(0, GRID - 1, points).round().astype(int)
    center = (at + 0.5) / GRID
    share = np.divide(residual[at], density[at], out=np.full(points, np.nan), where=density[at] > 1e-9 * density.max())
    return np.stack([center, np.clip(center + share, 0.0, 1.0), density[at] * GRID / len(p)], axis=1)


def error_at(spectrum: NDArray[np.float64], bandwidth: float) -> float:
    """∫ |smoothed residual| for the cosine transform of residuals on the grid."""
    return float(np.abs(_smoothed(spectrum, bandwidth)).sum())


def _smoothed(spectrum: NDArray[np.float64], bandwidth: float) -> NDArray[np.float64]:
    """In a cosine transform, smoothing by a Gaussian reflected at both ends is a factor for each wave."""
    factors = np.exp(-0.5 * np.square(np.pi * bandwidth * np.arange(GRID)))
    return np.asarray(idct(spectrum * factors), np.float64)


def on_grid(position: NDArray[np.float64], value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each value shared between the two nearest cell centers."""
    place = np.clip(position * GRID - 0.5, 0.0, GRID - 1.0)
    left = np.minimum(place.astype(np.int64), GRID - 2)
    part = place - left
    return np.asarray(np.bincount(left, value * (1 - part), GRID) + np.bincount(left + 1, value * part, GRID), np.float64)
