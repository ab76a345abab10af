"""Heads of the ad network: clicks and conversions as two tasks over all impressions, with the bias of positions.

P(click) = P(examined | position) × P(click | examined); P(conversion) = P(click) × P(conversion | click). Both are trained on
all impressions, not on the clicked ones alone, which are a biased sample of what will be shown (ESMM, Ma et al. 2018).
P(examined | position) is one number a position, at most 1 and 1 for the first one (PAL, Guo et al. 2019). It explains the
clicks that a low position costs, and is not part of the graph.
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
_MIN_LOG_PROBABILITY: Final = -16.0  # 1e-7


@dataclass(frozen=True)
class AdTasks:
    """The outputs that a log can train.

    click, conversion   whether the log has such outcomes
    untreated           whether it has a control group: conversions without the ad
    positions           number of positions with an examination probability, 0 where the log has none
    first               (positions,) whether it is the first of its placement, which is always examined
    """

    click: bool
    conversion: bool
    untreated: bool = False
    positions: int = 0
    first: tuple[bool, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the graph's outputs, in the order of the raw values."""
        named = ((CLICK, self.click), (CONVERSION, self.conversion), (UNTREATED, self.untreated))
        return tuple(name for name, trained in named if trained)


class AdHead(Head):
    """Target (N, 4): click, conversion, code of the position (−1 where not known), whether the ad was shown.

    Raw values: one logit an output of `AdTasks.outputs`, then log P(examined) of each position, the same in every row. The
    graph's outputs are ``click`` P(click | examined), ``conversion`` P(conversion | click) (given examined, for logs without
    clicks) and ``untreated`` P(conversion | not shown), (N,) each.
    """

    def __init__(self, tasks: AdTasks, statistics: TableStatistics | None = None, crossed: CrossConfig | None = None) -> None:
        """`crossed`: a cross network is added to the members' logits, by the `statistics` of the table."""
        super().__init__("ads", size=len(tasks.outputs))
        self.tasks = tasks
        self._statistics, self._crossed = statistics, crossed
        self.calibration = LogitCalibration(name="ads_calibration")
        self._examination = Examination(tasks.first, name="examination") if tasks.positions else None

    def connect(self, inputs: dict[str, Any]) -> None:
        if self._crossed is not None and self._statistics is not None:
            self.wide = cross_network(inputs, self._statistics, self.size, self._crossed)

    def raw(self, hidden: Any) -> Any:
        logits = super().raw(hidden)
        return logits if self._examination is None else self._examination(logits)

    def merged(self, hidden: Any) -> Any:
        logits = super().merged(hidden)
        return logits if self._examination is None else self._examination(logits)

    def set_bias(self, logits: Sequence[float]) -> None:
        """Start from these logits, one an output, so that no epochs are spent on the base rates of rare outcomes."""
        self.dense.bias.assign(np.broadcast_to(np.asarray(logits, np.float32), self.dense.bias.shape))

    def outputs(self, merged: Any) -> dict[str, Any]:
        probability = keras.layers.Activation("sigmoid")(self.calibration(merged[:, : self.size]))
        return {name: Squeeze(name=name)(probability[:, index : index + 1]) for index, name in enumerate(self.tasks.outputs)}

    def loss(self, target: Any, raw: Any) -> Any:
        click, conversion, position, shown = (ops.expand_dims(target[:, column], 1) for column in range(4))
        log_examined = 0.0
        if self._examination is not None:
            one_hot = ops.one_hot(ops.cast(position[:, 0], "int32"), self.tasks.positions)  # a row of zeros for −1
            log_examined = ops.sum(raw[:, :, self.size :] * ops.expand_dims(one_hot, 1), axis=2)
        logits = {name: raw[:, :, column] for column, name in enumerate(self.tasks.outputs)}
        total = 0.0
        log_click = log_examined
        if self.tasks.click:
            log_click = log_examined + ops.log_sigmoid(logits[CLICK])
            total += bernoulli(click, log_click)
        if self.tasks.conversion:
            total += bernoulli(conversion, log_click + ops.log_sigmoid(logits[CONVERSION]))
        total = total * shown
        if self.tasks.untreated:
            total += (1.0 - shown) * bernoulli(conversion, ops.log_sigmoid(logits[UNTREATED]))
        return ops.mean(total, axis=1)

    def examination(self) -> np.ndarray[Any, Any]:
        """(positions,) learned P(examined)."""
        return np.zeros(0) if self._examination is None else np.exp(self._examination.log_probability())


class Examination(keras.layers.Layer):  # type: ignore[misc]  # keras comes without types
    """Values (…, d) → (…, d + positions): log P(examined) of each position is appended."""

    def __init__(self, first: Sequence[bool], **options: Any) -> None:
        super().__init__(**options)
        self._first = np.array(first, dtype=np.float32)

    def build(self, shape: Any) -> None:
        self.unexamined = self.add_weight(name="bias", shape=self._first.shape, initializer="zeros")  # P = ½ at the start

    def call(self, values: Any) -> Any:
        log_examined = -ops.softplus(self.unexamined) * (1.0 - self._first)
        return ops.concatenate([values, ops.zeros_like(values[..., :1]) + log_examined], axis=-1)

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (*shape[:-1], int(shape[-1] or 0) + len(self._first))

    def log_probability(self) -> np.ndarray[Any, Any]:
        """(positions,)"""
        return np.asarray(-np.logaddexp(0.0, self.unexamined.numpy()) * (1.0 - self._first))


def bernoulli(target: Any, log_probability: Any) -> Any:
    """Log loss of `target` (0 or 1), from the logarithm of the probability of 1."""
    log_p = ops.clip(log_probability, _MIN_LOG_PROBABILITY, -1e-7)
    return -(target * log_p + (1.0 - target) * ops.log1p(-ops.exp(log_p)))
