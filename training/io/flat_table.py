"""A flat table in memory, whole: CSV, CSV.gz, JSON Lines or Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from personalization.core.errors import InvalidInput
from personalization.data import Reject, open_table

_PARQUET: Final = b"PAR1"


@dataclass(frozen=True)
class FlatTable:
    """columns   cells by the table's own column names, `rows` each
    rejects   lines of the file that are no rows
    """

    columns: dict[str, Sequence[Any]]
    rows: int
    rejects: list[Reject] = field(default_factory=list)

    def without(self, *names: str) -> dict[str, Sequence[Any]]:
        return {name: cells for name, cells in self.columns.items() if name not in names}


def read_table(path: Path, naming: Mapping[str, str] | None = None) -> FlatTable:
    """Read a table. Raises `InvalidInput` where it is no table, or has no rows."""
    try:
        with path.open("rb") as stream:
            parquet = stream.read(4) == _PARQUET
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None
    table = _read_parquet(path, naming or {}) if parquet else _read_text(path, naming or {})
    if not table.rows:
        raise InvalidInput(
            f"expected rows in {path.name}, found none" + (f"; {len(table.rejects)} lines are no rows" * bool(table.rejects))
        )
    return table


def _read_text(path: Path, naming: Mapping[str, str]) -> FlatTable:
    columns: dict[str, list[Any]] = {}
    rejects: list[Reject] = []
    pools: dict[str, dict[str, str]] = {}
    rows = 0
    for chunk in open_table(path, mapping=naming, canonical=False).chunks():
        for name in columns.keys() - chunk.columns.keys():
            columns[name].extend([None] * len(chunk))
        for name, cells in chunk.columns.items():
            # JSON Lines may show a new key late; in the rows before it, it was missing.
            columns.setdefault(name, [None] * rows).extend(_shared(cells, pools.setdefault(name, {})))
        rejects.extend(chunk.rejects)
        rows += len(chunk)
    return FlatTable(dict(columns), rows, rejects)


def _shared(cells: Sequence[Any], pool: dict[str, str]) -> Sequence[Any]:
    """Equal words as one object: tables repeat themselves, and a million strings are heavy."""
    if len(pool) > 10_000:
        return cells
    return [pool.setdefault(cell, cell) if type(cell) is str else cell for cell in cells]


def _read_parquet(path: Path, naming: Mapping[str, str]) -> FlatTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InvalidInput(f"{path.name} is not a readable Parquet file: {error}") from None
    theirs = {value: name for name, value in naming.items() if not value.startswith("=")}
    columns: dict[str, Sequence[Any]] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        plain = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        columns[theirs.get(name, name)] = column.to_numpy() if plain else column.to_pylist()
    columns |= {name: [value[1:]] * table.num_rows for name, value in naming.items() if value.startswith("=")}
    return FlatTable(columns, table.num_rows)
