"""Customers who buy at a constant rate until they leave unseen: a Pareto/NBD model with a fitted mixture of rates.

The Pareto/NBD model (Schmittlein, Morrison & Colombo 1987, "Counting your customers"): orders come at a rate λ, and the
customer drops out at a rate μ. Here weights on a grid of (λ, μ) replace the two gamma distributions over customers. So the
posterior of a customer is a softmax and every expectation is a sum of exponentials, which exports to ONNX and holds for any
number of days.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from personalization.core.encoder import TableEncoder

COLUMNS: Final = ("orders", "order_gap_days", "recency_purchase_days")  # sufficient statistics of a customer
MEAN_LOG_HAZARD: Final = -3.0  # log hazards are scaled around this: about once in twenty intervals
_MIN_HAZARD: Final = 1e-7
_MAX_PROBABILITY: Final = 1.0 - 1e-5

_ORDER_RATES: Final = 20  # points of the grid
_DROPOUT_RATES: Final = 12
_EM_STEPS: Final = 60  # with many more the weights gather on a few points, and similar customers become identical
_MAX_ROWS: Final = 20_000
_MIN_ROWS: Final = 50
_MIN_ORDER_RATE: Final = 1.0 / 3_000.0  # a day
_MIN_DROPOUT_RATE: Final = 1e-5
_MAX_DROPOUT_RATE: Final = 0.2

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ParetoNbdMixture:
    """order_rate, dropout_rate, weight   (G,) λ and μ per day of each point of the grid, and its share of the customers"""

    order_rate: Floats
    dropout_rate: Floats
    weight: Floats

    @classmethod
    def fit(cls, repeats: Floats, span: Floats, recency: Floats) -> ParetoNbdMixture:
        """Maximum-likelihood weights by expectation maximisation from equal ones (Laird 1978).

        repeats   (N,) orders after the first
        span      (N,) days from the first order to the last
        recency   (N,) days since the last order
        """
        highest = np.quantile((repeats + 1.0) / np.maximum(span + recency, 1.0), 0.99)
        order_rate, dropout_rate = (
            axis.ravel()
            for axis in np.meshgrid(
                np.geomspace(_MIN_ORDER_RATE, max(2.0 * highest, 10.0 * _MIN_ORDER_RATE), _ORDER_RATES),
                np.geomspace(_MIN_DROPOUT_RATE, _MAX_DROPOUT_RATE, _DROPOUT_RATES),
                indexing="ij",
            )
        )
        weight = np.full(len(order_rate), 1.0 / len(order_rate))
        likelihood = cls(order_rate, dropout_rate, weight)._likelihood(repeats, span, recency)
        for _ in range(_EM_STEPS):
            joint = likelihood * weight
            weight = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
        return cls(order_rate, dropout_rate, weight)

    def within(self, days: Sequence[float]) -> tuple[Floats, Floats]:
        """P(at least one order) and E[orders] within each number of days, (K, G), of a customer who has not dropped out."""
        total, ends = self.order_rate + self.dropout_rate, np.asarray(days, np.float64)
        probability = self.order_rate / total * -np.expm1(-np.outer(ends, total))
        return probability, self.order_rate / self.dropout_rate * -np.expm1(-np.outer(ends, self.dropout_rate))

    def expected_orders(self, columns: Mapping[str, NDArray[Any]], days: Sequence[float]) -> tuple[Floats, Floats]:
        """P(at least one order) and E[orders] within each number of days, (N, len(days)) each.

        columns   `COLUMNS` of N customers, NaN where missing
        """
        orders, gap, recency = (np.nan_to_num(columns[name].astype(np.float64)) for name in COLUMNS)
        repeats = np.maximum(orders - 1.0, 0.0)
        recency = np.where(orders >= 1, recency, 0.0)
        posterior = self._likelihood(repeats, repeats * gap, recency) * self.weight
        posterior /= posterior.sum(axis=1, keepdims=True)
        total = self.order_rate + self.dropout_rate
        silent = np.exp(-np.outer(recency, total))
        active = posterior * total * silent / (self.dropout_rate + self.order_rate * silent)
        probability, orders_within = self.within(days)
        return active @ probability.T, active @ orders_within.T

    def _likelihood(self, repeats: Floats, span: Floats, recency: Floats) -> Floats:
        """(N, G), each row up to a factor."""
        total = self.order_rate + self.dropout_rate
        silent = np.exp(-np.outer(recency, total))
        logs = np.outer(repeats, np.log(self.order_rate)) - np.outer(span, total)
        logs += np.log((self.dropout_rate + self.order_rate * silent) / total)
        return np.asarray(np.exp(logs - logs.max(axis=1, keepdims=True)))


@dataclass(frozen=True, slots=True)
class CustomerBase:
    """A mixture, and the indices of `COLUMNS` in the network's numeric input."""

    mixture: ParetoNbdMixture
    indices: tuple[int, int, int]


def fit_customer_base(columns: Mapping[str, NDArray[Any]], encoder: TableEncoder, seed: int) -> CustomerBase | None:
    """Fit the mixture to histories; None where the encoder lacks a column, or too few customers have ordered.

    columns   features of customers, one row each, at one cut
    """
    names = encoder.numeric_names
    if not all(name in names for name in COLUMNS):
        return None
    orders, gap, recency = (np.nan_to_num(columns[name].astype(np.float64)) for name in COLUMNS)
    rows = np.flatnonzero(orders >= 1)
    if len(rows) < _MIN_ROWS:
        return None
    if len(rows) > _MAX_ROWS:
        rows = np.random.default_rng(seed).choice(rows, _MAX_ROWS, replace=False)
    repeats = orders[rows] - 1.0
    first, second, third = (names.index(name) for name in COLUMNS)
    return CustomerBase(ParetoNbdMixture.fit(repeats, repeats * gap[rows], recency[rows]), (first, second, third))


class ParetoNbdLayer(keras.layers.Layer):  # type: ignore[misc]  # keras comes without types
    """Numbers (N, n), raw with NaN where missing → (N, 2K), for intervals that end after `days`.

    First come the log hazards of the `observed` intervals (`training.networks.hazard`); a trained factor for each interval
    scales how far customers differ in them. Then, for each further interval, the logarithm of its hazard over the last
    observed one's. Then, for all K, the logarithm of E[orders up to the interval's end | at least one] − 1. A customer without
    orders counts as a new one, with the prior weights.
    """

    def __init__(self, base: CustomerBase, days: Sequence[int], observed: int, **options: Any) -> None:
        super().__init__(**options)
        mixture = base.mixture
        self._indices, self._intervals, self._observed = base.indices, len(days), observed
        self._log_rate, self._rate, self._dropout, self._total, self._log_weight = (
            values.astype(np.float32)
            for values in (
                np.log(mixture.order_rate),
                mixture.order_rate,
                mixture.dropout_rate,
                mixture.order_rate + mixture.dropout_rate,
                np.log(np.maximum(mixture.weight, 1e-30)),
            )
        )
        self._within, self._orders = (values.T.astype(np.float32) for values in mixture.within(days))  # (G, K)

    def build(self, shape: Any) -> None:
        self.spread = self.add_weight(name="belief", shape=(self._observed,), initializer="ones")

    def call(self, numeric: Any) -> Any:
        known = ops.where(ops.isnan(numeric), ops.zeros_like(numeric), numeric)
        orders, gap, recency = (ops.maximum(known[:, index : index + 1], 0.0) for index in self._indices)
        repeats = ops.maximum(orders - 1.0, 0.0)
        recency = recency * ops.minimum(orders, 1.0)
        silent = ops.exp(-self._total * recency)
        left_or_silent = self._dropout + self._rate * silent
        likelihood = repeats * self._log_rate - repeats * gap * self._total + ops.log(left_or_silent / self._total)
        posterior = ops.softmax(likelihood + self._log_weight, axis=-1)
        active = posterior * self._total * silent / left_or_silent
        within = ops.clip(ops.matmul(active, self._within), _MIN_HAZARD, _MAX_PROBABILITY)
        cumulative = -ops.log(1.0 - within)
        hazard = ops.concatenate([cumulative[:, :1], cumulative[:, 1:] - cumulative[:, :-1]], axis=1)
        log_hazard = ops.log(ops.maximum(hazard, _MIN_HAZARD))
        log_more = ops.log(ops.maximum(ops.matmul(active, self._orders) / within - 1.0, _MIN_HAZARD))
        observed, last = log_hazard[:, : self._observed], log_hazard[:, self._observed - 1 : self._observed]
        scaled = MEAN_LOG_HAZARD + self.spread * (observed - MEAN_LOG_HAZARD)
        return ops.concatenate([scaled, log_hazard[:, self._observed :] - last, log_more], axis=1)
