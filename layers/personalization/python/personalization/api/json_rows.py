"""From JSON rows to columns, and from a cell back to its JSON pointer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any

from pydantic import WithJsonSchema

from personalization.api.problems import pointer
from personalization.core.schema import canonical_column

Row = dict[str, Any]
# The same in request bodies; `openapi.yaml` describes their columns by the model of this name in `row_models`.
InteractionCells = Annotated[Row, WithJsonSchema({"x-row": "InteractionRow"})]
ItemCells = Annotated[Row, WithJsonSchema({"x-row": "ItemRow"})]
AdCells = Annotated[Row, WithJsonSchema({"x-row": "AdRow"})]
TableCells = Annotated[Row, WithJsonSchema({"x-row": "TableRow"})]
Columns = dict[str, list[Any]]

canonical = lru_cache(maxsize=1024)(canonical_column)


def columns_of(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Cells by column name, `None` where a row has none."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def canonical_columns(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Cells by canonical column name; of several names of one column in a row, the first that is not `None` counts."""
    columns: Columns = {}
    for name, content in columns_of(rows).items():
        other = columns.get(canonical(name), content)
        columns[canonical(name)] = [b if a is None else a for a, b in zip(other, content, strict=True)]
    return columns


def cell_pointer(place: Sequence[str | int], row: Mapping[str, Any], column: str) -> str:
    """JSON pointer to a canonical column of the row at `place`, by the row's own name for it; to the row without a column."""
    name = next((name for name in row if canonical(name) == column), column)
    return pointer(*place, *([name] if column else []))
