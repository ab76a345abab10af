"""Two sparse tables over the same words, and what pairs of their rows have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Entries that are looked up at a time: memory stays bounded however long the lists are.
ENTRIES_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class CsrMatrix:
    """A table of R rows whose entries are at codes 0 … `width` − 1.

    offsets   (R + 1,) bounds of each row's entries
    code      of each entry, ascending within a row, each once
    value     of each entry
    """

    offsets: NDArray[np.int64]
    code: NDArray[np.int64]
    value: NDArray[np.float64]
    width: int

    @classmethod
    def of(
        cls, row: NDArray[np.int64], code: NDArray[np.int64], value: NDArray[np.float64], rows: int, width: int
    ) -> CsrMatrix:
        """From entries in any order; those at one place are added. Entries with a negative code are left out."""
        known = code >= 0
        keys, inverse = np.unique(row[known].astype(np.int64) * width + code[known], return_inverse=True)
        sums = np.bincount(inverse, weights=value[known], minlength=len(keys)).astype(np.float64)
        offsets = np.searchsorted(keys, np.arange(rows + 1) * width)
        return cls(offsets, keys % max(width, 1), sums, width)

    @classmethod
    def of_lists(cls, lists: Sequence[Sequence[str]], code_of: Mapping[str, int]) -> CsrMatrix:
        """Rows of words, 1 at each of them; words without a code are left out."""
        pairs = [(row, code_of[word]) for row, words in enumerate(lists) for word in dict.fromkeys(words) if word in code_of]
        row, code = (
            (np.array(part, dtype=np.int64) for part in zip(*pairs, strict=True)) if pairs else (np.zeros(0, np.int64),) * 2
        )
        return cls.of(row, code, np.ones(len(row)), len(lists), len(code_of))


def dot(one: CsrMatrix, other: CsrMatrix, one_row: NDArray[np.int64], other_row: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) Σ over the common codes of the product of their values, for N pairs of rows of two tables of one width."""
    out = np.zeros(len(one_row))
    sizes = np.diff(one.offsets)[one_row], np.diff(other.offsets)[other_row]
    # Each pair walks along its shorter row and looks up in the longer one.
    shorter = sizes[0] <= sizes[1]
    for pairs, walked, walked_row, found, found_row in (
        (np.flatnonzero(shorter), one, one_row, other, other_row),
        (np.flatnonzero(~shorter), other, other_row, one, one_row),
    ):
        keys = np.repeat(np.arange(len(found.offsets) - 1), np.diff(found.offsets)) * found.width + found.code
        lengths = np.diff(walked.offsets)[walked_row[pairs]]
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        start = 0
        while start < len(pairs) and len(keys):
            end = max(start + 1, int(np.searchsorted(bounds, bounds[start] + ENTRIES_AT_ONCE, side="right")) - 1)
            part, count = pairs[start:end], lengths[start:end]
            first = np.repeat(walked.offsets[walked_row[part]], count)
            within = np.arange(count.sum()) - np.repeat(bounds[start:end] - bounds[start], count)
            entry, pair = first + within, np.repeat(part, count)
            wanted = found_row[pair] * found.width + walked.code[entry]
            place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            hit = keys[place] == wanted
            product = walked.value[entry[hit]] * found.value[place[hit]]
            out += np.bincount(pair[hit], weights=product, minlength=len(out))
            start = end
    return out
