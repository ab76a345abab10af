"""Calibration on validation rows: known distortions are recovered, and chance changes little."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.tasks.profiles.calibration import fit_hazard, fit_spend_level, fit_temperature


def simulated(rows: int, slope: float, intercept: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log risks of two intervals, and purchases that happened at slope · η + intercept."""
    random = np.random.default_rng(1)
    eta = random.normal(-0.5, 0.8, (rows, 2)).astype(np.float32)
    bought = random.random((rows, 2)) < -np.expm1(-np.exp(slope * eta + intercept))
    event = np.stack([bought[:, 0], ~bought[:, 0] & bought[:, 1]], axis=1)
    exposure = np.stack([np.ones(rows), ~bought[:, 0]], axis=1)
    return eta, exposure.astype(np.float32), event.astype(np.float32)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.7, 0.3), (1.4, -0.5)])
def test_a_distortion_of_the_log_hazards_is_recovered(slope: float, intercept: float) -> None:
    result = fit_hazard(*simulated(40_000, slope, intercept))
    assert result.slope == pytest.approx(slope, abs=0.03)
    assert result.intercept == pytest.approx(intercept, abs=0.03)
    assert result.observed == 2


def test_a_few_users_change_the_calibration_little() -> None:
    result = fit_hazard(*simulated(5, 3.0, 2.0))
    assert abs(result.slope - 1) < 0.3
    assert abs(result.intercept) < 1.0


def test_calibration_counts_the_intervals_with_validation_labels() -> None:
    eta, exposure, event = simulated(1_000, 1.0, 0.0)
    exposure[:, 1] = event[:, 1] = 0
    assert fit_hazard(eta, exposure, event).observed == 1


def test_the_spend_level_is_shrunk_towards_one_by_its_sampling_error() -> None:
    expected = np.array([50.0, 100.0, 150.0] * 20)
    # The same ratio in every row has no sampling error: the prior keeps 0.1² ÷ (0.1² + 0.05²) = 80 % of its logarithm.
    assert fit_spend_level((1.2 * expected).astype(np.float32), expected) == pytest.approx(1.2**0.8, rel=1e-3)
    # Takings that come from six users of sixty, twelve times as much each: the same sum proves less.
    lucky = np.where(np.arange(60) % 10 == 0, 12.0, 0.0) * expected
    ratio = lucky.sum() / expected.sum()
    assert 0 < math.log(fit_spend_level(lucky.astype(np.float32), expected)) < 0.2 * math.log(ratio)


def test_the_spend_level_is_one_without_spend() -> None:
    assert fit_spend_level(np.zeros(3, np.float32), np.ones(3)) == 1.0
    assert fit_spend_level(np.zeros(0, np.float32), np.zeros(0)) == 1.0


def test_the_temperature_undoes_overconfidence() -> None:
    random = np.random.default_rng(3)
    logits = random.normal(size=(20_000, 4))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    chosen = (p.cumsum(axis=1) > random.random((20_000, 1))).argmax(axis=1)
    assert fit_temperature((2 * logits).astype(np.float32), np.eye(4, dtype=np.float32)[chosen]) == pytest.approx(0.5, abs=0.02)
    assert fit_temperature(np.zeros((2, 4), np.float32), np.zeros((2, 4), np.float32)) == 1.0
