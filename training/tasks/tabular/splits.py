"""Random splits of a flat table: stratified by label, with the rows of a group on one side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.tasks.tabular.columns import is_key

Rows = NDArray[np.int64]


def row_groups(columns: Mapping[str, Sequence[Any]], labels: NDArray[Any]) -> tuple[Rows, str, int]:
    """(rows,) codes of rows that stay on one side of a split, the reason as a note, and the number of exact copies.

    Groups are the rows of one user, or exact copies: else a copy of a training row would be predicted at test. Where copies
    are common (columns of few values) they are no accident, and a group of more than a tenth of the rows would leave nothing
    to split: then rows are split one by one.
    """
    rows = len(labels)
    copies = copy_groups({**columns, "": labels.tolist()}, rows)
    duplicates = rows - _count(copies)
    key = next((name for name in columns if is_key(name)), None)
    users = copies if key is None else user_groups(columns[key])
    largest = max(2, rows // 10)
    if key is not None and _count(users) < rows and np.bincount(users).max() <= largest:
        return users, f"all rows of one {key} are on the same side, so that no user is both trained on and tested", duplicates
    if 0 < duplicates <= rows // 10 and np.bincount(copies).max() <= largest:
        return copies, "exact copies of a row are on the same side", duplicates
    return np.arange(rows), "row by row", duplicates


def user_groups(users: Sequence[Any]) -> Rows:
    """(rows,) codes of the users; a row without a user is a group of its own."""
    return _codes([cell if cell not in (None, "") else ("", row) for row, cell in enumerate(users)])


def copy_groups(columns: Mapping[str, Sequence[Any]], rows: int) -> Rows:
    """(rows,) equal codes for rows whose cells are all equal."""
    return _codes(list(zip(*(_hashable(column) for column in columns.values()), strict=True)) if columns else list(range(rows)))


def split(labels: NDArray[Any], groups: Rows, shares: Sequence[float], seed: int) -> list[Rows]:
    """Row indices, ascending, for each share. Stratified by label and seeded; groups stay whole.

    Where a class has too few rows for every share, the first ones (training, validation) get them.
    """
    order = np.random.default_rng(seed).permutation(_count(groups))
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


def _codes(keys: Sequence[Any]) -> Rows:
    codes: dict[Any, int] = {}
    return np.fromiter((codes.setdefault(key, len(codes)) for key in keys), np.int64, count=len(keys))


def _count(groups: Rows) -> int:
    return int(groups.max(initial=-1)) + 1


def _hashable(column: Sequence[Any]) -> list[Any]:
    return [cell if isinstance(cell, str | int | float | bool | None) else repr(cell) for cell in column]
