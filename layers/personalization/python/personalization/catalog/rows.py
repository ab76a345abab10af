"""Parses rows of an items table, of a request or a file, into a part of the catalog."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.catalog.item_catalog import CatalogPart
from personalization.core import cells
from personalization.core.categorical import MISSING, CategoricalColumn
from personalization.core.errors import RowFault
from personalization.core.schema import ITEM_ID, MAX_ID_LENGTH

REMOVED: Final = "removed"  # a true cell removes the item from the catalog
_TRUE: Final = frozenset({"true", "1", "yes", "y"})
_FALSE: Final = frozenset({"false", "0", "no", "n"})


@dataclass(frozen=True, slots=True)
class ParsedItems:
    """Rows as one part; of several rows of one item the last counts.

    part     of the rows without faults
    used     (rows,) whether a row has no fault; an earlier row of the same item counts as used
    faults   by row
    """

    part: CatalogPart
    used: NDArray[np.bool_]
    faults: list[RowFault]


def parse_items(columns: Mapping[str, Sequence[Any]], rows: int, zone: tzinfo) -> ParsedItems:
    """Parse rows with canonical column names.

    A column that is not there leaves the cells of the catalog; an empty cell removes the value. A row with a fault is left out.
    """
    ids = cells.words(columns.get(ITEM_ID, [None] * rows))
    faults = [
        RowFault(row, ITEM_ID, f"expected an id of at most {MAX_ID_LENGTH} characters")
        for row, item in enumerate(ids)
        if not item or len(item) > MAX_ID_LENGTH
    ]
    parsed = {name: CategoricalColumn.from_cells(content, rows) for name, content in columns.items() if name != ITEM_ID}
    checks: dict[str, tuple[Callable[[Sequence[str]], list[int]], str]] = {
        "price": (_bad_prices, "a number, not negative"),
        "created_at": (lambda words: cells.timestamps(words, zone)[1], "a date or time"),
        "in_stock": (_bad_flags, "true or false"),
        REMOVED: (_bad_flags, "true or false"),
    }
    for name in checks.keys() & parsed.keys():
        column, (bad_words, expected) = parsed[name], checks[name]
        bad = bad_words(column.words)
        faults += [
            RowFault(row, name, cells.expected(expected, column.word(row)))
            for row in (np.flatnonzero(np.isin(column.codes, bad) & (column.codes > MISSING)).tolist() if bad else ())
        ]
    used = np.ones(rows, bool)
    used[[fault.row for fault in faults]] = False
    last = {ids[row] or "": row for row in np.flatnonzero(used).tolist()}
    flags = parsed.pop(REMOVED, None)
    removed = {item for item, row in last.items() if flags is not None and (flags.word(row) or "").lower() in _TRUE}
    kept = {item: row for item, row in last.items() if item not in removed}
    kept_rows = np.array(list(kept.values()), np.int64)
    part = CatalogPart(list(kept), {name: column.take(kept_rows) for name, column in parsed.items()}, sorted(removed))
    return ParsedItems(part, used, sorted(faults, key=lambda fault: (fault.row, fault.column)))


def _bad_prices(words: Sequence[str]) -> list[int]:
    values, bad = cells.numbers(words)
    return sorted({*bad, *np.flatnonzero(values < 0).tolist()})


def _bad_flags(words: Sequence[str]) -> list[int]:
    return [code for code, word in enumerate(words) if word.lower() not in _TRUE | _FALSE]
