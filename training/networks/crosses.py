"""Products of columns, learnt explicitly: what an ad is worth often lies in a pair of its word and the user's.

A short way beside a network's body: the columns' features x₀ go through layers x ← x₀ ⊙ (U V x + b) + x, so that k layers hold
products of up to k + 1 columns, in few numbers (DCN-V2 with low-rank matrices, Wang et al. 2021). Its embeddings are its own:
they begin near 0, where a product of two of them is nothing yet, and what a word says is held back towards 0 by how rarely it
occurs, else a network of many words learns its training rows by heart in a few epochs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from training.networks.heads import BinaryHead
from training.networks.layers import NumericFeatures
from training.networks.statistics import TableStatistics

LEAST_ROWS: Final = 20_000
FEW_WORDS: Final = 50  # codes of a column, up to which the network's body learns pairs by itself


@dataclass(frozen=True, slots=True)
class CrossConfig:
    """layers of products, their `rank`, the size of a category's `embedding`, and how much is left out in training."""

    layers: int = 2
    rank: int = 32
    embedding: int = 8
    dropout: float = 0.3


def worth_crossing(statistics: TableStatistics, rows: int) -> bool:
    """Whether a table has enough rows, and words of which it is not known beforehand what a pair of them means."""
    return rows >= LEAST_ROWS and any(len(counts) > FEW_WORDS for counts in statistics.seen)


def crosses(inputs: Mapping[str, Any], statistics: TableStatistics, outputs: int, config: CrossConfig) -> Any:
    """(N, outputs) from a network's inputs: 0 before anything is learnt."""
    parts = []
    if "numeric" in inputs:
        parts.append(NumericFeatures(statistics, name="cross_numbers")(inputs["numeric"]))
    for column, counts in enumerate(statistics.seen):
        table = HeldBack(counts, config.embedding, name=f"cross_embedding_{column}")
        parts.append(table(inputs["categorical"][:, column]))
    first = keras.layers.Concatenate(name="cross_features")(parts) if len(parts) > 1 else parts[0]
    crossed = first
    for layer in range(config.layers):
        crossed = Cross(config.rank, name=f"cross_{layer}")([first, crossed])
        crossed = keras.layers.Dropout(config.dropout, name=f"cross_dropout_{layer}")(crossed)
    return keras.layers.Dense(outputs, kernel_initializer="zeros", name="cross_outputs")(crossed)


class CrossedBinaryHead(BinaryHead):
    """A `BinaryHead` with crosses beside its members, where the table is worth it."""

    def __init__(self, name: str, statistics: TableStatistics, rows: int) -> None:
        super().__init__(name)
        self._statistics, self._worth = statistics, worth_crossing(statistics, rows)

    def connect(self, inputs: dict[str, Any]) -> None:
        if self._worth:
            self.beside = crosses(inputs, self._statistics, self.size, CrossConfig())


class HeldBack(keras.layers.Layer):
    """Codes (N,) → (N, size): an embedding of which a code that was met n times keeps n / (n + `RARE`)."""

    RARE = 50.0

    def __init__(self, counts: NDArray[np.int64], size: int, **options: Any) -> None:
        super().__init__(**options)
        self._kept = (counts / (counts + self.RARE)).astype(np.float32)[:, None]
        self._size = size

    def build(self, shape: Any) -> None:
        start = keras.initializers.RandomNormal(stddev=0.05)
        self.table = self.add_weight(name="embedding", shape=(len(self._kept), self._size), initializer=start)

    def call(self, codes: Any) -> Any:
        return ops.take(self.table * self._kept, codes, axis=0)

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, int]:
        return shape[0], self._size


class Cross(keras.layers.Layer):
    """[x₀, x], both (N, d) → x₀ ⊙ (U V x + b) + x."""

    def __init__(self, rank: int, **options: Any) -> None:
        super().__init__(**options)
        self._rank = rank

    def build(self, shapes: Sequence[Any]) -> None:
        width = int(shapes[0][-1])
        rank = min(self._rank, width)
        self.into = self.add_weight(name="into", shape=(width, rank), initializer="glorot_uniform")
        self.out = self.add_weight(name="out", shape=(rank, width), initializer="glorot_uniform")
        self.shift = self.add_weight(name="bias", shape=(width,), initializer="zeros")

    def call(self, features: Sequence[Any]) -> Any:
        first, crossed = features
        return first * (ops.matmul(ops.matmul(crossed, self.into), self.out) + self.shift) + crossed

    def compute_output_shape(self, shapes: Sequence[Any]) -> Any:
        return shapes[1]
