"""A customer who buys at a pace of their own until they leave unseen, as a layer: what is known of them before any network.

The Pareto/NBD model (Schmittlein, Morrison & Colombo 1987): orders come at a rate λ, and the customer leaves at a rate μ.
Its two gamma distributions over customers are replaced by weights of a grid of (λ, μ), fitted to the histories
(`training.tasks.profiles.lifetimes`), so that the posterior of each customer is a softmax and everything is sums of
exponentials: it exports, and holds for any number of days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

COLUMNS: Final = ("orders", "order_gap_days", "recency_purchase_days")  # all that the model needs to know of somebody
USUAL_LOG_RISK: Final = -3.0  # where belief turns what it is told: about once in twenty intervals
_LEAST_RISK: Final = 1e-7
_MOST_CERTAIN: Final = 1.0 - 1e-5


@dataclass(frozen=True, slots=True)
class Mixture:
    """rate, leaving, weight (G,): λ and μ of each kind of customer, per day, and its share of them."""

    rate: NDArray[np.float64]
    leaving: NDArray[np.float64]
    weight: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """A mixture, and the places of `COLUMNS` in the numeric input."""

    mixture: Mixture
    places: tuple[int, int, int]


class ParetoNbdMixture(keras.layers.Layer):
    """Numbers (N, n), raw with NaN where missing → (N, 2K), for intervals that end after `days`.

    First the logarithm of the risk to buy in each of the `observed` intervals (of the hazard's form,
    `training.networks.hazard`), as far as it is to be believed: how far customers differ in it is learnt, for each interval.
    For the further intervals how much larger the logarithm is than that of the last observed one. Then, for all, the
    logarithm of E[orders up to its end | at least one] − 1. Who never ordered is as a new customer of whom nothing is known.
    """

    def __init__(self, lifetimes: Lifetimes, days: Sequence[int], observed: int, **options: Any) -> None:
        super().__init__(**options)
        self._places, self._intervals, self._observed = lifetimes.places, len(days), observed
        rate, leaving = lifetimes.mixture.rate, lifetimes.mixture.leaving
        both, ends = rate + leaving, np.asarray(days, np.float64)
        self._log_rate, self._rate, self._leaving, self._both = (
            values.astype(np.float32) for values in (np.log(rate), rate, leaving, both)
        )
        self._log_weight = np.log(np.maximum(lifetimes.mixture.weight, 1e-30)).astype(np.float32)
        # Of somebody who has not left: P(at least one order) and E[orders] up to each end, (G, K).
        self._within = (rate / both * -np.expm1(-np.outer(ends, both))).T.astype(np.float32)
        self._orders = (rate / leaving * -np.expm1(-np.outer(ends, leaving))).T.astype(np.float32)

    def build(self, shape: Any) -> None:
        self.belief = self.add_weight(name="belief", shape=(self._observed,), initializer="ones")

    def call(self, numeric: Any) -> Any:
        known = ops.where(ops.isnan(numeric), ops.zeros_like(numeric), numeric)
        orders, gap, since = (ops.maximum(known[:, place : place + 1], 0.0) for place in self._places)
        repeats = ops.maximum(orders - 1.0, 0.0)
        since = since * ops.minimum(orders, 1.0)
        silent = ops.exp(-self._both * since)
        left_or_silent = self._leaving + self._rate * silent
        likelihood = repeats * self._log_rate - repeats * gap * self._both + ops.log(left_or_silent / self._both)
        posterior = ops.softmax(likelihood + self._log_weight, axis=-1)
        alive = posterior * self._both * silent / left_or_silent
        within = ops.clip(ops.matmul(alive, self._within), _LEAST_RISK, _MOST_CERTAIN)
        hazard = -ops.log(1.0 - within)
        risk = ops.concatenate([hazard[:, :1], hazard[:, 1:] - hazard[:, :-1]], axis=1)
        risk = ops.log(ops.maximum(risk, _LEAST_RISK))
        more = ops.log(ops.maximum(ops.matmul(alive, self._orders) / within - 1.0, _LEAST_RISK))
        first, last = risk[:, : self._observed], risk[:, self._observed - 1 : self._observed]
        believed = USUAL_LOG_RISK + self.belief * (first - USUAL_LOG_RISK)
        return ops.concatenate([believed, risk[:, self._observed :] - last, more], axis=1)

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, int]:
        return shape[0], 2 * self._intervals
