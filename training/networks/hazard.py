"""A hazard over intervals of time, as layers: from log risks to probabilities that can only rise with the days.

Time is cut into K intervals. A user's risk in interval k is exp(η_k) over the whole interval, and in proportion over the part
of it that was seen (the complementary log-log form of the discrete-time hazard, Prentice & Gloeckler 1978); the probability of
having bought by the end of interval k is 1 − exp(−Σ exp(η)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

# Log risks beyond these mean "never" and "at once"; the bounds keep exp() and log() finite.
LOWEST_LOG_RISK: Final = -12.0
HIGHEST_LOG_RISK: Final = 4.0


@dataclass(frozen=True, slots=True)
class Curve:
    """longer   (K − observed,) logarithm of how much larger the risk of each further interval is than the last observed one's
    never    share that never buys again, whatever the risks say
    told     how many of the log risks, the last of them, are each row's own `longer`, which is empty then
    """

    longer: NDArray[np.float32]
    never: float = 0.0
    told: int = 0


def probability_within(log_risks: Any, curve: Curve) -> Any:
    """Log risks (…, observed + told) → probabilities (…, K) of having bought by the end of each interval."""
    if curve.told:
        known, longer = log_risks[..., : -curve.told], log_risks[..., -curve.told :]
        log_risks = ops.concatenate([known, known[..., -1:] + longer], axis=-1)
    elif len(curve.longer):
        log_risks = ops.concatenate([log_risks, log_risks[..., -1:] + curve.longer], axis=-1)
    risk = ops.exp(ops.clip(log_risks, LOWEST_LOG_RISK, HIGHEST_LOG_RISK))
    return (1.0 - curve.never) * (1.0 - ops.exp(-ops.cumsum(risk, axis=-1)))


class Within(keras.layers.Layer):
    """`probability_within` as a layer."""

    def __init__(self, curve: Curve, **options: Any) -> None:
        super().__init__(**options)
        self._curve = curve

    def call(self, log_risks: Any) -> Any:
        return probability_within(log_risks, self._curve)

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, int]:
        return shape[0], int(shape[1] or 0) + len(self._curve.longer)


class Scaled(keras.layers.Layer):
    """Values times one number, which calibration may move after training."""

    def __init__(self, factor: float, **options: Any) -> None:
        super().__init__(**options)
        self._factor = factor

    def build(self, shape: Any) -> None:
        initial = keras.initializers.Constant(self._factor)
        self.factor = self.add_weight(name="factor", shape=(), initializer=initial, trainable=False)

    def settle(self, factor: float) -> None:
        self.factor.assign(factor)

    def call(self, values: Any) -> Any:
        return values * self.factor

    def compute_output_shape(self, shape: Sequence[int | None]) -> Sequence[int | None]:
        return shape
