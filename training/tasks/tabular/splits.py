"""Which rows are trained on, validated on and held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def groups_of(table: dict[str, Sequence[Any]], rows: int, key: str | None) -> NDArray[np.int64]:
    """(rows,) Rows that must stay on one side: exact copies of each other, and, with a key column, of the same user.

    Otherwise a copy of a training row would be "predicted" at test.
    """
    if key is not None:
        cells: Sequence[Any] = [cell if cell not in (None, "") else ("", row) for row, cell in enumerate(table[key])]
    else:
        cells = list(zip(*(_hashable(column) for column in table.values()), strict=True)) if table else list(range(rows))
    seen: dict[Any, int] = {}
    return np.fromiter((seen.setdefault(cell, len(seen)) for cell in cells), np.int64, count=rows)


def split(labels: NDArray[Any], groups: NDArray[np.int64], shares: Sequence[float], seed: int) -> list[Rows]:
    """Stratified by label and seeded: row indices, ascending, for each share. Groups stay whole.

    Where a class has too few rows for every share, the first ones (training, validation) get them.
    """
    order = np.random.default_rng(seed).permutation(int(groups.max(initial=-1)) + 1)
    sizes = np.bincount(groups, minlength=len(order))
    positives = np.bincount(groups, weights=labels, minlength=len(order))
    stratum = 2 * positives >= sizes  # of a mixed group, the majority
    bounds = np.cumsum(shares) / np.sum(shares)
    part = np.zeros(len(order), np.int64)
    for value in (False, True):
        members = order[stratum[order] == value]
        if len(members):
            ends = np.cumsum(sizes[members])
            middle = (ends - sizes[members] / 2) / ends[-1]
            part[members] = np.searchsorted(bounds[:-1], middle)
    by_row = part[groups]
    return [np.flatnonzero(by_row == index) for index in range(len(shares))]


def folds(labels: NDArray[Any], groups: NDArray[np.int64], count: int, seed: int) -> list[Rows]:
    """`count` disjoint stratified test sets that together are all rows."""
    return split(labels, groups, [1.0] * count, seed)


def _hashable(column: Sequence[Any]) -> list[Any]:
    return [cell if isinstance(cell, str | int | float | bool | None) else repr(cell) for cell in column]
