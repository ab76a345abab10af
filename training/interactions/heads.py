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
from training.networks.tabular import CATEGORICAL

_TWEEDIE_POWER: Final = 1.5


class HazardHead(MeanHead):
    """When the user buys next: raw values are log risks η of the intervals that training could see.

    Target (N, 2 · observed): the share of each interval that was seen, then 1 in the interval of the purchase. The graph's
    output is `probability_within` (N, K), of buying within the end of each interval. Intervals behind the observed ones
    go on with the daily risk of the last of them.
    """

    def __init__(self, days: Sequence[int], observed: int | None = None, never: float = 0.0, weight: float = 1.0) -> None:
        """`days`: ends of the K intervals, ascending; `observed`: how many of them, from the first, are learnt (all).

        never   share that leaves for no reason that shows: the probabilities stay below 1 − never
        """
        super().__init__("purchase", weight)
        self.size = observed or len(days)
        self.calibration = LogitCalibration(name="purchase_calibration")
        lengths = np.diff([0, *days])
        self.curve = Curve(np.log(lengths[self.size :] / lengths[self.size - 1]).astype(np.float32), never)
        self.raw_values: Any = None
        self.merged_values: Any = None

    def raw(self, hidden: Any) -> Any:
        self.raw_values = super().raw(hidden)
        return self.raw_values

    def merged(self, hidden: Any) -> Any:
        self.merged_values = super().merged(hidden)
        return self.merged_values

    def outputs(self, merged: Any) -> dict[str, Any]:
        return {"probability_within": Within(self.curve, name="probability_within")(self.calibration(merged))}

    def within(self, merged: Any) -> Any:
        """(N, observed) → (N, K) probabilities, for another head's outputs."""
        return Within(self.curve)(self.calibration(merged))

    def loss(self, target: Any, raw: Any) -> Any:
        exposure = ops.expand_dims(target[:, : self.size], 1)
        event = ops.expand_dims(target[:, self.size :], 1)
        risk = exposure * ops.exp(ops.clip(raw, LOWEST_LOG_RISK, HIGHEST_LOG_RISK))
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
        self._shortcut: Any = None

    def connect(self, inputs: dict[str, Any]) -> None:
        if self._preferred is not None:
            code = inputs[CATEGORICAL][:, self._preferred]
            table = keras.layers.Embedding(self._codes, self.size, embeddings_initializer="zeros", name="category_shortcut")
            self._shortcut = table(code)

    def raw(self, hidden: Any) -> Any:
        raw = super().raw(hidden)
        return raw if self._shortcut is None else raw + ops.expand_dims(self._shortcut, 1)

    def merged(self, hidden: Any) -> Any:
        merged = super().merged(hidden)
        return merged if self._shortcut is None else merged + self._shortcut

    def outputs(self, merged: Any) -> dict[str, Any]:
        return {"next_category": keras.layers.Softmax(name="next_category")(self.calibration(merged))}

    def loss(self, target: Any, raw: Any) -> Any:
        losses = -ops.sum(ops.expand_dims(target, 1) * ops.log_softmax(raw, axis=-1), axis=2)
        return ops.mean(losses, axis=1)
