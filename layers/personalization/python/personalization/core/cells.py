"""Conversion of cells to typed columns, a column at a time.

A cell is a `str` (CSV) or any JSON value. No conversion raises for bad data: it returns the column and the indices of the bad
cells, so that the caller can reject their rows, refuse the request, or count them as missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, tzinfo
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.time import MISSING_TIME, parse_timestamp

MISSING_WORDS: Final = frozenset({"", "na", "n/a", "nan", "null", "none", "nil", "-", "?", "\\n", "#n/a", "nat", "<na>"})

_TEXT: Final = {str, type(None)}


def is_missing(cell: Any) -> bool:
    """Whether a cell is missing: `None`, NaN, empty, or a placeholder such as ``null``."""
    if isinstance(cell, str):
        return cell.strip().lower() in MISSING_WORDS
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def numbers(cells: Sequence[Any] | NDArray[Any]) -> tuple[NDArray[np.float64], list[int]]:
    """(N,) finite float64, NaN where a cell is missing or bad, and the indices of the bad cells, which are not numbers."""
    if isinstance(cells, np.ndarray) and cells.dtype.kind in "fiub":
        values = cells.astype(np.float64)
        return np.where(np.isinf(values), np.nan, values), np.flatnonzero(np.isinf(values)).tolist()
    try:
        # Zero is false too, so only false cells are compared with the empty one.
        values = np.array([float(c) if c else math.nan if c is None or c == "" else float(c) for c in cells], dtype=np.float64)
        bad: list[int] = []
    except (TypeError, ValueError, OverflowError):
        values, bad = _numbers_one_by_one(cells)
    infinite = np.isinf(values)
    if infinite.any():
        bad = sorted({*bad, *np.flatnonzero(infinite).tolist()})
        values[infinite] = math.nan
    return values, bad


def _numbers_one_by_one(cells: Sequence[Any] | NDArray[Any]) -> tuple[NDArray[np.float64], list[int]]:
    values = np.full(len(cells), math.nan)
    bad = []
    for row, cell in enumerate(cells):
        try:
            values[row] = float(cell)
        except (TypeError, ValueError, OverflowError):
            if not is_missing(cell):
                bad.append(row)
    return values, bad


def timestamps(cells: Sequence[Any] | NDArray[Any], zone: tzinfo = UTC) -> tuple[NDArray[np.int64], list[int]]:
    """(N,) int64 milliseconds since 1970 UTC, `MISSING_TIME` where missing or bad, and the indices of the bad cells.

    Accepts what `time.parse_timestamp` accepts; a time without an offset is in `zone`.
    """
    values = np.full(len(cells), MISSING_TIME, dtype=np.int64)
    bad = []
    seen: dict[Any, int | None] = {}  # files repeat their times: one per basket, or one per day
    for row, cell in enumerate(cells):
        try:
            moment = seen[cell]
        except KeyError:
            moment = seen[cell] = parse_timestamp(cell, zone)
        except TypeError:  # unhashable: a JSON list or object
            moment = None
        if moment is not None:
            values[row] = moment
        elif not is_missing(cell):
            bad.append(row)
    return values, bad


def words(cells: Sequence[Any] | NDArray[Any]) -> list[str | None]:
    """(N,) words as categories are compared: stripped, `None` where missing. 3.0, 3 and "3" are the same word."""
    if set(map(type, cells)) <= _TEXT:  # each different text once: columns of many rows hold few
        found = {cell: word(cell) for cell in dict.fromkeys(cells)}
        return [found[cell] for cell in cells]
    return [word(cell) for cell in cells]


def word(cell: Any) -> str | None:
    """One cell of `words`."""
    if isinstance(cell, str):
        text = cell.strip()
        return None if text.lower() in MISSING_WORDS else text
    if cell is None:
        return None
    if isinstance(cell, bool | np.bool_):
        return "true" if cell else "false"
    if isinstance(cell, float | np.floating):
        number = float(cell)
        if math.isnan(number):
            return None
        return str(int(number)) if number.is_integer() else repr(number)
    if isinstance(cell, list | tuple):
        return "|".join(str(part) for part in cell) or None
    return str(cell)


def map_cells(content: Sequence[Any] | NDArray[Any], convert: Callable[[Any], int], dtype: Any) -> NDArray[Any]:
    """(N,) `convert` of each cell; it is called once for each different text."""
    if set(map(type, content)) <= _TEXT:
        found = {cell: convert(cell) for cell in dict.fromkeys(content)}
        return np.fromiter(map(found.__getitem__, content), dtype=dtype, count=len(content))
    return np.fromiter(map(convert, content), dtype=dtype, count=len(content))  # JSON: 1, 1.0 and True are equal keys


def expected(what: str, cell: Any) -> str:
    """A message about a bad cell, which is quoted up to 40 characters: for files and responses, never for logs.

    >>> expected("a number", "twelve")
    "expected a number, received 'twelve'"
    """
    text = str(cell)
    return f"expected {what}, received {text[:40]!r}{'…' if len(text) > 40 else ''}"
