"""What a tabular network answers: a head turns the hidden features of its members into outputs and has their loss.

A head's *raw* values are (N, members, outputs) in training, one prediction for each member, each with its own loss: that
is what keeps the members different. The *merged* raw values (N, outputs) are their mean; the graph's outputs come from it.
"""

from __future__ import annotations

from typing import Any, Protocol

import keras
from keras import ops

from training.networks.layers import LogitCalibration, MeanOfMembers, MemberHead, Squeeze


class Head(Protocol):
    """A head of the tabular network.

    name     of its target in `Examples.targets`
    weight   of its loss in the sum
    """

    name: str
    weight: float

    def connect(self, inputs: dict[str, Any]) -> None:
        """The network's inputs by name, before `raw`: for a head that has a shorter way from one of them."""
        ...

    def raw(self, hidden: Any) -> Any:
        """(N, members, units) → (N, members, outputs)."""
        ...

    def merged(self, hidden: Any) -> Any:
        """(N, members, units) → (N, outputs), the mean over the members of `raw`; called after it."""
        ...

    def outputs(self, merged: Any) -> dict[str, Any]:
        """Merged raw values → the graph's outputs by name, each from a layer of that name."""
        ...

    def loss(self, target: Any, raw: Any) -> Any:
        """(N,): mean over the members of each row's loss. `target` (N,) or (N, …), `raw` (N, members, outputs)."""
        ...


class MeanHead:
    """What heads with linear raw values share; a subclass gives `size`, `outputs` and `loss`.

    A head with a shorter way from the inputs sets `beside` (N, size) in `connect`: it is added to what every member says.
    """

    size = 1
    beside: Any = None

    def __init__(self, name: str, weight: float = 1.0) -> None:
        self.name, self.weight = name, weight
        self._layer: MemberHead | None = None

    def connect(self, inputs: dict[str, Any]) -> None:
        """Most heads look at the hidden features alone."""

    def raw(self, hidden: Any) -> Any:
        self._layer = MemberHead(self.size, name=f"{self.name}_members")
        raw = self._layer(hidden)
        return raw if self.beside is None else raw + ops.expand_dims(self.beside, 1)

    def merged(self, hidden: Any) -> Any:
        if self._layer is None:
            raise ValueError("call raw() before merged(): they share their weights")
        merged = MeanOfMembers(self._layer, name=f"{self.name}_merged")(hidden)
        return merged if self.beside is None else merged + self.beside


class BinaryHead(MeanHead):
    """P(label = 1): one logit; target (N,) of 0 and 1. The output is (N,), calibrated by `calibration`."""

    def __init__(self, name: str = "label", output: str = "probability", weight: float = 1.0) -> None:
        super().__init__(name, weight)
        self.output = output
        self.calibration = LogitCalibration(name=f"{name}_calibration")

    def outputs(self, merged: Any) -> dict[str, Any]:
        probability = keras.layers.Activation("sigmoid")(self.calibration(merged))
        return {self.output: Squeeze(name=self.output)(probability)}

    def loss(self, target: Any, raw: Any) -> Any:
        # One target for every member: (N,) → (N, 1) beside (N, members).
        losses = cross_entropy(ops.reshape(target, (-1, 1)), raw[:, :, 0])
        return ops.mean(losses, axis=1)


def cross_entropy(target: Any, logits: Any) -> Any:
    """−log of the probability given to `target` (0, 1 or between), element by element and without overflow."""
    return ops.maximum(logits, 0.0) - logits * target + ops.log1p(ops.exp(-ops.abs(logits)))
