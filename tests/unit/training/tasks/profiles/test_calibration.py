"""Levels set on validation: known distortions are found again, and chance is not taken for one."""

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
def test_a_distortion_of_the_log_risks_is_found(slope: float, intercept: float) -> None:
    found = fit_hazard(*simulated(40_000, slope, intercept))
    assert found.slope == pytest.approx(slope, abs=0.03)
    assert found.intercept == pytest.approx(intercept, abs=0.03)
    assert found.observed == 2


def test_a_few_users_move_little() -> None:
    found = fit_hazard(*simulated(5, 3.0, 2.0))
    assert abs(found.slope - 1) < 0.3
    assert abs(found.intercept) < 1.0


def test_intervals_that_validation_did_not_see_are_told() -> None:
    eta, exposure, event = simulated(1_000, 1.0, 0.0)
    exposure[:, 1] = event[:, 1] = 0
    assert fit_hazard(eta, exposure, event).observed == 1


def test_the_level_is_drawn_towards_one_as_far_as_it_may_be_chance() -> None:
    expected = np.array([50.0, 100.0, 150.0] * 20)
    # The same ratio in every row has no sampling error: the prior keeps 0.1² ÷ (0.1² + 0.05²) = 80 % of its logarithm.
    assert fit_spend_level((1.2 * expected).astype(np.float32), expected) == pytest.approx(1.2**0.8, rel=1e-3)
    # Takings that come from six users of sixty, twelve times as much each: the same sum proves less.
    lucky = np.where(np.arange(60) % 10 == 0, 12.0, 0.0) * expected
    ratio = lucky.sum() / expected.sum()
    assert 0 < math.log(fit_spend_level(lucky.astype(np.float32), expected)) < 0.2 * math.log(ratio)


def test_no_level_without_spend() -> None:
    assert fit_spend_level(np.zeros(3, np.float32), np.ones(3)) == 1.0
    assert fit_spend_level(np.zeros(0, np.float32), np.zeros(0)) == 1.0


def test_the_temperature_undoes_overconfidence() -> None:
    random = np.random.default_rng(3)
    logits = random.normal(size=(20_000, 4))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    chosen = (p.cumsum(axis=1) > random.random((20_000, 1))).argmax(axis=1)
    assert fit_temperature((2 * logits).astype(np.float32), np.eye(4, dtype=np.float32)[chosen]) == pytest.approx(0.5, abs=0.02)
    assert fit_temperature(np.zeros((2, 4), np.float32), np.zeros((2, 4), np.float32)) == 1.0
