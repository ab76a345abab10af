"""The metrics, against sums done by hand or in another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.fft import dct
from scipy.stats import norm

from training.evaluation.metrics import best_threshold, binary_metrics, calibration_slope, regression_metrics
from training.evaluation.smooth_ece import error_at, on_grid, reliability_curve, smooth_ece

LABELS = np.array([0, 1, 0, 1, 1])
PROBABILITY = np.array([0.1, 0.4, 0.35, 0.8, 0.35])


def test_binary_metrics_by_hand() -> None:
    metrics = binary_metrics(LABELS, PROBABILITY, threshold=0.35)
    # pairs (positive, negative): .4 beats both, .8 beats both, .35 beats .1 and ties with .35
    assert metrics["auc"] == pytest.approx((2 + 2 + 1.5) / 6)
    logs = [math.log(0.9), math.log(0.4), math.log(0.65), math.log(0.8), math.log(0.35)]
    assert metrics["log_loss"] == pytest.approx(-sum(logs) / 5, rel=1e-6)
    # precision at each step down the ranking: .8 → 1/1, .4 → 2/2, .35 (two rows, one positive) → 3/4
    assert metrics["average_precision"] == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert (metrics["accuracy"], metrics["precision"], metrics["recall"]) == (4 / 5, 3 / 4, 1.0)
    assert metrics["f1"] == pytest.approx(6 / 7)


def test_metrics_that_need_both_classes_are_none_for_one() -> None:
    metrics = binary_metrics(np.zeros(3), np.full(3, 0.2))
    assert (metrics["auc"], metrics["average_precision"], metrics["calibration_slope"]) == (None, None, None)
    assert metrics["log_loss"] == pytest.approx(-math.log(0.8), rel=1e-6)
    assert (metrics["precision"], metrics["recall"], metrics["f1"]) == (0.0, 0.0, 0.0)
    assert binary_metrics(np.zeros(0), np.zeros(0)) == {}


def test_the_log_loss_of_a_wrong_certainty_is_finite() -> None:
    value = binary_metrics(np.array([1, 0]), np.array([0.0, 0.0]))["log_loss"]
    assert value is not None
    assert 7 < value < 9


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=1, max_size=30))
def test_the_best_threshold_is_the_best_of_all(rows: list[tuple[bool, int]]) -> None:
    labels = np.array([float(label) for label, _ in rows])
    probability = np.array([step / 8 for _, step in rows])
    if not labels.sum():
        assert best_threshold(labels, probability) == 0.5
        return
    by_threshold = [binary_metrics(labels, probability, step / 8)["f1"] or 0.0 for step in range(9)]
    result = binary_metrics(labels, probability, best_threshold(labels, probability))["f1"]
    assert result == pytest.approx(max(by_threshold))


def test_the_calibration_slope_recovers_the_stretch_of_logits() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=200_000)
    labels = (random.random(200_000) < 1 / (1 + np.exp(-logits))).astype(float)
    assert calibration_slope(labels, 1 / (1 + np.exp(-logits))) == pytest.approx(1.0, abs=0.02)
    assert calibration_slope(labels, 1 / (1 + np.exp(-2 * logits))) == pytest.approx(0.5, abs=0.01)


def smoothed_error(labels: np.ndarray, probability: np.ndarray, bandwidth: float) -> float:
    """∫ |Σ (y − p) K(t, p)| / n dt by quadrature, the reflected kernel written out."""
    t = np.linspace(0, 1, 2001)
    kernel = sum(
        norm.pdf(t[:, None], sign * probability[None, :] + 2 * shift, bandwidth) for shift in range(-4, 5) for sign in (-1, 1)
    )
    return float(np.trapezoid(np.abs(kernel @ (labels - probability) / len(labels)), t))


@pytest.mark.parametrize("bandwidth", [0.02, 0.1, 0.4])
def test_the_smoothed_error_at_a_bandwidth_against_quadrature(bandwidth: float) -> None:
    random = np.random.default_rng(3)
    probability = random.beta(2, 5, 300)
    labels = (random.random(300) < probability**1.5).astype(float)
    waves = dct(on_grid(probability, labels - probability) / 300)
    assert error_at(waves, bandwidth) == pytest.approx(smoothed_error(labels, probability, bandwidth), rel=0.01)


def test_smooth_ece_is_its_own_bandwidth() -> None:
    random = np.random.default_rng(3)
    probability = random.beta(2, 5, 300)
    labels = (random.random(300) < probability**1.5).astype(float)
    error = smooth_ece(labels, probability)
    assert smoothed_error(labels, probability, error) == pytest.approx(error, rel=0.02)


def test_smooth_ece_of_a_constant_is_the_distance_to_the_rate() -> None:
    labels = np.repeat([1.0, 0.0], [30, 70])
    assert smooth_ece(labels, np.full(100, 0.5)) == pytest.approx(0.2, abs=1e-3)
    assert smooth_ece(labels, np.full(100, 0.3)) == pytest.approx(0.0, abs=1e-3)
    assert math.isnan(smooth_ece(np.zeros(0), np.zeros(0)))


def test_the_reliability_curve_of_a_constant_shift() -> None:
    probability = np.tile(np.linspace(0.2, 0.6, 50), 100)
    labels = np.repeat(np.arange(100) % 2, 50).astype(float)  # half of each, whatever was predicted
    curve = reliability_curve(labels, probability, 0.01)
    inside = (curve[:, 0] > 0.25) & (curve[:, 0] < 0.55)
    assert curve[inside, 1] == pytest.approx(0.5, abs=0.02)


def test_regression_by_hand() -> None:
    metrics = regression_metrics(np.array([1.0, 2.0, 6.0]), np.array([2.0, 2.0, 2.0]))
    assert metrics["mae"] == pytest.approx((1 + 0 + 4) / 3)
    assert metrics["rmse"] == pytest.approx(math.sqrt((1 + 0 + 16) / 3))
    assert metrics["correlation"] is None
    assert regression_metrics(np.array([1.0, 2.0]), np.array([5.0, 9.0]))["correlation"] == pytest.approx(1.0)
