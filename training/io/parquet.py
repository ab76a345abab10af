"""Parquet tables as columns of cells, in the form in which the readers of CSV and JSON Lines give them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from personalization.core.errors import InvalidInput
from personalization.data.column_mapping import ColumnMapping

ROWS: Final = 65_536
_MAGIC: Final = b"PAR1"


def is_parquet(path: Path) -> bool:
    """Whether the content is Parquet, whatever the file's name. Raises `InvalidInput` where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(_MAGIC)) == _MAGIC
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None


@dataclass(frozen=True)
class ParquetReader:
    """An opened Parquet table.

    header    the file's own column names
    columns   our names of the columns that are read, constants included
    rows      of the file
    """

    header: tuple[str, ...]
    columns: tuple[str, ...]
    rows: int
    _file: pq.ParquetFile
    _indices: Mapping[str, int]
    _constants: Mapping[str, str]
    _zone: tzinfo | None

    def chunks(self, rows: int = ROWS) -> Iterator[tuple[dict[str, Sequence[Any]], int]]:
        """Columns by our name, and their number of rows, in the file's order, at most `rows` at a time."""
        for batch in self._file.iter_batches(batch_size=rows, columns=[self.header[i] for i in self._indices.values()]):
            columns: dict[str, Sequence[Any]] = {
                name: _cells(batch.column(batch.schema.get_field_index(self.header[index])), self._zone)
                for name, index in self._indices.items()
            }
            columns |= {name: [value] * batch.num_rows for name, value in self._constants.items()}
            yield columns, batch.num_rows

    def read(self) -> dict[str, Sequence[Any]]:
        """All rows at once, by our name."""
        table = self._file.read(columns=[self.header[index] for index in self._indices.values()])
        columns = {name: _cells(table[self.header[i]].combine_chunks(), self._zone) for name, i in self._indices.items()}
        return columns | {name: [value] * self.rows for name, value in self._constants.items()}


def open_parquet(
    path: Path,
    *,
    mapping: Mapping[str, str] | None = None,
    only: Collection[str] | None = None,
    canonical: bool = True,
    zone: tzinfo | None = UTC,
) -> ParquetReader:
    """Open a file and resolve its column names.

    mapping, only, canonical   as in `personalization.data.open_table`
    zone                       of times without one; None leaves all times `datetime` objects

    Raises `InvalidInput` where the file is no readable Parquet file, or its column names are ambiguous.
    """
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InvalidInput(f"{path.name} is not a readable Parquet file: {error}") from None
    header = tuple(str(name) for name in file.schema_arrow.names)
    naming = ColumnMapping(canonical, mapping or {})
    indices = {name: index for name, index in naming.resolve(header).items() if only is None or name in only}
    constants = {name: value for name, value in naming.constants.items() if only is None or name in only}
    return ParquetReader(header, (*indices, *constants), file.metadata.num_rows, file, indices, constants, zone)


def _cells(column: pa.Array, zone: tzinfo | None) -> Any:
    """Cells as JSON has them: text, numbers with None where missing, times as milliseconds of 1970 UTC."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_timestamp(kind) and zone is not None:
        if kind.tz is None and zone is not UTC:
            column = pc.assume_timezone(column, str(zone), ambiguous="earliest", nonexistent="latest")
        column = column.cast(pa.timestamp("ms", "UTC"), safe=False).cast(pa.int64())
    elif pa.types.is_decimal(kind) or pa.types.is_float16(kind):
        column = column.cast(pa.float64())
    if pa.types.is_floating(column.type):
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)  # NaN where missing
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        # Equal words as one object: a chunk repeats its users and items.
        encoded = column.dictionary_encode()
        words = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
        codes = encoded.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)
        return words[codes].tolist()
    return column.to_pylist()
