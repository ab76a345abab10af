"""Explicit products of columns: the value of an ad often depends on a pair of its word and the user's.

A cross network beside the body of a tabular network: the columns' features x₀ pass layers x ← x₀ ⊙ (U V x + b) + x, so that k
layers hold products of up to k + 1 columns with few weights (DCN-V2 with low-rank matrices, Wang et al. 2021, "DCN V2: improved
deep & cross network"). It has embeddings of its own, which start near 0, where a product of two of them is negligible. Rare
codes are shrunk towards 0; otherwise a table of many words is memorised within a few epochs.
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
from training.networks.layers import NumericEncoding
from training.networks.statistics import TableStatistics

MIN_ROWS: Final = 20_000
FEW_CODES: Final = 50  # codes of a column, up to which the network's body learns pairs without crosses


@dataclass(frozen=True, slots=True)
class CrossConfig:
    """Number of cross `layers`, their `rank`, the size of a category's `embedding`, and the `dropout` rate."""

    layers: int = 2
    rank: int = 32
    embedding: int = 8
    dropout: float = 0.3


def supports_crosses(statistics: TableStatistics, rows: int) -> bool:
    """Whether a table has the rows, and a column with so many codes, that crosses improve on the body alone."""
    return rows >= MIN_ROWS and any(len(counts) > FEW_CODES for counts in statistics.category_counts)


def cross_network(inputs: Mapping[str, Any], statistics: TableStatistics, outputs: int, config: CrossConfig) -> Any:
    """(N, outputs) from a network's inputs; 0 before training."""
    parts = []
    if "numeric" in inputs:
        parts.append(NumericEncoding(statistics, name="cross_numbers")(inputs["numeric"]))
    for column, counts in enumerate(statistics.category_counts):
        embedding = ShrunkEmbedding(counts, config.embedding, name=f"cross_embedding_{column}")
        parts.append(embedding(inputs["categorical"][:, column]))
    first = keras.layers.Concatenate(name="cross_features")(parts) if len(parts) > 1 else parts[0]
    crossed = first
    for layer in range(config.layers):
        crossed = CrossLayer(config.rank, name=f"cross_{layer}")([first, crossed])
        crossed = keras.layers.Dropout(config.dropout, name=f"cross_dropout_{layer}")(crossed)
    return keras.layers.Dense(outputs, kernel_initializer="zeros", name="cross_outputs")(crossed)


class CrossedBinaryHead(BinaryHead):
    """A `BinaryHead` with a cross network as its wide part, where the table supports it."""

    def __init__(self, name: str, statistics: TableStatistics, rows: int) -> None:
        super().__init__(name)
        self._statistics, self._crossed = statistics, supports_crosses(statistics, rows)

    def connect(self, inputs: dict[str, Any]) -> None:
        if self._crossed:
            self.wide = cross_network(inputs, self._statistics, self.size, CrossConfig())


class ShrunkEmbedding(keras.layers.Layer):
    """Codes (N,) → (N, size): an embedding of which a code with n training rows keeps n / (n + `SHRINKAGE_ROWS`)."""

    SHRINKAGE_ROWS = 50.0

    def __init__(self, counts: NDArray[np.int64], size: int, **options: Any) -> None:
        super().__init__(**options)
        self._kept = (counts / (counts + self.SHRINKAGE_ROWS)).astype(np.float32)[:, None]
        self._size = size

    def build(self, shape: Any) -> None:
        start = keras.initializers.RandomNormal(stddev=0.05)
        self.table = self.add_weight(name="embedding", shape=(len(self._kept), self._size), initializer=start)

    def call(self, codes: Any) -> Any:
        return ops.take(self.table * self._kept, codes, axis=0)


class CrossLayer(keras.layers.Layer):
    """[x₀, x], both (N, d) → x₀ ⊙ (U V x + b) + x."""

    def __init__(self, rank: int, **options: Any) -> None:
        super().__init__(**options)
        self._rank = rank

    def build(self, shapes: Sequence[Any]) -> None:
        width = int(shapes[0][-1])
        rank = min(self._rank, width)
        self.down = self.add_weight(name="into", shape=(width, rank), initializer="glorot_uniform")
        self.up = self.add_weight(name="out", shape=(rank, width), initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=(width,), initializer="zeros")

    def call(self, features: Sequence[Any]) -> Any:
        first, crossed = features
        return first * (ops.matmul(ops.matmul(crossed, self.down), self.up) + self.bias) + crossed
