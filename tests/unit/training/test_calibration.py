"""Platt's calibration, against scipy's minimiser."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from training.calibration import PRIOR_DEVIATION, platt

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(size=400)
LABELS = (RANDOM.random(400) < 1 / (1 + np.exp(-(0.6 * LOGITS - 0.8)))).astype(float)


def loss(theta: np.ndarray, prior: float | None, weight: np.ndarray) -> float:
    z = theta[0] * LOGITS + theta[1]
    likelihood = np.sum(weight * (LABELS * np.log1p(np.exp(-z)) + (1 - LABELS) * np.log1p(np.exp(z))))
    return float(likelihood + (0 if prior is None else ((theta[0] - 1) ** 2 + theta[1] ** 2) / (2 * prior**2)))


@pytest.mark.parametrize("prior", [None, PRIOR_DEVIATION])
@pytest.mark.parametrize("weight", [np.ones(400), np.linspace(0, 2, 400)])
def test_it_finds_the_minimum(prior: float | None, weight: np.ndarray) -> None:
    expected = minimize(loss, [1.0, 0.0], args=(prior, weight), tol=1e-10).x
    assert platt(LOGITS, LABELS, weight, prior) == pytest.approx(expected, abs=1e-4)


def test_few_rows_hardly_move_it() -> None:
    slope, intercept = platt(LOGITS[:4], LABELS[:4])
    assert abs(slope - 1) < 0.15
    assert abs(intercept) < 0.3


def test_one_class_and_no_rows_are_no_accident() -> None:
    slope, intercept = platt(np.array([3.0, 4.0]), np.array([0.0, 0.0]))
    assert 0 < slope < 1
    assert intercept < 0
    assert platt(np.zeros(0), np.zeros(0)) == (1.0, 0.0)


def test_classes_that_separate_do_not_run_to_infinity() -> None:
    slope, _ = platt(np.array([-2.0, -1.0, 1.0, 2.0] * 50), np.array([0.0, 0.0, 1.0, 1.0] * 50))
    assert 1 < slope < 10
