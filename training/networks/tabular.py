"""The tabular network: raw numbers and codes in, heads out; preprocessing is part of the graph.

Missing values filled and marked, robust scaling, piecewise-linear bins and category embeddings, then an ensemble of small dense
networks that share almost all of their weights (TabM-mini, Gorishniy et al. 2025, "TabM: advancing tabular deep learning with
parameter-efficient ensembling").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from personalization.core.encoder import TableEncoder
from training.networks.heads import BinaryHead, Head
from training.networks.layers import CategoryEmbeddings, EnsembleInput, NumericEncoding
from training.networks.statistics import TableStatistics, table_statistics

NUMERIC = "numeric"
CATEGORICAL = "categorical"


@dataclass(frozen=True, slots=True)
class TabularConfig:
    """The size of a network.

    members     of the ensemble
    widths      units of a member's hidden layers
    bins        of a numeric column; 0 for none, None by size of the table
    embedding   size of a category's embedding, where it is not one-hot
    dropout     rate of dropout of hidden units in training
    """

    members: int = 8
    widths: tuple[int, ...] = (64, 64)
    bins: int | None = None
    embedding: int = 2
    dropout: float = 0.2


@dataclass(frozen=True)
class TabularNetwork:
    """Three views of the same weights.

    training   inputs → raw values of each member, by head name; what `fit` trains
    merged     inputs → merged raw values by head name: validation loss, calibration, thresholds
    serving    inputs → the graph's outputs by name; what `export` writes
    """

    training: Any
    merged: Any
    serving: Any
    heads: tuple[Head, ...]
    statistics: TableStatistics

    def raw(self, inputs: dict[str, NDArray[Any]], batch: int = 8192) -> dict[str, NDArray[np.float32]]:
        """Merged raw values by head name, as numpy (for a `BinaryHead` uncalibrated logits (N, 1))."""
        return predict(self.merged, inputs, batch)


def encoder_statistics(
    encoder: TableEncoder, inputs: dict[str, NDArray[Any]], config: TabularConfig | None = None, seed: int = 0
) -> TableStatistics:
    """Statistics of encoded training rows (`TableEncoder.encode(…).inputs`)."""
    cardinalities = tuple(column.cardinality for column in encoder.categorical_columns)
    bins = (config or TabularConfig()).bins
    return table_statistics(inputs.get(NUMERIC), inputs.get(CATEGORICAL), cardinalities, bins=bins, seed=seed)


def build_tabular(
    encoder: TableEncoder,
    statistics: TableStatistics,
    heads: Sequence[Head] | None = None,
    config: TabularConfig | None = None,
) -> TabularNetwork:
    """Build the network for a table's columns.

    Its inputs are those of `encoder`: `numeric` float32 (N, n) with NaN where missing, `categorical` int64 (N, m); an
    input without columns is absent. Raises `ValueError` where the table has no columns.
    """
    heads = tuple(heads or (BinaryHead(),))
    config = config or TabularConfig()
    inputs, parts, sources = {}, [], []
    numeric_columns = len(encoder.numeric_names)
    if numeric_columns:
        inputs[NUMERIC] = keras.Input((numeric_columns,), name=NUMERIC, dtype="float32")
        numeric = NumericEncoding(statistics, name="numeric_features")
        parts.append(numeric(inputs[NUMERIC]))
        sources.append(numeric.source_columns)
    if encoder.categorical_columns:
        inputs[CATEGORICAL] = keras.Input((len(encoder.categorical_columns),), name=CATEGORICAL, dtype="int64")
        embeddings = CategoryEmbeddings(statistics.category_counts, config.embedding, name="category_embeddings")
        parts.append(embeddings(inputs[CATEGORICAL]))
        sources.append(embeddings.source_columns + numeric_columns)
    if not parts:
        raise ValueError("a network needs at least one column, received a table without any")
    features = keras.layers.Concatenate(name="features")(parts) if len(parts) > 1 else parts[0]
    hidden = _body(features, np.concatenate(sources), config)
    for head in heads:
        head.connect(inputs)
    raw = {head.name: head.raw(hidden) for head in heads}
    merged = {head.name: head.merged(hidden) for head in heads}
    served = {name: value for head in heads for name, value in head.outputs(merged[head.name]).items()}
    return TabularNetwork(keras.Model(inputs, raw), keras.Model(inputs, merged), keras.Model(inputs, served), heads, statistics)


def _body(features: Any, source_columns: NDArray[np.int32], config: TabularConfig) -> Any:
    hidden = EnsembleInput(config.members, config.widths[0], source_columns, name="members")(features)
    for layer, width in enumerate(config.widths):
        if layer:
            hidden = keras.layers.Dense(width, kernel_initializer="he_uniform", name=f"dense_{layer}")(hidden)
        hidden = keras.layers.Activation("relu", name=f"relu_{layer}")(hidden)
        hidden = keras.layers.Dropout(config.dropout, name=f"dropout_{layer}")(hidden)
    return hidden


def predict(model: Any, inputs: dict[str, NDArray[Any]], batch: int = 8192) -> dict[str, NDArray[np.float32]]:
    """Outputs by name over all rows, in batches (`keras.Model.predict` costs more than the network for small tables)."""
    rows = len(next(iter(inputs.values())))
    parts = [
        model({name: values[start : start + batch] for name, values in inputs.items()}, training=False)
        for start in range(0, max(rows, 1), batch)
    ]
    return {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]}
