"""Sparse matrices in compressed sparse row format, in plain numpy: scipy is too large for a function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Entries that `dot` looks up at a time: memory stays bounded however long the rows are.
ENTRIES_AT_ONCE = 2_000_000


@dataclass(frozen=True, slots=True)
class CsrMatrix:
    """A sparse matrix of R rows.

    indptr    int64 (R + 1,) bounds of each row's entries
    indices   integer (n,) column of each entry
    values    floating (n,)
    columns   number of columns
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.integer[Any]]
    values: NDArray[np.floating[Any]]
    columns: int

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @classmethod
    def from_entries(
        cls, row: NDArray[np.int64], column: NDArray[np.int64], value: NDArray[np.float64], rows: int, columns: int
    ) -> CsrMatrix:
        """From entries in any order; values of the same place are added, entries with a negative column left out.

        The columns of a row ascend, each at most once.
        """
        inside = column >= 0
        keys, inverse = np.unique(row[inside].astype(np.int64) * columns + column[inside], return_inverse=True)
        sums = np.bincount(inverse, weights=value[inside], minlength=len(keys)).astype(np.float64)
        indptr = np.searchsorted(keys, np.arange(rows + 1) * columns)
        return cls(indptr, keys % max(columns, 1), sums, columns)

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[str]], code_of: Mapping[str, int]) -> CsrMatrix:
        """A row for each list, with 1 at the code of each word; words without a code are left out."""
        pairs = [(row, code_of[word]) for row, words in enumerate(lists) for word in dict.fromkeys(words) if word in code_of]
        row, code = (
            (np.array(part, dtype=np.int64) for part in zip(*pairs, strict=True)) if pairs else (np.zeros(0, np.int64),) * 2
        )
        return cls.from_entries(row, code, np.ones(len(row)), len(lists), len(code_of))

    def gather(
        self, rows: NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.int64], NDArray[np.integer[Any]], NDArray[np.floating[Any]]]:
        """The entries of `rows`, one row after the other: for each its place in `rows`, its column and its value.

        Rows beyond the matrix are empty: items may be newer than it.
        """
        inside = np.flatnonzero(rows < len(self))
        starts, ends = self.indptr[rows[inside]], self.indptr[rows[inside] + 1]
        lengths = ends - starts
        before = np.cumsum(lengths) - lengths
        entry = np.arange(lengths.sum()) + np.repeat(starts - before, lengths)
        return np.repeat(inside, lengths), self.indices[entry], self.values[entry]


def dot(one: CsrMatrix, other: CsrMatrix, one_row: NDArray[np.int64], other_row: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) Σ over the common columns of the product of their values, for N pairs of rows of two matrices of one width.

    The columns of each row must ascend, each at most once.
    """
    out = np.zeros(len(one_row))
    sizes = np.diff(one.indptr)[one_row], np.diff(other.indptr)[other_row]
    # Each pair walks along its shorter row and looks up in the longer one.
    shorter = sizes[0] <= sizes[1]
    for pairs, walked, walked_row, other_side, other_side_row in (
        (np.flatnonzero(shorter), one, one_row, other, other_row),
        (np.flatnonzero(~shorter), other, other_row, one, one_row),
    ):
        keys = np.repeat(np.arange(len(other_side)), np.diff(other_side.indptr)) * other_side.columns + other_side.indices
        lengths = np.diff(walked.indptr)[walked_row[pairs]]
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        start = 0
        while start < len(pairs) and len(keys):
            end = max(start + 1, int(np.searchsorted(bounds, bounds[start] + ENTRIES_AT_ONCE, side="right")) - 1)
            part, count = pairs[start:end], lengths[start:end]
            first = np.repeat(walked.indptr[walked_row[part]], count)
            within = np.arange(count.sum()) - np.repeat(bounds[start:end] - bounds[start], count)
            entry, pair = first + within, np.repeat(part, count)
            key = other_side_row[pair] * other_side.columns + walked.indices[entry]
            place = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
            hit = keys[place] == key
            product = walked.values[entry[hit]] * other_side.values[place[hit]]
            out += np.bincount(pair[hit], weights=product, minlength=len(out))
            start = end
    return out
