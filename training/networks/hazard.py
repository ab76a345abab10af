"""Discrete-time hazard as Keras layers: from log hazards of intervals to probabilities that only rise with the days.

Time is cut into K intervals. A user's hazard in interval k is exp(η_k) over the whole interval, and in proportion over the part
of it that was observed (complementary log-log link, Prentice & Gloeckler 1978, "Regression analysis of grouped survival data").
The probability of an event by the end of interval k is 1 − exp(−Σ exp(η)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

# Log hazards beyond these mean "never" and "at once"; the bounds keep exp() and log() finite.
MIN_LOG_HAZARD: Final = -12.0
MAX_LOG_HAZARD: Final = 4.0


@dataclass(frozen=True, slots=True)
class HazardCurve:
    """How log hazards continue behind the intervals that training observed.

    log_ratios            (K − observed,) logarithm of each further interval's hazard over the last observed one's
    max_probability_gap   every probability stays below 1 − this
    from_row              number of further intervals whose log ratios are the last of a row's own values; `log_ratios` is empty
                          then
    """

    log_ratios: NDArray[np.float32]
    max_probability_gap: float = 0.0
    from_row: int = 0


def probability_within(log_hazards: Any, curve: HazardCurve) -> Any:
    """Log hazards (…, observed + from_row) → probabilities (…, K) of an event by the end of each interval."""
    if curve.from_row:
        observed, log_ratios = log_hazards[..., : -curve.from_row], log_hazards[..., -curve.from_row :]
        log_hazards = ops.concatenate([observed, observed[..., -1:] + log_ratios], axis=-1)
    elif len(curve.log_ratios):
        log_hazards = ops.concatenate([log_hazards, log_hazards[..., -1:] + curve.log_ratios], axis=-1)
    hazard = ops.exp(ops.clip(log_hazards, MIN_LOG_HAZARD, MAX_LOG_HAZARD))
    return (1.0 - curve.max_probability_gap) * (1.0 - ops.exp(-ops.cumsum(hazard, axis=-1)))


class HazardProbabilities(keras.layers.Layer):
    """`probability_within` as a layer."""

    def __init__(self, curve: HazardCurve, **options: Any) -> None:
        super().__init__(**options)
        self._curve = curve

    def call(self, log_hazards: Any) -> Any:
        return probability_within(log_hazards, self._curve)
