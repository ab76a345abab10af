"""Sparse item-to-item matrices and sparse scores, in plain numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class NeighborMatrix:
    """What each item speaks for: row j lists items and how strongly j speaks for them (compressed rows).

    indptr   int64 (items + 1,)
    indices  int32 (n,)
    values   float32 (n,)
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float32]

    def rows(self, items: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
        """The rows of `items`, one after the other: for each entry the place in `items`, its column and its value.

        Items beyond the matrix (newer than it) have empty rows.
        """
        inside = np.flatnonzero(items < len(self.indptr) - 1)
        starts, ends = self.indptr[items[inside]], self.indptr[items[inside] + 1]
        lengths = ends - starts
        before = np.cumsum(lengths) - lengths
        entry = np.arange(lengths.sum()) + np.repeat(starts - before, lengths)
        return np.repeat(inside, lengths), self.indices[entry], self.values[entry]


@dataclass(frozen=True, slots=True)
class SparseScores:
    """Sparse parts of scores: `value` is added to the score of `item` for `user`; the same pair may come repeatedly.

    user   int64 (n,) number of the user in the call
    item   int32 (n,)
    value  float32 (n,)
    """

    user: NDArray[np.int64]
    item: NDArray[np.int32]
    value: NDArray[np.float32]

    def scaled(self, factor: NDArray[np.float32] | float) -> SparseScores:
        return SparseScores(self.user, self.item, (self.value * factor).astype(np.float32))

    def add_to(self, scores: NDArray[np.float32]) -> None:
        """Add to dense scores (N, items) in place."""
        flat = scores.reshape(-1)
        np.add.at(flat, self.user * scores.shape[1] + self.item, self.value)

    def summed(self) -> SparseScores:
        """Each pair once, sorted by user, then item."""
        if not len(self.user):
            return self
        width = int(self.item.max()) + 1
        keys, place = np.unique(self.user * width + self.item, return_inverse=True)
        value = np.bincount(place, weights=self.value, minlength=len(keys)).astype(np.float32)
        return SparseScores(keys // width, (keys % width).astype(np.int32), value)


def joined(parts: list[SparseScores]) -> SparseScores:
    """All additions in one."""
    if not parts:
        return SparseScores(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    return SparseScores(
        np.concatenate([p.user for p in parts]),
        np.concatenate([p.item for p in parts]),
        np.concatenate([p.value for p in parts]),
    )
