"""Calibration of a network's logits on validation rows; the graph applies it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Floats = NDArray[np.float64]

PRIOR_DEVIATION = 0.25


def platt(
    logits: NDArray[Any], labels: NDArray[Any], weight: NDArray[Any] | None = None, prior: float | None = PRIOR_DEVIATION
) -> tuple[float, float]:
    """Slope and intercept with which `slope · logit + intercept` has the least log loss (Platt 1999).

    logits, labels   (N,), labels 0 or 1 (or between)
    prior            standard deviation of a normal prior around the identity (slope 1, intercept 0), so that few rows, or rows
                     of one class only, change the calibration little; None for none

    Newton's method on two parameters. Without rows the identity.
    """
    x, y = np.asarray(logits, np.float64).reshape(-1), np.asarray(labels, np.float64).reshape(-1)
    w = np.ones_like(y) if weight is None else np.asarray(weight, np.float64).reshape(-1)
    design = np.stack([x, np.ones_like(x)], axis=1)
    start = np.array([1.0, 0.0])
    precision = 1e-9 if prior is None else prior**-2
    theta = start.copy()
    loss = _loss(theta, design, y, w, precision)
    for _ in range(100):
        p = expit(design @ theta)
        gradient = design.T @ (w * (p - y)) + precision * (theta - start)
        curvature = (design * (w * p * (1 - p))[:, None]).T @ design + precision * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        scale = 1.0
        while scale > 1e-6 and (new := _loss(theta - scale * step, design, y, w, precision)) > loss:
            scale /= 2  # far from the optimum a whole Newton step can overshoot
        if scale <= 1e-6:
            break
        theta, change, loss = theta - scale * step, loss - new, new
        if change < 1e-12 * max(1.0, abs(loss)):
            break
    return float(theta[0]), float(theta[1])


def _loss(theta: Floats, design: Floats, y: Floats, w: Floats, precision: float) -> float:
    z = design @ theta
    prior = 0.5 * precision * ((theta[0] - 1.0) ** 2 + theta[1] ** 2)
    return float(np.sum(w * (np.logaddexp(0.0, z) - y * z)) + prior)
