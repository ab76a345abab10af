"""Heads of the tabular network: a head turns the ensemble's hidden features into outputs and defines their loss.

In training a head gives *raw* values (N, members, outputs): one prediction for each member, each with its own loss, which
keeps the members different. The *merged* raw values (N, outputs) are their mean; the graph's outputs come from them.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from training.networks.layers import EnsembleDense, EnsembleMean, LogitCalibration, Squeeze


class Head:
    """A head with linear raw values. A subclass defines `outputs` and `loss`.

    name     of its target in `Examples.targets`
    weight   of its loss in the sum
    size     number of raw values
    wide     (N, size) added to every member's raw values, if `connect` sets it: a direct path from the inputs (the wide part
             of Wide & Deep, Cheng et al. 2016)
    dense    the layer of the members' own weights
    """

    wide: Any = None

    def __init__(self, name: str, weight: float = 1.0, size: int = 1) -> None:
        self.name, self.weight, self.size = name, weight, size
        self.dense = EnsembleDense(size, name=f"{name}_members")

    def connect(self, inputs: dict[str, Any]) -> None:
        """Build direct paths from the network's inputs by name; called before `raw`."""

    def raw(self, hidden: Any) -> Any:
        """(N, members, units) → (N, members, size)."""
        raw = self.dense(hidden)
        return raw if self.wide is None else raw + ops.expand_dims(self.wide, 1)

    def merged(self, hidden: Any) -> Any:
        """(N, members, units) → (N, size), the mean over the members of `raw`; called after it."""
        merged = EnsembleMean(self.dense, name=f"{self.name}_merged")(hidden)
        return merged if self.wide is None else merged + self.wide

    def outputs(self, merged: Any) -> dict[str, Any]:
        """Merged raw values → the graph's outputs by name, each from a layer of that name."""
        raise NotImplementedError

    def loss(self, target: Any, raw: Any) -> Any:
        """(N,) mean over the members of each row's loss. `target` (N,) or (N, …), `raw` (N, members, size)."""
        raise NotImplementedError


class BinaryHead(Head):
    """P(label = 1): one logit; target (N,) of 0 and 1. The output is (N,), calibrated by `calibration`."""

    def __init__(self, name: str = "label", output: str = "probability", weight: float = 1.0) -> None:
        super().__init__(name, weight)
        self.output = output
        self.calibration = LogitCalibration(name=f"{name}_calibration")

    def outputs(self, merged: Any) -> dict[str, Any]:
        probability = keras.layers.Activation("sigmoid")(self.calibration(merged))
        return {self.output: Squeeze(name=self.output)(probability)}

    def loss(self, target: Any, raw: Any) -> Any:
        losses = cross_entropy(ops.reshape(target, (-1, 1)), raw[:, :, 0])  # (N, 1) and (N, members)
        return ops.mean(losses, axis=1)


def cross_entropy(target: Any, logits: Any) -> Any:
    """−log of the probability given to `target` (0, 1 or between), element by element and without overflow."""
    return ops.maximum(logits, 0.0) - logits * target + ops.log1p(ops.exp(-ops.abs(logits)))
