"""Calibration of the profile heads on validation rows, after training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from training.networks.hazard import MAX_LOG_HAZARD, MIN_LOG_HAZARD

Numbers = NDArray[np.float32]

# Standard deviations of normal priors around "no change", so that a few validation users do not overrule the training set.
_SLOPE_PRIOR: Final = 0.3
_INTERCEPT_PRIOR: Final = 0.5
_LEVEL_PRIOR: Final = 0.1
_PERIOD_DEVIATION: Final = 0.05  # of a shop's revenue between one fortnight and the next, in logarithms


@dataclass(frozen=True, slots=True)
class HazardCalibration:
    """η → slope · η + intercept, the same for every interval, so that P(within k) stays monotone in k.

    observed   number of intervals, from the first, with validation labels; later ones use the same numbers
    """

    slope: float
    intercept: float
    observed: int


def fit_hazard(log_hazards: Numbers, exposure: Numbers, event: Numbers) -> HazardCalibration:
    """The slope and intercept of maximum posterior likelihood on validation.

    log_hazards   (N, K) uncalibrated η
    exposure      (N, K) share of each interval that was observed
    event         (N, K) 1 in the interval of the purchase
    """
    observed = int(np.flatnonzero((exposure > 0).any(axis=0)).max(initial=-1)) + 1
    at_risk = exposure > 0
    eta, part, happened = (values[at_risk].astype(np.float64) for values in (log_hazards, exposure, event))

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope, intercept = parameters
        calibrated = slope * eta + intercept
        hazard = part * np.exp(np.clip(calibrated, MIN_LOG_HAZARD, MAX_LOG_HAZARD))
        bought = np.maximum(-np.expm1(-hazard), 1e-300)
        value = np.sum(np.where(happened > 0, -np.log(bought), hazard))
        # Derivative by η: the hazard without an event, −hazard · survival ÷ P(event) with one; 0 beyond the bounds.
        by_eta = np.where(happened > 0, -hazard * np.exp(-hazard) / bought, hazard)
        by_eta = np.where((calibrated > MIN_LOG_HAZARD) & (calibrated < MAX_LOG_HAZARD), by_eta, 0.0)
        off_slope, off_intercept = (slope - 1.0) / _SLOPE_PRIOR, intercept / _INTERCEPT_PRIOR
        gradient = np.array(
            [np.sum(by_eta * eta) + off_slope / _SLOPE_PRIOR, np.sum(by_eta) + off_intercept / _INTERCEPT_PRIOR]
        )
        return float(value + (off_slope**2 + off_intercept**2) / 2), gradient

    fitted = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.2, 5.0), (-3.0, 3.0)])
    return HazardCalibration(float(fitted.x[0]), float(fitted.x[1]), observed)


def fit_spend_level(actual: Numbers, expected: NDArray[np.float64]) -> float:
    """The factor for expected spend: actual ÷ expected on validation, shrunk towards 1; 1 where either is 0.

    The logarithm of the ratio is shrunk by its prior variance over the sum of that, the variance between periods, and the
    sampling variance over the rows.
    """
    total, predicted = float(np.sum(actual, dtype=np.float64)), float(np.sum(expected))
    if not (total > 0 and predicted > 0):
        return 1.0
    ratio = total / predicted
    residual = actual.astype(np.float64) - ratio * expected
    sampling = float(np.sum(residual**2)) / total**2
    kept = _LEVEL_PRIOR**2 / (_LEVEL_PRIOR**2 + _PERIOD_DEVIATION**2 + sampling)
    return float(ratio**kept)


def fit_temperature(logits: Numbers, shares: Numbers) -> float:
    """The factor of the logits that minimises the cross-entropy of the next baskets (N, C); 1 where there is none."""
    rows = shares.sum(axis=1) > 0
    if not rows.any():
        return 1.0
    scores, target = logits[rows].astype(np.float64), shares[rows].astype(np.float64)

    def loss(factor: NDArray[np.float64]) -> float:
        return float(-np.mean(np.sum(target * log_softmax(scores * factor[0], axis=1), axis=1)))

    return float(minimize(loss, np.array([1.0]), method="L-BFGS-B", bounds=[(0.2, 5.0)]).x[0])
