"""Keras layers of the tabular network: encodings of numbers and categories, and an ensemble with shared weights.

Every layer exports to ONNX opset 18: no string lookups, no exact GELU, no dynamic loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from training.networks.statistics import TableStatistics

_SMOOTH_CLIP = 3.0  # scaled values bend beyond this many deviations
_MAX_SCALED = 1e6  # scaled values end here, before their square could overflow


class NumericEncoding(keras.layers.Layer):
    """Raw numbers (N, n) with NaN where missing → (N, width): scaled values, missing indicators, quantile bins.

    Scaled values: robust scaling and a smooth clip, x / √(1 + (x/3)²) (Holzmüller et al. 2024, "RealMLP"). Indicators: one
    for each column with missing values in training. Bins: piecewise-linear encoding over quantiles (Gorishniy et al. 2022,
    "On embeddings for numerical features in tabular deep learning"), so that the next layer can learn any curve over one
    column. A value outside of the training range counts as the nearest end of the range.
    """

    def __init__(self, statistics: TableStatistics, **options: Any) -> None:
        super().__init__(**options)
        self._fill, self._center = statistics.fill, statistics.center
        self._rate = (1.0 / statistics.scale).astype(np.float32)
        self._indicators = np.flatnonzero(statistics.has_missing).astype(np.int32)
        self._slope, self._shift, bin_columns = _bins(statistics)
        columns = np.arange(len(statistics.fill), dtype=np.int32)
        self.source_columns = np.concatenate((columns, self._indicators, bin_columns))  # (width,)

    def call(self, numeric: Any) -> Any:
        missing = ops.isnan(numeric)
        scaled = (ops.where(missing, self._fill, numeric) - self._center) * self._rate
        scaled = ops.clip(scaled, -_MAX_SCALED, _MAX_SCALED)
        parts = [scaled / ops.sqrt(1.0 + ops.square(scaled / _SMOOTH_CLIP))]
        if len(self._indicators):
            parts.append(ops.cast(ops.take(missing, self._indicators, axis=1), "float32"))
        if len(self._shift):
            # One matrix product: a Gather of single columns computes the same more slowly.
            parts.append(ops.clip(ops.matmul(scaled, self._slope) + self._shift, 0.0, 1.0))
        return ops.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]


def _bins(statistics: TableStatistics) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    """Slope (columns, bins), shift (bins,) and each bin's column: a bin is clip(scaled · slope + shift, 0, 1)."""
    scaled = [
        (edges.astype(np.float64) - float(center)) / float(scale)
        for edges, center, scale in zip(statistics.bin_edges, statistics.center, statistics.scale, strict=True)
    ]
    column = np.repeat(np.arange(len(scaled), dtype=np.int32), [max(0, len(edges) - 1) for edges in scaled])
    widths = np.concatenate([np.diff(edges) for edges in scaled] or [np.zeros(0)])
    starts = np.concatenate([edges[:-1] for edges in scaled] or [np.zeros(0)])
    slope = np.zeros((len(scaled), len(column)), np.float32)
    slope[column, np.arange(len(column))] = 1.0 / widths
    return slope, (-starts / widths).astype(np.float32), column


class CategoryEmbeddings(keras.layers.Layer):
    """Codes (N, m) → (N, width): one-hot where a column has few codes, else a small embedding.

    A code with n training rows keeps n / (n + 20) of its own vector; the rest is the mean vector of its column. So rare codes
    are not memorised, and a code without training rows (an unknown word, an empty bucket) is the mean. Columns of one
    embedding size share a table, so that the graph has one Gather a size instead of one a column. The export folds the
    shrinkage into the table.
    """

    MAX_ONE_HOT = 10  # codes, missing and unknown among them
    SHRINKAGE_ROWS = 20.0

    def __init__(self, category_counts: Sequence[NDArray[np.int64]], size: int, **options: Any) -> None:
        super().__init__(**options)
        self._counts = category_counts
        sizes = [len(counts) if len(counts) <= self.MAX_ONE_HOT else size for counts in category_counts]
        self._groups = [(size, np.flatnonzero(np.equal(sizes, size)).tolist()) for size in sorted(set(sizes))]
        self.source_columns = np.concatenate([np.repeat(columns, size) for size, columns in self._groups]).astype(np.int32)

    def build(self, shape: Any) -> None:
        self.tables = [[self._table(j, size) for j in columns] for size, columns in self._groups]

    def _table(self, column: int, size: int) -> Any:
        codes = len(self._counts[column])
        if codes <= self.MAX_ONE_HOT:
            return np.eye(size, dtype=np.float32)
        start = keras.initializers.RandomNormal(stddev=1.0)
        return self.add_weight(name=f"embedding_{column}", shape=(codes, size), initializer=start)

    def call(self, codes: Any) -> Any:
        parts = []
        for (size, columns), tables in zip(self._groups, self.tables, strict=True):
            shrunk = [self._shrunk(table, self._counts[j]) for j, table in zip(columns, tables, strict=True)]
            lengths = np.array([len(self._counts[j]) for j in columns])
            offsets = (np.cumsum(lengths) - lengths).astype(np.int64)
            group = codes if len(columns) == len(self._counts) else ops.take(codes, columns, axis=1)
            vectors = ops.take(ops.concatenate(shrunk, axis=0), group + offsets, axis=0)
            parts.append(ops.reshape(vectors, (-1, len(columns) * size)))
        return ops.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]

    def _shrunk(self, table: Any, counts: NDArray[np.int64]) -> Any:
        own = (counts / (counts + self.SHRINKAGE_ROWS)).astype(np.float32)[:, None]
        mean = ops.matmul((counts / max(1, counts.sum())).astype(np.float32)[None, :], table)
        return mean + own * (table - mean)


class EnsembleInput(keras.layers.Layer):
    """(N, d) → (N, members, units): one matrix for all members, each with its own scaling of the d features.

    A member's scaling starts with a random sign for each source column, so that the members differ from the first step
    (TabM-mini, Gorishniy et al. 2025, "TabM: advancing tabular deep learning with parameter-efficient ensembling"). Scaling
    and matrix are multiplied first: a row costs one product (d) × (d, members · units), and the export folds its constant.
    """

    def __init__(self, members: int, units: int, source_columns: NDArray[np.int32], **options: Any) -> None:
        super().__init__(**options)
        self._members, self._units, self._source_columns = members, units, source_columns

    def build(self, shape: Any) -> None:
        width = int(shape[-1])
        self.kernel = self.add_weight(name="kernel", shape=(width, self._units), initializer="he_uniform")
        self.bias = self.add_weight(name="bias", shape=(self._members * self._units,), initializer="zeros")
        self.signs = self.add_weight(name="signs", shape=(width, self._members), initializer=self._random_signs)

    def _random_signs(self, shape: Sequence[int], dtype: Any = None) -> Any:
        columns = int(self._source_columns.max(initial=-1)) + 1
        signs = keras.random.randint((columns, self._members), 0, 2, dtype="int32") * 2 - 1
        return ops.cast(ops.take(signs, self._source_columns, axis=0), dtype or "float32")

    def call(self, features: Any) -> Any:
        kernel = ops.expand_dims(self.signs, 2) * ops.expand_dims(self.kernel, 1)
        flat = ops.matmul(features, ops.reshape(kernel, (-1, self._members * self._units))) + self.bias
        return ops.reshape(flat, (-1, self._members, self._units))


class EnsembleDense(keras.layers.Layer):
    """(N, members, units) → (N, members, outputs), with separate weights for each member."""

    def __init__(self, outputs: int, **options: Any) -> None:
        super().__init__(**options)
        self.outputs = outputs

    def build(self, shape: Any) -> None:
        _, members, units = shape
        self.kernel = self.add_weight(name="kernel", shape=(members, units, self.outputs), initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=(members, self.outputs), initializer="zeros")

    def call(self, hidden: Any) -> Any:
        if self.outputs == 1:
            return ops.sum(hidden * self.kernel[:, :, 0], axis=2, keepdims=True) + self.bias
        by_member = ops.matmul(ops.transpose(hidden, (1, 0, 2)), self.kernel)
        return ops.transpose(by_member, (1, 0, 2)) + self.bias


class EnsembleMean(keras.layers.Layer):
    """(N, members, units) → (N, outputs): the mean over the members of an `EnsembleDense`, in one matrix product."""

    def __init__(self, dense: EnsembleDense, **options: Any) -> None:
        super().__init__(**options)
        self._dense = dense

    def call(self, hidden: Any) -> Any:
        members, units = hidden.shape[1], hidden.shape[2]
        kernel = ops.reshape(self._dense.kernel, (members * units, -1)) / members
        return ops.matmul(ops.reshape(hidden, (-1, members * units)), kernel) + ops.mean(self._dense.bias, axis=0)


class LogitCalibration(keras.layers.Layer):
    """slope · logit + intercept for each output; the identity until `assign` is called after training."""

    def build(self, shape: Any) -> None:
        outputs = int(shape[-1])
        self.slope = self.add_weight(name="slope", shape=(outputs,), initializer="ones", trainable=False)
        self.intercept = self.add_weight(name="intercept", shape=(outputs,), initializer="zeros", trainable=False)

    def call(self, logits: Any) -> Any:
        return logits * self.slope + self.intercept

    def assign(self, slope: Any, intercept: Any) -> None:
        """Set slope and intercept, each one number for all outputs or (outputs,)."""
        self.slope.assign(np.broadcast_to(np.asarray(slope, np.float32), self.slope.shape))
        self.intercept.assign(np.broadcast_to(np.asarray(intercept, np.float32), self.intercept.shape))


class Scale(keras.layers.Layer):
    """Values times one number, which `assign` changes after training."""

    def __init__(self, factor: float, **options: Any) -> None:
        super().__init__(**options)
        self._factor = factor

    def build(self, shape: Any) -> None:
        start = keras.initializers.Constant(self._factor)
        self.factor = self.add_weight(name="factor", shape=(), initializer=start, trainable=False)

    def call(self, values: Any) -> Any:
        return values * self.factor

    def assign(self, factor: float) -> None:
        """Set the factor."""
        self.factor.assign(factor)


class Squeeze(keras.layers.Layer):
    """(N, 1) → (N,), under the name that the graph's output has."""

    def call(self, values: Any) -> Any:
        return values[:, 0]
