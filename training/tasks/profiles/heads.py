"""Heads of the profile network: time to the next purchase, spend and orders up to the horizon, next category.

The time to the next purchase is a hazard over intervals (`training.networks.hazard`), so an interval of which the label window
covers a part contributes that part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import keras
import numpy as np
from keras import ops

from training.networks.hazard import MAX_LOG_HAZARD, MIN_LOG_HAZARD, HazardCurve, HazardProbabilities, probability_within
from training.networks.heads import Head
from training.networks.layers import LogitCalibration, Scale, Squeeze
from training.networks.tabular import CATEGORICAL, NUMERIC
from training.tasks.profiles.pareto_nbd import CustomerBase, ParetoNbdLayer

_TWEEDIE_POWER: Final = 1.5


class HazardHead(Head):
    """Time to the next purchase: raw values are log hazards η of the intervals that training observed.

    Target (N, 2 · observed): the share of each interval that was observed, then 1 in the interval of the purchase. The graph's
    output is `probability_within` (N, K), of a purchase by the end of each interval. Intervals behind the observed ones
    continue with the daily hazard of the last of them.
    """

    def __init__(
        self,
        days: Sequence[int],
        observed: int | None = None,
        max_probability_gap: float = 0.0,
        weight: float = 1.0,
        customer_base: CustomerBase | None = None,
        add_prior: bool = True,
    ) -> None:
        """days                  ends of the K intervals, ascending
        observed              number of intervals, from the first, with labels; None for all
        max_probability_gap   the probabilities stay below 1 − this
        customer_base         fitted Pareto/NBD mixture: intervals behind the observed ones follow its hazard ratios
        add_prior             add its log hazards to those of the network, which then learns the difference
        """
        super().__init__("purchase", weight, size=observed or len(days))
        self.days = tuple(days)
        self.calibration = LogitCalibration(name="purchase_calibration")
        self._customer_base, self._add_prior = customer_base, add_prior
        lengths = np.diff([0, *days])
        log_ratios = np.log(lengths[self.size :] / lengths[self.size - 1]).astype(np.float32)
        from_row = len(log_ratios) if customer_base else 0
        self.curve = HazardCurve(log_ratios[: len(log_ratios) - from_row], max_probability_gap, from_row)
        self._prior: Any = None  # (N, 2K) of `ParetoNbdLayer`
        self.raw_values: Any = None
        self.merged_values: Any = None

    def connect(self, inputs: dict[str, Any]) -> None:
        if self._customer_base is not None:
            self._prior = ParetoNbdLayer(self._customer_base, self.days, self.size, name="lifetimes")(inputs[NUMERIC])

    @property
    def log_more_orders(self) -> Any:
        """(N, K) logarithm of E[orders up to the end of each interval | at least one] − 1; None without a customer base."""
        return None if self._prior is None else self._prior[:, len(self.days) :]

    def raw(self, hidden: Any) -> Any:
        self.raw_values = self._with_prior(super().raw(hidden))
        return self.raw_values

    def merged(self, hidden: Any) -> Any:
        self.merged_values = self._with_prior(super().merged(hidden))
        return self.merged_values

    def _with_prior(self, log_hazards: Any) -> Any:
        """Log hazards (N, observed) or (N, members, observed), with the prior's and, behind them, its log ratios."""
        if self._prior is None:
            return log_hazards
        observed, log_ratios = self._prior[:, : self.size], self._prior[:, self.size : len(self.days)]
        if len(log_hazards.shape) == 3:
            observed = ops.expand_dims(observed, 1)
            log_ratios = ops.zeros_like(log_hazards[:, :, :1]) + ops.expand_dims(log_ratios, 1)
        if self._add_prior:
            log_hazards = log_hazards + observed
        return ops.concatenate([log_hazards, log_ratios], axis=-1) if self.curve.from_row else log_hazards

    def calibrate(self, slope: float, intercept: float) -> None:
        """Set the calibration of the observed intervals' log hazards; further intervals follow the last of them."""
        observed = np.arange(self.size + self.curve.from_row) < self.size
        self.calibration.assign(np.where(observed, slope, 1.0), np.where(observed, intercept, 0.0))

    def outputs(self, merged: Any) -> dict[str, Any]:
        return {"probability_within": HazardProbabilities(self.curve, name="probability_within")(self.calibration(merged))}

    def within(self, merged: Any, interval: int) -> Any:
        """(N, observed) → (N, 1) calibrated probability of a purchase by the end of an interval, for another head."""
        return HazardProbabilities(self.curve)(self.calibration(merged))[:, interval : interval + 1]

    def loss(self, target: Any, raw: Any) -> Any:
        exposure = ops.expand_dims(target[:, : self.size], 1)
        event = ops.expand_dims(target[:, self.size :], 1)
        hazard = exposure * ops.exp(ops.clip(raw[:, :, : self.size], MIN_LOG_HAZARD, MAX_LOG_HAZARD))
        # Where no purchase happened, the 1 keeps the logarithm's gradient finite; its value is not used.
        event_loss = -ops.log(-ops.expm1(-ops.where(event > 0, hazard, 1.0)))
        return ops.mean(ops.sum(ops.where(event > 0, event_loss, hazard), axis=2), axis=1)


class SpendHead(Head):
    """Net spend up to the horizon, zero-inflated: P(buys within it) · E[spend | buys].

    The raw values are the logarithm of E[spend | buys] ÷ `scale`, and beside it the hazard head's log hazards, which give the
    probability and get no gradient from here. Target (N, 2): spend, and the share of the horizon that was observed. The loss is
    the Tweedie deviance (power 1.5, Jørgensen 1987), whose minimum is the mean although most values are 0 and a few are large.
    """

    def __init__(self, hazard: HazardHead, interval: int, scale: float, weight: float = 1.0) -> None:
        """`interval` (from 0) ends at the horizon; `scale` is about the mean spend of a buyer, in the shop's currency."""
        super().__init__("spend", weight)
        self._hazard, self._interval, self._scale = hazard, interval, scale
        self.level = Scale(scale, name="spend_level")

    def raw(self, hidden: Any) -> Any:
        return keras.layers.Concatenate(axis=-1)([super().raw(hidden), ops.stop_gradient(self._hazard.raw_values)])

    def merged(self, hidden: Any) -> Any:
        return keras.layers.Concatenate(axis=-1)([super().merged(hidden), self._hazard.merged_values])

    def outputs(self, merged: Any) -> dict[str, Any]:
        within = self._hazard.within(merged[:, 1:], self._interval)
        given = self.level(ops.exp(ops.clip(merged[:, :1], -MAX_LOG_HAZARD, MAX_LOG_HAZARD)))
        return {"expected_spend": Squeeze(name="expected_spend")(within * given)}

    def loss(self, target: Any, raw: Any) -> Any:
        actual = ops.maximum(target[:, :1], 0.0) / self._scale
        given = ops.exp(ops.clip(raw[:, :, 0], -MAX_LOG_HAZARD, MAX_LOG_HAZARD))
        within = probability_within(raw[:, :, 1:], self._hazard.curve)  # calibration is the identity in training
        expected = ops.maximum(within[:, :, self._interval] * given * target[:, 1:], 1e-6)
        p = _TWEEDIE_POWER
        loss = ops.power(expected, 2 - p) / (2 - p) - actual * ops.power(expected, 1 - p) / (1 - p)
        return ops.mean(loss, axis=1)


class OrdersHead(Head):
    """Orders up to the horizon: P(buys within it) · E[orders | buys], where E[orders | buys] = 1 + m · exp(raw value).

    m is `HazardHead.log_more_orders` of each interval (1 without a customer base). So the network learns on windows of any
    length how far off the mixture is, and predicts for the horizon even where no window was that long. Target (N, 2): orders up
    to the end of the last interval that was observed whole, and that interval's number, −1 where there is none. The loss is
    Poisson's.
    """

    def __init__(self, hazard: HazardHead, interval: int, weight: float = 1.0) -> None:
        """`interval` (from 0) ends at the horizon."""
        super().__init__("orders", weight)
        self._hazard, self._interval, self._intervals = hazard, interval, len(hazard.days)

    def raw(self, hidden: Any) -> Any:
        hazard = ops.stop_gradient(self._hazard.raw_values)
        return keras.layers.Concatenate(axis=-1)([self._log_more(super().raw(hidden)), hazard])

    def merged(self, hidden: Any) -> Any:
        return keras.layers.Concatenate(axis=-1)([self._log_more(super().merged(hidden)), self._hazard.merged_values])

    def _log_more(self, learnt: Any) -> Any:
        """(…, 1) → (…, K): logarithm of E[orders | buys] − 1 by interval."""
        prior = self._hazard.log_more_orders
        if prior is None:
            return ops.repeat(learnt, self._intervals, axis=-1)
        return learnt + (ops.expand_dims(prior, 1) if len(learnt.shape) == 3 else prior)

    def outputs(self, merged: Any) -> dict[str, Any]:
        within = self._hazard.within(merged[:, self._intervals :], self._interval)
        log_more = merged[:, self._interval : self._interval + 1]
        return {"expected_orders": Squeeze(name="expected_orders")(within * _one_and_more(log_more))}

    def loss(self, target: Any, raw: Any) -> Any:
        k = self._intervals
        observed = ops.expand_dims(ops.one_hot(ops.cast(target[:, 1], "int32"), k), 1)  # all 0 for −1
        within = ops.sum(probability_within(raw[:, :, k:], self._hazard.curve) * observed, axis=2)
        log_more = ops.sum(raw[:, :, :k] * observed, axis=2)
        expected = ops.maximum(within * _one_and_more(log_more), 1e-6)
        loss = expected - target[:, :1] * ops.log(expected)
        return ops.mean(loss, axis=1) * ops.sum(observed[:, 0], axis=1)


def _one_and_more(log_more: Any) -> Any:
    return 1.0 + ops.exp(ops.clip(log_more, MIN_LOG_HAZARD - 4.0, MAX_LOG_HAZARD + 2.0))


class CategoryHead(Head):
    """Category of the next purchase: target (N, C) 1 for each category of the first basket, all 0 where none was observed.

    The graph's output is `next_category` (N, C), a softmax over the bundle's categories: of a category drawn at random from
    that basket. A direct path leads from the preferred category to each of the C, because an embedding of a few numbers would
    blur the most informative input.
    """

    def __init__(self, categories: int, preferred: int | None = None, codes: int = 0, weight: float = 1.0) -> None:
        """`preferred`: index of the preferred category in the categorical input, which has `codes` codes; None without it."""
        super().__init__("category", weight, size=categories)
        self.calibration = LogitCalibration(name="category_calibration")
        self._preferred, self._codes = preferred, codes

    def connect(self, inputs: dict[str, Any]) -> None:
        if self._preferred is not None:
            code = inputs[CATEGORICAL][:, self._preferred]
            table = keras.layers.Embedding(self._codes, self.size, embeddings_initializer="zeros", name="category_shortcut")
            self.wide = table(code)

    def outputs(self, merged: Any) -> dict[str, Any]:
        return {"next_category": keras.layers.Softmax(name="next_category")(self.calibration(merged))}

    def loss(self, target: Any, raw: Any) -> Any:
        losses = -ops.sum(ops.expand_dims(target, 1) * ops.log_softmax(raw, axis=-1), axis=2)
        return ops.mean(losses, axis=1)
