"""Setting the three heads' levels on validation, after training: what they say must be what happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from training.networks.hazard import HIGHEST_LOG_RISK, LOWEST_LOG_RISK

Numbers = NDArray[np.float32]

# How far slope and intercept are expected to move (standard deviations of a normal prior around "no change"): a validation set
# of a few users does not overrule the training set.
_SLOPE_PRIOR: Final = 0.3
_INTERCEPT_PRIOR: Final = 0.5
_LEVEL_PRIOR: Final = 0.1
_PERIOD_TO_PERIOD: Final = 0.05  # of a shop's takings from one fortnight to the next, more or less


@dataclass(frozen=True, slots=True)
class HazardCalibration:
    """η → slope · η + intercept, the same for every interval: P within k stays monotone in k.

    observed   number of intervals, from the first, that validation has seen; later ones take over the numbers
    """

    slope: float
    intercept: float
    observed: int


def fit_hazard(log_risks: Numbers, exposure: Numbers, event: Numbers) -> HazardCalibration:
    """The slope and intercept under which validation is most likely.

    log_risks   (N, K) uncalibrated η
    exposure    (N, K) share of each interval that was seen
    event       (N, K) 1 in the interval of the purchase
    """
    observed = int(np.flatnonzero((exposure > 0).any(axis=0)).max(initial=-1)) + 1
    at_risk = exposure > 0
    eta, seen, happened = (values[at_risk].astype(np.float64) for values in (log_risks, exposure, event))

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope, intercept = parameters
        moved = slope * eta + intercept
        risk = seen * np.exp(np.clip(moved, LOWEST_LOG_RISK, HIGHEST_LOG_RISK))
        survived = np.exp(-risk)
        bought = np.maximum(-np.expm1(-risk), 1e-300)
        value = np.sum(np.where(happened > 0, -np.log(bought), risk))
        # Derivative by η: risk where nothing happened, −risk · survived ÷ bought where it did; 0 beyond the bounds.
        slope_of = np.where(happened > 0, -risk * survived / bought, risk)
        slope_of = np.where((moved > LOWEST_LOG_RISK) & (moved < HIGHEST_LOG_RISK), slope_of, 0.0)
        off_slope, off_intercept = (slope - 1.0) / _SLOPE_PRIOR, intercept / _INTERCEPT_PRIOR
        gradient = np.array(
            [np.sum(slope_of * eta) + off_slope / _SLOPE_PRIOR, np.sum(slope_of) + off_intercept / _INTERCEPT_PRIOR]
        )
        return float(value + (off_slope**2 + off_intercept**2) / 2), gradient

    fitted = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.2, 5.0), (-3.0, 3.0)])
    return HazardCalibration(float(fitted.x[0]), float(fitted.x[1]), observed)


def fit_level(actual: Numbers, expected: NDArray[np.float64]) -> float:
    """The factor for expected spend: actual ÷ expected on validation, drawn towards 1 as far as that may be chance.

    Chance is the sampling error of the ratio over the rows, and that one period is not like the next: its share of what is
    known is the variance of the prior to the sum of both (in logarithms). 1 where there is nothing to compare.
    """
    total, predicted = float(np.sum(actual, dtype=np.float64)), float(np.sum(expected))
    if not (total > 0 and predicted > 0):
        return 1.0
    ratio = total / predicted
    residual = actual.astype(np.float64) - ratio * expected
    sampling = float(np.sum(residual**2)) / total**2
    kept = _LEVEL_PRIOR**2 / (_LEVEL_PRIOR**2 + _PERIOD_TO_PERIOD**2 + sampling)
    return float(ratio**kept)


def fit_temperature(logits: Numbers, shares: Numbers) -> float:
    """The factor of the logits under which the next baskets (N, C) are most likely; 1 where none was seen."""
    rows = shares.sum(axis=1) > 0
    if not rows.any():
        return 1.0
    scores, target = logits[rows].astype(np.float64), shares[rows].astype(np.float64)

    def loss(parameter: NDArray[np.float64]) -> float:
        scaled = scores * parameter[0]
        peak = scaled.max(axis=1, keepdims=True)
        logs = scaled - peak - np.log(np.exp(scaled - peak).sum(axis=1, keepdims=True))
        return float(-np.mean(np.sum(target * logs, axis=1)))

    return float(minimize(loss, np.array([1.0]), method="L-BFGS-B", bounds=[(0.2, 5.0)]).x[0])
