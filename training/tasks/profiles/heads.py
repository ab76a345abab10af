"""What the network answers about a customer: when they buy next, how much they spend, what they buy first.

The time to the next purchase is a hazard over intervals (`training.networks.hazard`): what was seen of an interval teaches,
even where the window of labels ends inside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import keras
import numpy as np
from keras import ops

from training.networks.hazard import HIGHEST_LOG_RISK, LOWEST_LOG_RISK, Curve, Scaled, Within, probability_within
from training.networks.heads import MeanHead
from training.networks.layers import LogitCalibration, Squeeze
from training.networks.lifetimes import Lifetimes, ParetoNbdMixture
from training.networks.tabular import CATEGORICAL, NUMERIC

_TWEEDIE_POWER: Final = 1.5


class HazardHead(MeanHead):
    """When the user buys next: raw values are log risks η of the intervals that training could see.

    Target (N, 2 · observed): the share of each interval that was seen, then 1 in the interval of the purchase. The graph's
    output is `probability_within` (N, K), of buying within the end of each interval. Intervals behind the observed ones
    go on with the daily risk of the last of them.
    """

    def __init__(
        self, days: Sequence[int], observed: int | None = None, never: float = 0.0, weight: float = 1.0,
        lifetimes: Lifetimes | None = None, trusted: bool = True,
    ) -> None:  # fmt: skip
        """`days`: ends of the K intervals, ascending; `observed`: how many of them, from the first, are learnt (all).

        never       share that leaves for no reason that shows: the probabilities stay below 1 − never
        lifetimes   what is known of a customer before the network speaks: intervals behind the observed ones go on with as
                    much more risk as that says
        trusted     the network then learns how far off that is; else it learns all by itself
        """
        super().__init__("purchase", weight)
        self.size = observed or len(days)
        self.days = tuple(days)
        self.calibration = LogitCalibration(name="purchase_calibration")
        self._lifetimes, self._trusted = lifetimes, trusted
        lengths = np.diff([0, *days])
        longer = np.log(lengths[self.size :] / lengths[self.size - 1]).astype(np.float32)
        told = len(longer) if lifetimes else 0
        self.curve = Curve(longer[: len(longer) - told], never, told)
        self._known: Any = None  # (N, 2K) of `ParetoNbdMixture`
        self.raw_values: Any = None
        self.merged_values: Any = None

    def connect(self, inputs: dict[str, Any]) -> None:
        if self._lifetimes is not None:
            self._known = ParetoNbdMixture(self._lifetimes, self.days, self.size, name="lifetimes")(inputs[NUMERIC])

    @property
    def more_orders(self) -> Any:
        """(N, K) logarithm of E[orders up to the end of each interval | at least one] − 1, None where nothing is known."""
        return None if self._known is None else self._known[:, len(self.days) :]

    def raw(self, hidden: Any) -> Any:
        self.raw_values = self._told(super().raw(hidden))
        return self.raw_values

    def merged(self, hidden: Any) -> Any:
        self.merged_values = self._told(super().merged(hidden))
        return self.merged_values

    def _told(self, learnt: Any) -> Any:
        """What the network says (N, observed), or (N, members, observed), on top of what is known."""
        if self._known is None:
            return learnt
        first, longer = self._known[:, : self.size], self._known[:, self.size : len(self.days)]
        if len(learnt.shape) == 3:
            first, longer = ops.expand_dims(first, 1), ops.zeros_like(learnt[:, :, :1]) + ops.expand_dims(longer, 1)
        learnt = learnt + first if self._trusted else learnt
        return ops.concatenate([learnt, longer], axis=-1) if self.curve.told else learnt

    def settle(self, slope: float, intercept: float) -> None:
        """Set the calibration: of the learnt intervals' log risks; further ones follow the last of them."""
        move = np.arange(self.size + self.curve.told) < self.size
        self.calibration.settle(np.where(move, slope, 1.0), np.where(move, intercept, 0.0))

    def outputs(self, merged: Any) -> dict[str, Any]:
        return {"probability_within": Within(self.curve, name="probability_within")(self.calibration(merged))}

    def within(self, merged: Any) -> Any:
        """(N, observed) → (N, K) probabilities, for another head's outputs."""
        return Within(self.curve)(self.calibration(merged))

    def loss(self, target: Any, raw: Any) -> Any:
        exposure = ops.expand_dims(target[:, : self.size], 1)
        event = ops.expand_dims(target[:, self.size :], 1)
        risk = exposure * ops.exp(ops.clip(raw[:, :, : self.size], LOWEST_LOG_RISK, HIGHEST_LOG_RISK))
        # Where nothing happened the 1 keeps the logarithm's gradient finite; its value is not used.
        happened = -ops.log(-ops.expm1(-ops.where(event > 0, risk, 1.0)))
        return ops.mean(ops.sum(ops.where(event > 0, happened, risk), axis=2), axis=1)


class SpendHead(MeanHead):
    """Net spend up to the horizon, zero-inflated: P(buys within it) · E[spend | buys].

    The raw values are the logarithm of E[spend | buys] ÷ `scale`, and beside it the hazard head's log risks, which give the
    probability and are not trained from here. Target (N, 2): spend, and the share of the horizon that was seen. The loss is
    the Tweedie deviance (power 1.5), whose minimum is the mean although most of it is zeros and a few are large.
    """

    def __init__(self, hazard: HazardHead, interval: int, scale: float, weight: float = 1.0) -> None:
        """`interval` (from 0) ends at the horizon; `scale` is about the mean spend of a buyer, in the shop's currency."""
        super().__init__("spend", weight)
        self._hazard, self._interval, self._scale = hazard, interval, scale
        self.level = Scaled(scale, name="spend_level")

    def raw(self, hidden: Any) -> Any:
        return keras.layers.Concatenate(axis=-1)([super().raw(hidden), ops.stop_gradient(self._hazard.raw_values)])

    def merged(self, hidden: Any) -> Any:
        return keras.layers.Concatenate(axis=-1)([super().merged(hidden), self._hazard.merged_values])

    def outputs(self, merged: Any) -> dict[str, Any]:
        within = self._hazard.within(merged[:, 1:])[:, self._interval : self._interval + 1]
        given = self.level(ops.exp(ops.clip(merged[:, :1], -HIGHEST_LOG_RISK, HIGHEST_LOG_RISK)))
        return {"expected_spend": Squeeze(name="expected_spend")(within * given)}

    def loss(self, target: Any, raw: Any) -> Any:
        actual = ops.maximum(target[:, :1], 0.0) / self._scale
        given = ops.exp(ops.clip(raw[:, :, 0], -HIGHEST_LOG_RISK, HIGHEST_LOG_RISK))
        within = probability_within(raw[:, :, 1:], self._hazard.curve)  # calibration is the identity while it trains
        expected = ops.maximum(within[:, :, self._interval] * given * target[:, 1:], 1e-6)
        p = _TWEEDIE_POWER
        loss = ops.power(expected, 2 - p) / (2 - p) - actual * ops.power(expected, 1 - p) / (1 - p)
        return ops.mean(loss, axis=1)


class OrdersHead(MeanHead):
    """Orders up to the horizon: P(buys within it) · E[orders | buys], where E[orders | buys] = 1 + m · exp(raw value).

    m is what `HazardHead.more_orders` says of each interval (1 where nothing is known), so that the network learns on windows
    of any length how far off that is, and answers for the horizon even where no window was as long. Target (N, 2): orders up
    to the end of the last interval that was seen whole, and that interval's number, −1 where there is none. The loss is
    Poisson's.
    """

    def __init__(self, hazard: HazardHead, interval: int, weight: float = 1.0) -> None:
        """`interval` (from 0) ends at the horizon."""
        super().__init__("orders", weight)
        self._hazard, self._interval, self._intervals = hazard, interval, len(hazard.days)

    def raw(self, hidden: Any) -> Any:
        known = ops.stop_gradient(self._hazard.raw_values)
        return keras.layers.Concatenate(axis=-1)([self._with_more(super().raw(hidden)), known])

    def merged(self, hidden: Any) -> Any:
        return keras.layers.Concatenate(axis=-1)([self._with_more(super().merged(hidden)), self._hazard.merged_values])

    def _with_more(self, learnt: Any) -> Any:
        """(…, 1) → (…, K): logarithm of E[orders | buys] − 1 by interval."""
        more = self._hazard.more_orders
        if more is None:
            return ops.repeat(learnt, self._intervals, axis=-1)
        return learnt + (ops.expand_dims(more, 1) if len(learnt.shape) == 3 else more)

    def outputs(self, merged: Any) -> dict[str, Any]:
        k = self._intervals
        within = self._hazard.within(merged[:, k:])[:, self._interval : self._interval + 1]
        more = merged[:, self._interval : self._interval + 1]
        return {"expected_orders": Squeeze(name="expected_orders")(within * _one_and(more))}

    def loss(self, target: Any, raw: Any) -> Any:
        k = self._intervals
        seen = ops.expand_dims(ops.one_hot(ops.cast(target[:, 1], "int32"), k), 1)  # all 0 for −1
        within = ops.sum(probability_within(raw[:, :, k:], self._hazard.curve) * seen, axis=2)
        more = ops.sum(raw[:, :, :k] * seen, axis=2)
        expected = ops.maximum(within * _one_and(more), 1e-6)
        loss = expected - target[:, :1] * ops.log(expected)
        return ops.mean(loss, axis=1) * ops.sum(seen[:, 0], axis=1)


def _one_and(log_more: Any) -> Any:
    return 1.0 + ops.exp(ops.clip(log_more, LOWEST_LOG_RISK - 4.0, HIGHEST_LOG_RISK + 2.0))


class CategoryHead(MeanHead):
    """Which category is bought next: target (N, C) 1 for each category of the first basket, all 0 where none was seen.

    The graph's output is `next_category` (N, C), a softmax over the bundle's categories: of a category of that basket,
    drawn at random. Beside the hidden features a short way leads from the preferred category to each of the C: an
    embedding of a few numbers would blur the one thing that says most.
    """

    def __init__(self, categories: int, preferred: int | None = None, codes: int = 0, weight: float = 1.0) -> None:
        """`preferred`: place of the preferred category in the categorical input, which has `codes` codes; None without it."""
        super().__init__("category", weight)
        self.size = categories
        self.calibration = LogitCalibration(name="category_calibration")
        self._preferred, self._codes = preferred, codes

    def connect(self, inputs: dict[str, Any]) -> None:
        if self._preferred is not None:
            code = inputs[CATEGORICAL][:, self._preferred]
            table = keras.layers.Embedding(self._codes, self.size, embeddings_initializer="zeros", name="category_shortcut")
            self.beside = table(code)

    def outputs(self, merged: Any) -> dict[str, Any]:
        return {"next_category": keras.layers.Softmax(name="next_category")(self.calibration(merged))}

    def loss(self, target: Any, raw: Any) -> Any:
        losses = -ops.sum(ops.expand_dims(target, 1) * ops.log_softmax(raw, axis=-1), axis=2)
        return ops.mean(losses, axis=1)
