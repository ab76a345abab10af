"""From JSON rows to columns, and from columns back to places in the body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from personalization.core.schema import canonical_column

Row = dict[str, Any]
Columns = dict[str, list[Any]]

canonical = lru_cache(maxsize=1024)(canonical_column)


def columns_of(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Cells by column name, `None` where a row has none."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def canonical_columns(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Cells by our own names of columns; where a row has several names of one, the first that is not `None` counts."""
    columns: Columns = {}
    for name, cells in columns_of(rows).items():
        known = columns.get(canonical(name))
        columns[canonical(name)] = (
            cells if known is None else [b if a is None else a for a, b in zip(known, cells, strict=True)]
        )
    return columns


def as_sent(row: Mapping[str, Any], column: str) -> str:
    """The name under which a row holds a canonical column, for a pointer that its sender understands."""
    return next((name for name in row if canonical(name) == column), column)
