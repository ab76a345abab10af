"""What a tabular network must know of its training rows before it is built: fills, scales and bin edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_BINS_OF_A_ROW = 320  # over all columns: with 8 members of 64 units they cost some 3 µs a row


@dataclass(frozen=True)
class TableStatistics:
    """Of n numeric columns and m categorical ones, over the training rows alone.

    fill      (n,) what stands for a missing value: the median, or the most frequent value of a column of two values
    centre    (n,) median
    scale     (n,) the interquartile range as a standard deviation, or what stands in for it where that is 0
    gaps      (n,) whether any value was missing
    edges     for each numeric column its bin edges, ascending; fewer than 3 where bins would add nothing
    seen      for each categorical column how often each of its codes occurs
    """

    fill: Array
    centre: Array
    scale: Array
    gaps: NDArray[np.bool_]
    edges: tuple[Array, ...]
    seen: tuple[NDArray[np.int64], ...]


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

    bins   of each column at most; None: by rows, and by what a row may cost

    Quantiles of more than `max_rows` rows are taken from a seeded sample.
    """
    columns = [] if numeric is None else [_sample(numeric[:, j], max_rows, seed) for j in range(numeric.shape[1])]
    fills, centres, scales = [], [], []
    for values in columns:
        known = values[~np.isnan(values)]
        fill, centre, scale = _location(known)
        fills.append(fill)
        centres.append(centre)
        scales.append(scale)
    gaps = np.zeros(0, bool) if numeric is None else np.asarray(np.isnan(numeric).any(axis=0))
    seen = [] if categorical is None else [np.bincount(categorical[:, j], minlength=c) for j, c in enumerate(cardinalities)]
    located = [np.array(found, np.float32) for found in (fills, centres, scales)]
    return TableStatistics(located[0], located[1], located[2], gaps, _edges(columns, bins), tuple(seen))


def _edges(columns: Sequence[Array], bins: int | None) -> tuple[Array, ...]:
    """For each column its bin edges. Left alone: √rows / 3 bins, fewer where a row would have more than 320 of them."""
    most = int(np.clip(len(columns[0]) ** 0.5 / 3, 3, 32)) if bins is None and columns else bins or 0
    known = [values[~np.isnan(values)] for values in columns]
    edges = tuple(bin_edges(values, most) for values in known)
    while bins is None and most > 3 and sum(len(e) - 1 for e in edges if len(e)) > _BINS_OF_A_ROW:
        most = max(3, most * 3 // 4)
        edges = tuple(bin_edges(values, most) for values in known)
    return edges


def bin_edges(known: Array, bins: int) -> Array:
    """Ascending edges at the quantiles of the known values; at most `bins` bins, none of them empty.

    A column of few different values gets one edge a value. (Gorishniy et al. 2022, "On embeddings for numerical features
    in tabular deep learning": quantile bins of the piecewise-linear encoding.)
    """
    different = np.unique(known)
    if len(different) <= 2 or bins < 2:
        return np.zeros(0, np.float32)
    if len(different) <= bins + 1:
        return different.astype(np.float32)
    return np.unique(np.quantile(known, np.linspace(0.0, 1.0, bins + 1))).astype(np.float32)


def _location(known: Array) -> tuple[float, float, float]:
    if not len(known):
        return 0.0, 0.0, 1.0
    low, centre, high = (float(q) for q in np.quantile(known.astype(np.float64), [0.25, 0.5, 0.75]))
    scale = (high - low) / 1.349
    if scale <= 0:  # more than half of the rows share one value
        scale = float(known.astype(np.float64).std())
    fill = centre
    different, counts = np.unique(known, return_counts=True)
    if len(different) <= 2:
        fill = float(different[counts.argmax()])
    return fill, centre, scale if np.isfinite(scale) and scale > 0 else 1.0


def _sample(values: Array, max_rows: int, seed: int) -> Array:
    if len(values) <= max_rows:
        return values
    return values[np.random.default_rng(seed).choice(len(values), max_rows, replace=False)]
