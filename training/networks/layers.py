"""Keras layers of the tabular network. Everything here survives the export to ONNX opset 18.

No string lookups, no exact GELU, no dynamic loops: see the remarks in each layer where the choice was made for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from training.networks.statistics import TableStatistics

_SOFT_LIMIT = 3.0  # scaled values bend beyond this many deviations …
_HARD_LIMIT = 1e6  # … and end here, before their square could overflow


class NumericFeatures(keras.layers.Layer):
    """Raw numbers (N, n) with NaN where missing → (N, width): scaled values, indicators of gaps, bins.

    Scaled values: robust scaling and a smooth clip, x / √(1 + (x/3)²) (Holzmüller et al. 2024, RealMLP). Indicators: one
    for each column that had gaps in training. Bins: the piecewise-linear encoding over quantiles (Gorishniy et al. 2022),
    so that the next layer learns any one-column curve. A value outside of the training range counts as its end.
    """

    def __init__(self, statistics: TableStatistics, **options: Any) -> None:
        super().__init__(**options)
        self._fill, self._centre = statistics.fill, statistics.centre
        self._rate = (1.0 / statistics.scale).astype(np.float32)
        self._gaps = np.flatnonzero(statistics.gaps).astype(np.int32)
        self._slope, self._shift, binned = _bins(statistics)
        columns = np.arange(len(statistics.fill), dtype=np.int32)
        self.source = np.concatenate((columns, self._gaps, binned))  # the column that each output comes from

    def call(self, numeric: Any) -> Any:
        missing = ops.isnan(numeric)
        scaled = (ops.where(missing, self._fill, numeric) - self._centre) * self._rate
        scaled = ops.clip(scaled, -_HARD_LIMIT, _HARD_LIMIT)
        parts = [scaled / ops.sqrt(1.0 + ops.square(scaled / _SOFT_LIMIT))]
        if len(self._gaps):
            parts.append(ops.cast(ops.take(missing, self._gaps, axis=1), "float32"))
        if len(self._shift):
            # One product instead of picking columns: a Gather of single columns is the slower way to the same numbers.
            parts.append(ops.clip(ops.matmul(scaled, self._slope) + self._shift, 0.0, 1.0))
        return ops.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, int]:
        return shape[0], len(self.source)


def _bins(statistics: TableStatistics) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    """Slope (columns, bins), shift (bins,) and each bin's column: a bin is clip(scaled · slope + shift, 0, 1)."""
    scaled = [
        (edges.astype(np.float64) - float(centre)) / float(scale)
        for edges, centre, scale in zip(statistics.edges, statistics.centre, statistics.scale, strict=True)
    ]
    column = np.repeat(np.arange(len(scaled), dtype=np.int32), [max(0, len(edges) - 1) for edges in scaled])
    steps = np.concatenate([np.diff(edges) for edges in scaled]) if scaled else np.zeros(0)
    starts = np.concatenate([edges[:-1] for edges in scaled]) if scaled else np.zeros(0)
    slope = np.zeros((len(scaled), len(column)), np.float32)
    slope[column, np.arange(len(column))] = 1.0 / steps
    return slope, (-starts / steps).astype(np.float32), column


class CategoryEmbeddings(keras.layers.Layer):
    """Codes (N, m) → (N, width): one-hot where a column has few codes, else a small embedding.

    What a code says is held back towards the mean of its column by how rarely it occurs: with n rows it keeps n / (n + 20)
    of its own. So rare words are not learnt by heart, and a code that training never met (an unknown word, an empty bucket)
    is the mean. Columns of one size share a table, so that the graph has one Gather a size and not one a column; what is
    held back is computed when the graph is exported.
    """

    ONE_HOT = 10  # codes, missing and unknown among them
    RARE = 20.0

    def __init__(self, seen: Sequence[NDArray[np.int64]], size: int, **options: Any) -> None:
        super().__init__(**options)
        self._seen = seen
        sizes = [len(counts) if self._one_hot(counts) else size for counts in seen]
        self._groups = [(size, np.flatnonzero(np.equal(sizes, size)).tolist()) for size in sorted(set(sizes))]
        self.source = np.concatenate([np.repeat(columns, size) for size, columns in self._groups]).astype(np.int32)

    def _one_hot(self, counts: NDArray[np.int64]) -> bool:
        return len(counts) <= self.ONE_HOT

    def build(self, shape: Any) -> None:
        self.tables = [[self._table(j, size) for j in columns] for size, columns in self._groups]

    def _table(self, column: int, size: int) -> Any:
        if self._one_hot(self._seen[column]):
            return np.eye(size, dtype=np.float32)
        start = keras.initializers.RandomNormal(stddev=1.0)
        return self.add_weight(name=f"embedding_{column}", shape=(len(self._seen[column]), size), initializer=start)

    def call(self, codes: Any) -> Any:
        parts = []
        for (size, columns), tables in zip(self._groups, self.tables, strict=True):
            held = [self._held_back(table, self._seen[j]) for j, table in zip(columns, tables, strict=True)]
            lengths = np.array([len(self._seen[j]) for j in columns])
            offsets = (np.cumsum(lengths) - lengths).astype(np.int64)
            chosen = codes if len(columns) == len(self._seen) else ops.take(codes, columns, axis=1)
            found = ops.take(ops.concatenate(held, axis=0), chosen + offsets, axis=0)
            parts.append(ops.reshape(found, (-1, len(columns) * size)))
        return ops.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]

    def _held_back(self, table: Any, seen: NDArray[np.int64]) -> Any:
        own = (seen / (seen + self.RARE)).astype(np.float32)[:, None]
        mean = ops.matmul((seen / max(1, seen.sum())).astype(np.float32)[None, :], table)
        return mean + own * (table - mean)

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, int]:
        return shape[0], len(self.source)


class FirstMembers(keras.layers.Layer):
    """(N, d) → (N, members, units): one shared matrix, seen by each member through its own scaling of the columns.

    A member's scaling starts with a random sign for each source column, so that the members differ from the first step
    (the "mini" form of TabM, Gorishniy et al. 2025). Scaling and matrix are multiplied before the rows come, so the cost a
    row is one product (d) × (d, members · units), and the exported graph holds that product's constant.
    """

    def __init__(self, members: int, units: int, source: NDArray[np.int32], **options: Any) -> None:
        super().__init__(**options)
        self._members, self._units, self._source = members, units, source

    def build(self, shape: Any) -> None:
        width = int(shape[-1])
        self.kernel = self.add_weight(name="kernel", shape=(width, self._units), initializer="he_uniform")
        self.bias = self.add_weight(name="bias", shape=(self._members * self._units,), initializer="zeros")
        self.signs = self.add_weight(name="signs", shape=(width, self._members), initializer=self._signs)

    def _signs(self, shape: Sequence[int], dtype: Any = None) -> Any:
        columns = int(self._source.max(initial=-1)) + 1
        signs = keras.random.randint((columns, self._members), 0, 2, dtype="int32") * 2 - 1
        return ops.cast(ops.take(signs, self._source, axis=0), dtype or "float32")

    def call(self, features: Any) -> Any:
        kernel = ops.expand_dims(self.signs, 2) * ops.expand_dims(self.kernel, 1)
        flat = ops.matmul(features, ops.reshape(kernel, (-1, self._members * self._units))) + self.bias
        return ops.reshape(flat, (-1, self._members, self._units))

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, int, int]:
        return shape[0], self._members, self._units


class MemberHead(keras.layers.Layer):
    """(N, members, units) → (N, members, outputs), with weights of its own for each member."""

    def __init__(self, outputs: int, **options: Any) -> None:
        super().__init__(**options)
        self._outputs = outputs

    def build(self, shape: Any) -> None:
        _, members, units = shape
        self.kernel = self.add_weight(name="kernel", shape=(members, units, self._outputs), initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=(members, self._outputs), initializer="zeros")

    def call(self, hidden: Any) -> Any:
        if self._outputs == 1:
            return ops.sum(hidden * self.kernel[:, :, 0], axis=2, keepdims=True) + self.bias
        by_member = ops.matmul(ops.transpose(hidden, (1, 0, 2)), self.kernel)
        return ops.transpose(by_member, (1, 0, 2)) + self.bias

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, int | None, int]:
        return shape[0], shape[1], self._outputs


class MeanOfMembers(keras.layers.Layer):
    """(N, members, units) → (N, outputs): the mean of a `MemberHead`'s members, in one product."""

    def __init__(self, head: MemberHead, **options: Any) -> None:
        super().__init__(**options)
        self.head = head

    def call(self, hidden: Any) -> Any:
        members, units = hidden.shape[1], hidden.shape[2]
        kernel = ops.reshape(self.head.kernel, (members * units, -1)) / members
        return ops.matmul(ops.reshape(hidden, (-1, members * units)), kernel) + ops.mean(self.head.bias, axis=0)

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, int]:
        return shape[0], self.head._outputs


class LogitCalibration(keras.layers.Layer):
    """slope · logit + intercept, per output; the identity until `settle` is called after training."""

    def build(self, shape: Any) -> None:
        outputs = int(shape[-1])
        self.slope = self.add_weight(name="slope", shape=(outputs,), initializer="ones", trainable=False)
        self.intercept = self.add_weight(name="intercept", shape=(outputs,), initializer="zeros", trainable=False)

    def call(self, logits: Any) -> Any:
        return logits * self.slope + self.intercept

    def compute_output_shape(self, shape: Any) -> Any:
        return shape

    def settle(self, slope: Any, intercept: Any) -> None:
        self.slope.assign(np.broadcast_to(np.asarray(slope, np.float32), self.slope.shape))
        self.intercept.assign(np.broadcast_to(np.asarray(intercept, np.float32), self.intercept.shape))


class Squeeze(keras.layers.Layer):
    """(N, 1) → (N,), under the name that the graph's output is to have."""

    def call(self, values: Any) -> Any:
        return values[:, 0]

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None]:
        return (shape[0],)
