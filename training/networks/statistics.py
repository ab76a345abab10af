"""Statistics of the training rows from which a tabular network is built: fills, scales, bin edges and category counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_MAX_BINS_PER_ROW = 320  # over all columns: with 8 members of 64 units they cost some 3 µs a row


@dataclass(frozen=True)
class TableStatistics:
    """Of n numeric columns and m categorical ones, over the training rows alone.

    fill              (n,) replaces a missing value: the median, or the more frequent value of a column with two values
    center            (n,) median
    scale             (n,) interquartile range as a standard deviation; the standard deviation itself where that is 0
    has_missing       (n,) whether any value was missing
    bin_edges         for each numeric column its bin edges, ascending; fewer than 3 where bins would add nothing
    category_counts   for each categorical column the number of rows of each code
    """

    fill: Array
    center: Array
    scale: Array
    has_missing: NDArray[np.bool_]
    bin_edges: tuple[Array, ...]
    category_counts: tuple[NDArray[np.int64], ...]


def table_statistics(
    numeric: NDArray[np.float32] | None,
    categorical: NDArray[np.int64] | None,
    cardinalities: tuple[int, ...] = (),
    *,
    bins: int | None = None,
    max_rows: int = 200_000,
    seed: int = 0,
) -> TableStatistics:
    """Statistics of the training tensors: `numeric` (N, n) with NaN where missing, `categorical` (N, m) codes.

    cardinalities   (m,) number of codes of each categorical column
    bins            of each column at most; None: by the number of rows, and by the cost of a row

    Quantiles of more than `max_rows` rows are taken from a seeded sample.
    """
    columns = [] if numeric is None else [_sample(numeric[:, j], max_rows, seed) for j in range(numeric.shape[1])]
    known = [values[~np.isnan(values)] for values in columns]
    fill, center, scale = np.array([_location(values) for values in known], np.float32).reshape(-1, 3).T
    has_missing = np.zeros(0, bool) if numeric is None else np.asarray(np.isnan(numeric).any(axis=0))
    counts = [] if categorical is None else [np.bincount(categorical[:, j], minlength=c) for j, c in enumerate(cardinalities)]
    rows = len(columns[0]) if columns else 0
    return TableStatistics(fill, center, scale, has_missing, _bin_edges(known, rows, bins), tuple(counts))


def _bin_edges(known: Sequence[Array], rows: int, bins: int | None) -> tuple[Array, ...]:
    """For each column its bin edges. By default √rows / 3 bins, fewer where a row would have more than 320 of them."""
    most = int(np.clip(rows**0.5 / 3, 3, 32)) if bins is None else bins
    edges = tuple(quantile_edges(values, most) for values in known)
    while bins is None and most > 3 and sum(len(e) - 1 for e in edges if len(e)) > _MAX_BINS_PER_ROW:
        most = max(3, most * 3 // 4)
        edges = tuple(quantile_edges(values, most) for values in known)
    return edges


def quantile_edges(known: Array, bins: int) -> Array:
    """Ascending edges at the quantiles of the known values: at most `bins` bins, none of them empty.

    A column with few distinct values gets one edge a value (quantile bins of the piecewise-linear encoding, Gorishniy et al.
    2022, "On embeddings for numerical features in tabular deep learning").
    """
    distinct = np.unique(known)
    if len(distinct) <= 2 or bins < 2:
        return np.zeros(0, np.float32)
    if len(distinct) <= bins + 1:
        return distinct.astype(np.float32)
    return np.unique(np.quantile(known, np.linspace(0.0, 1.0, bins + 1))).astype(np.float32)


def _location(known: Array) -> tuple[float, float, float]:
    """Fill, center and scale of a column's known values."""
    if not len(known):
        return 0.0, 0.0, 1.0
    low, center, high = (float(q) for q in np.quantile(known.astype(np.float64), [0.25, 0.5, 0.75]))
    scale = (high - low) / 1.349
    if scale <= 0:  # more than half of the rows have the same value
        scale = float(known.astype(np.float64).std())
    distinct, counts = np.unique(known, return_counts=True)
    fill = float(distinct[counts.argmax()]) if len(distinct) <= 2 else center
    return fill, center, scale if np.isfinite(scale) and scale > 0 else 1.0


def _sample(values: Array, max_rows: int, seed: int) -> Array:
    if len(values) <= max_rows:
        return values
    return values[np.random.default_rng(seed).choice(len(values), max_rows, replace=False)]
