"""Tables in files, opened by their content and read in columns, a chunk of rows at a time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import numpy as np

from personalization.core.cells import numbers
from personalization.core.errors import InvalidInput
from personalization.core.schema import FLAT, TABLE_BY_KIND, table_kind
from personalization.data.column_mapping import ColumnMapping
from personalization.data.csv_reader import CsvReader, read_header
from personalization.data.json_reader import JsonLinesReader, parse_objects
from personalization.data.records import RecordReader, Records, Reject
from personalization.data.text_blocks import text_blocks

ROWS: Final = 65_536


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a table.

    columns   our name → one cell for each row: `str` in CSV, any scalar or list of scalars in JSON Lines
    lines     physical line on which each row starts
    rejects   lines among and before these rows that are no rows, by line; every line of the file is in one of the two
    """

    columns: dict[str, Sequence[Any]]
    lines: list[int]
    rejects: list[Reject]
    _records: Records
    _first: int

    def __len__(self) -> int:
        return len(self.lines)

    def raw(self, row: int) -> str:
        """The row as it stands in the file, at most 1,024 characters."""
        return self._records.raw(self._first + row)

    def reject(self, row: int, column: str, reason: str) -> Reject:
        """A reject for one of these rows, because of its cell in `column` (empty: because of the whole row)."""
        return Reject(self.lines[row], f"/{column}" if column else "", reason, self.raw(row))


@dataclass(frozen=True)
class TableReader:
    """An opened table.

    kind      of table: see `schema.TABLES`; `schema.FLAT` for a feature table
    header    the file's own column names; of JSON Lines the keys that its first lines have
    columns   our names of the columns that are read, constants included
    """

    path: Path
    kind: str
    header: tuple[str, ...]
    columns: tuple[str, ...]
    _constants: Mapping[str, str]
    _reader: RecordReader

    def chunks(self, rows: int = ROWS) -> Iterator[Chunk]:
        """All rows of the file in order, at most `rows` at a time; each call reads the file from its start.

        Raises `InvalidInput` where a gzip stream is damaged or cut off.
        """
        for records in self._reader.records(text_blocks(self.path)):
            count, given = len(records.starts), 0
            for first in range(0, max(count, 1), rows):
                stop = min(first + rows, count)
                columns = {name: cells[first:stop] for name, cells in records.columns.items()}
                columns |= {name: [value] * (stop - first) for name, value in self._constants.items()}
                lines = [records.first_line + at for at in records.starts[first:stop]]
                # The last rows come with all rejects that are left.
                until = len(records.rejects)
                if stop < count:
                    until = bisect_left(records.rejects, lines[-1], key=attrgetter("line"))
                yield Chunk(columns, lines, records.rejects[given:until], records, first)
                given = until


def open_table(
    path: Path,
    *,
    mapping: Mapping[str, str] | None = None,
    kind: str | None = None,
    canonical: bool = True,
    only: Collection[str] | None = None,
) -> TableReader:
    """Open a file as a table: format, encoding, delimiter and kind follow from its first lines.

    path        CSV (comma, semicolon, tab or bar) or JSON Lines, gzipped or not
    mapping     our name → the shop's column, or ``=constant``
    kind        of table that is expected; where `None`, it follows from the columns
    canonical   apply our spelling and aliases to the names; a flat feature table keeps its own
    only        our names of the columns to read; all where `None`

    Raises `InvalidInput` for an empty file, a file without header, ambiguous names or missing required columns.
    """
    naming = ColumnMapping(canonical, mapping or {})
    block = next(text_blocks(path), None)
    start = next((line.lstrip()[:1] for line in block.lines if line.strip()), "") if block else ""
    if block is None or not start:
        raise InvalidInput("expected a table, received an empty file")
    if start == "[":
        raise InvalidInput("expected JSON Lines, one object a line, received a JSON array")
    reader: RecordReader
    if start == "{":
        header = list(dict.fromkeys(chain.from_iterable(parse_objects(Records(1, block.lines), block.decodable))))
        names = naming.resolve(header)
        reader = JsonLinesReader(naming, {header[index]: name for name, index in names.items()}, only)
    else:
        csv_header = read_header(block)
        header = csv_header.names
        _refuse_numbers(header)
        names = naming.resolve(header)
        reader = CsvReader(csv_header, {name: index for name, index in names.items() if only is None or name in only})
    every = [*names, *naming.constants]
    table = _kind(set(every), kind) if canonical else FLAT
    constants = {name: value for name, value in naming.constants.items() if only is None or name in only}
    columns = tuple(name for name in every if only is None or name in only)
    return TableReader(path, table, tuple(header), columns, constants, reader)


def _kind(columns: set[str], expected: str | None) -> str:
    if expected is None:
        return table_kind(columns) or FLAT
    missing = [name for name in TABLE_BY_KIND[expected].required if name not in columns]
    if missing:
        # The header is not quoted: in a file without one it is a row of data.
        raise InvalidInput(
            f"expected a header with the columns of {expected}: {', '.join(TABLE_BY_KIND[expected].required)}; missing: "
            f"{', '.join(missing)}. A mapping gives other names"
        )
    return expected


def _refuse_numbers(header: list[str]) -> None:
    values, bad = numbers(header)
    if len(values) and not bad and not np.isnan(values).all():
        raise InvalidInput("expected a header line with the names of the columns, received a line of numbers")
