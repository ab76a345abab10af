"""Clicks and conversions as two tasks over all impressions, with what the place adds.

P(click) = P(seen | place) × P(click | seen); P(conversion) = P(click) × P(conversion | click), learnt from all impressions and
not from the clicked ones alone, which are no fair sample of what will be shown (ESMM, Ma et al. 2018). P(seen | place) is a
number a place, learnt beside (PAL, Guo et al. 2019), at most 1 and 1 for the first position: it explains clicks away that a
bad place cost, and stays out of the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
from keras import ops

from training.networks.crosses import CrossConfig, cross_network
from training.networks.heads import Head
from training.networks.layers import LogitCalibration, Squeeze
from training.networks.statistics import TableStatistics

CLICK: Final = "click"
CONVERSION: Final = "conversion"
UNTREATED: Final = "untreated"
# Columns of the target.
PLACE_COLUMN: Final = "place"
SHOWN_COLUMN: Final = "shown"
_SMALLEST: Final = -16.0  # logarithm of a probability: 1e-7


@dataclass(frozen=True)
class AdTasks:
    """What the log can teach.

    click, conversion   whether it says so
    untreated           whether it has impressions that were held back: what converts without the ad
    places              number of places, 0 where positions are not known
    first               (places,) whether a place is the first position: always seen
    """

    click: bool
    conversion: bool
    untreated: bool = False
    places: int = 0
    first: tuple[bool, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the graph's outputs, in the order of the raw values."""
        named = ((CLICK, self.click), (CONVERSION, self.conversion), (UNTREATED, self.untreated))
        return tuple(name for name, there in named if there)


class AdHead(Head):
    """Target (N, 4): click, conversion, code of the place (−1 where not known), whether the ad was shown.

    Raw values: one logit an output of `Tasks.outputs`, then one number a place, the same in every row. The graph answers
    ``click`` P(click | seen), ``conversion`` P(conversion | click) (given seen, where there are no clicks) and ``untreated``
    P(conversion | not shown), (N,) each.
    """

    def __init__(self, tasks: AdTasks, statistics: TableStatistics | None = None, crossed: CrossConfig | None = None) -> None:
        """`crossed`: with products of columns beside what the members say; `statistics` of the table then."""
        super().__init__("ads", size=len(tasks.outputs))
        self.tasks = tasks
        self._statistics, self._crossed = statistics, crossed
        self.calibration = LogitCalibration(name="ads_calibration")
        self._places = Places(tasks.first, name="places") if tasks.places else None

    def connect(self, inputs: dict[str, Any]) -> None:
        if self._crossed is not None and self._statistics is not None:
            self.wide = cross_network(inputs, self._statistics, self.size, self._crossed)

    def raw(self, hidden: Any) -> Any:
        logits = super().raw(hidden)
        return logits if self._places is None else self._places(logits)

    def merged(self, hidden: Any) -> Any:
        logits = super().merged(hidden)
        return logits if self._places is None else self._places(logits)

    def begin(self, logits: Sequence[float]) -> None:
        """Start from these logits, one an output: rare clicks would else cost epochs of learning that they are rare."""
        self.dense.bias.assign(np.broadcast_to(np.asarray(logits, np.float32), self.dense.bias.shape))

    def outputs(self, merged: Any) -> dict[str, Any]:
        probability = keras.layers.Activation("sigmoid")(self.calibration(merged[:, : self.size]))
        return {name: Squeeze(name=name)(probability[:, place : place + 1]) for place, name in enumerate(self.tasks.outputs)}

    def loss(self, target: Any, raw: Any) -> Any:
        click, conversion, place, shown = (ops.expand_dims(target[:, column], 1) for column in range(4))
        log_seen = 0.0
        if self._places is not None:
            known = ops.one_hot(ops.cast(place[:, 0], "int32"), self.tasks.places)  # a row of zeros for −1
            log_seen = ops.sum(raw[:, :, self.size :] * ops.expand_dims(known, 1), axis=2)
        logits = {name: raw[:, :, column] for column, name in enumerate(self.tasks.outputs)}
        total = 0.0
        log_click = log_seen
        if self.tasks.click:
            log_click = log_seen + ops.log_sigmoid(logits[CLICK])
            total += bernoulli(click, log_click)
        if self.tasks.conversion:
            total += bernoulli(conversion, log_click + ops.log_sigmoid(logits[CONVERSION]))
        total = total * shown
        if self.tasks.untreated:
            total += (1.0 - shown) * bernoulli(conversion, ops.log_sigmoid(logits[UNTREATED]))
        return ops.mean(total, axis=1)

    def seen(self) -> np.ndarray[Any, Any]:
        """(places,) P(seen) as learnt."""
        return np.exp(self._places.values()) if self._places is not None else np.zeros(0)


class Places(keras.layers.Layer):  # type: ignore[misc]  # keras comes without types
    """Values (…, d) → (…, d + places): the logarithm of P(seen) of each place behind them."""

    def __init__(self, first: Sequence[bool], **options: Any) -> None:
        super().__init__(**options)
        self._first = np.array(first, dtype=np.float32)

    def build(self, shape: Any) -> None:
        # Half seen, to begin with.
        self.unseen = self.add_weight(name="bias", shape=self._first.shape, initializer="zeros")

    def call(self, values: Any) -> Any:
        log_seen = -ops.softplus(self.unseen) * (1.0 - self._first)
        return ops.concatenate([values, ops.zeros_like(values[..., :1]) + log_seen], axis=-1)

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (*shape[:-1], int(shape[-1] or 0) + len(self._first))

    def values(self) -> np.ndarray[Any, Any]:
        """(places,) logarithms."""
        return np.asarray(-np.logaddexp(0.0, self.unseen.numpy()) * (1.0 - self._first))


def bernoulli(target: Any, log_probability: Any) -> Any:
    """−log of the probability given to `target` (0 or 1), from the logarithm of the probability of 1."""
    log_p = ops.clip(log_probability, _SMALLEST, -1e-7)
    return -(target * log_p + (1.0 - target) * ops.log1p(-ops.exp(log_p)))
