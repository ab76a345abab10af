"""From rows of an items table, in a request or a file, to a part of the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.catalog.contents import CatalogPart
from personalization.core import cells
from personalization.core.categorical import MISSING, CategoricalColumn
from personalization.core.errors import RowFault
from personalization.core.schema import ITEM_ID, MAX_ID_LENGTH

REMOVED: Final = "removed"  # a true cell takes the item out of the catalogue
_TRUE: Final = frozenset({"true", "1", "yes", "y"})
_FALSE: Final = frozenset({"false", "0", "no", "n"})


@dataclass(frozen=True, slots=True)
class ParsedItems:
    """What rows say; of several rows of one item the last.

    part     without the rows that have faults
    used     (rows,) whether a row is in the part, or was overruled by a later one
    faults   by row
    """

    part: CatalogPart
    used: NDArray[np.bool_]
    faults: list[RowFault]


def parse_items(columns: Mapping[str, Sequence[Any]], rows: int, zone: tzinfo) -> ParsedItems:
    """Rows by canonical columns. A column that is not there states nothing; an empty cell says that there is none."""
    faults: list[RowFault] = []
    ids = cells.words(columns.get(ITEM_ID, [None] * rows))
    faults += [
        RowFault(row, ITEM_ID, f"expected an id of at most {MAX_ID_LENGTH} characters")
        for row, item in enumerate(ids)
        if not item or len(item) > MAX_ID_LENGTH
    ]
    told = {name: CategoricalColumn.from_cells(content, rows) for name, content in columns.items() if name != ITEM_ID}
    checks: dict[str, tuple[Callable[[Sequence[str]], list[int]], str]] = {
        "price": (_bad_prices, "a number, not negative"),
        "created_at": (lambda words: cells.timestamps(words, zone)[1], "a date or time"),
        "in_stock": (_bad_flags, "true or false"),
        REMOVED: (_bad_flags, "true or false"),
    }
    for name, (check, expected) in checks.items():
        if name in told:
            faults += _faults(name, told[name], check(told[name].words), expected)
    used = np.ones(rows, bool)
    used[[fault.row for fault in faults]] = False
    last = {ids[row]: row for row in np.flatnonzero(used).tolist()}
    flags = told.pop(REMOVED, None)
    gone = {item for item, row in last.items() if flags is not None and (flags.word(row) or "").lower() in _TRUE}
    kept = np.array([row for item, row in last.items() if item not in gone], np.int64)
    part = CatalogPart(
        [ids[row] or "" for row in kept.tolist()],
        {name: column.take(kept) for name, column in told.items()},
        sorted(item for item in gone if item),
    )
    return ParsedItems(part, used, sorted(faults, key=lambda fault: fault.row))


def _bad_prices(words: Sequence[str]) -> list[int]:
    values, bad = cells.numbers(words)
    return sorted({*bad, *np.flatnonzero(values < 0).tolist()})


def _bad_flags(words: Sequence[str]) -> list[int]:
    return [code for code, word in enumerate(words) if word.lower() not in _TRUE | _FALSE]


def _faults(name: str, column: CategoricalColumn, bad: Sequence[int], expected: str) -> list[RowFault]:
    if not bad:
        return []
    rows = np.flatnonzero(np.isin(column.codes, bad) & (column.codes > MISSING)).tolist()
    return [RowFault(row, name, cells.expected(expected, column.word(row))) for row in rows]
