"""Encoding of a table's columns to the two tensors of a tabular network; the same code trains and serves.

The network's graph has what is learnt (filling of missing values, scaling, embeddings). A bundle's `columns` have the kind of
each column, and the vocabularies.

Codes of a categorical column: 0 missing, 1 never seen in training, 2 + i the i-th word of its vocabulary. A hashed column
(too many words to list, or too personal to store) has 0 missing and 1 + bucket.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from personalization.core import cells
from personalization.core.errors import RowFault
from personalization.core.time import DAY_MS, MISSING_TIME, hour_of_day, local_time, parse_timezone, weekday

# Cells of a table by column name: lists as files and requests bring them, or arrays.
TableColumns = Mapping[str, Sequence[Any] | NDArray[Any]]

Kind = Literal["numeric", "date", "categorical", "hashed"]
NUMERIC: Final = "numeric"
CATEGORICAL: Final = "categorical"
MISSING_CODE: Final = 0
UNKNOWN_CODE: Final = 1

# Numbers of a date column: a position in time, and the year, week and day.
DATE_PARTS: Final = ("days", "month", "weekday", "hour")


@dataclass(frozen=True, slots=True)
class Column:
    """How one column of the table is read.

    name         as in the table
    kind         numeric | date | categorical | hashed
    vocabulary   the words of a categorical column, most frequent first
    buckets      number of buckets of a hashed column
    salt         key of a hashed column's hash, hexadecimal
    """

    name: str
    kind: Kind
    vocabulary: tuple[str, ...] = ()
    buckets: int = 0
    salt: str = ""

    @property
    def cardinality(self) -> int:
        """Number of codes of a categorical or hashed column, missing and unknown included."""
        return 1 + self.buckets if self.kind == "hashed" else 2 + len(self.vocabulary)

    def to_json(self) -> dict[str, Any]:
        content: dict[str, Any] = {"name": self.name, "kind": self.kind}
        if self.kind == CATEGORICAL:
            content["vocabulary"] = list(self.vocabulary)
        if self.kind == "hashed":
            content |= {"buckets": self.buckets, "salt": self.salt}
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Column:
        return cls(
            name=content["name"],
            kind=content["kind"],
            vocabulary=tuple(content.get("vocabulary", ())),
            buckets=content.get("buckets", 0),
            salt=content.get("salt", ""),
        )


@dataclass(frozen=True, slots=True)
class Encoded:
    """Tensors of `rows` rows by input name, and the cells that counted as missing because they were bad."""

    inputs: dict[str, NDArray[Any]]
    bad_cells: list[RowFault]
    rows: int


@dataclass(frozen=True)
class TableEncoder:
    """Encodes tables by the columns of a bundle, in the order of its tensors.

    >>> encoder = TableEncoder((Column("age", "numeric"), Column("channel", "categorical", ("web", "app"))))
    >>> encoder.encode({"age": ["31", ""], "channel": ["app", "fax"]}, 2).inputs["categorical"].tolist()
    [[3], [1]]
    """

    columns: tuple[Column, ...]
    zone: tzinfo = UTC
    _codes: dict[str, dict[str, int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        codes = {c.name: {word: 2 + i for i, word in enumerate(c.vocabulary)} for c in self.columns}
        object.__setattr__(self, "_codes", codes)

    @classmethod
    def from_json(cls, columns: Sequence[Mapping[str, Any]], timezone: str = "UTC") -> TableEncoder:
        return cls(tuple(Column.from_json(column) for column in columns), parse_timezone(timezone))

    def to_json(self) -> list[dict[str, Any]]:
        return [column.to_json() for column in self.columns]

    @property
    def numeric_names(self) -> tuple[str, ...]:
        """Names of the columns of the `numeric` tensor; a date column gives one for each of `DATE_PARTS`."""
        names: list[str] = []
        for column in self.columns:
            if column.kind == NUMERIC:
                names.append(column.name)
            elif column.kind == "date":
                names.extend(f"{column.name}.{part}" for part in DATE_PARTS)
        return tuple(names)

    @property
    def categorical_columns(self) -> tuple[Column, ...]:
        """The columns of the `categorical` tensor."""
        return tuple(column for column in self.columns if column.kind in (CATEGORICAL, "hashed"))

    def encode(self, table: TableColumns, rows: int) -> Encoded:
        """Tensors for `rows` rows: `numeric` float32 (rows, n) with NaN where missing, `categorical` int64 (rows, m).

        A tensor without columns is left out, as in the graph. A column that `table` lacks counts as missing; so does a bad
        cell, which is also listed in `bad_cells`. Never raises for data.
        """
        names = self.numeric_names
        values = np.full((rows, len(names)), np.nan)
        categorical = np.zeros((rows, len(self.categorical_columns)), dtype=np.int64)
        bad: list[RowFault] = []
        n = m = 0
        for column in self.columns:
            content = table.get(column.name)
            if column.kind == NUMERIC:
                if content is not None:
                    values[:, n], wrong = cells.numbers(content)
                    bad.extend(RowFault(r, column.name, cells.expected("a number", content[r])) for r in wrong)
                n += 1
            elif column.kind == "date":
                if content is not None:
                    wrong = self._date_parts(content, values[:, n : n + len(DATE_PARTS)])
                    bad.extend(RowFault(r, column.name, cells.expected("a date or time", content[r])) for r in wrong)
                n += len(DATE_PARTS)
            else:
                if content is not None:
                    categorical[:, m] = self._category_codes(column, content)
                m += 1
        with np.errstate(over="ignore"):
            numeric = values.astype(np.float32)
        beyond = np.isinf(numeric)  # of float32; compared once for all columns: one user's row is short and wide
        if beyond.any():
            numeric[beyond] = np.nan
            bad.extend(
                RowFault(r, names[c], cells.expected("a number", table[names[c]][r])) for r, c in np.argwhere(beyond).tolist()
            )
        inputs: dict[str, NDArray[Any]] = {}
        if numeric.shape[1]:
            inputs["numeric"] = numeric
        if categorical.shape[1]:
            inputs["categorical"] = categorical
        return Encoded(inputs, bad, rows)

    def _date_parts(self, content: Sequence[Any] | NDArray[Any], out: NDArray[np.float64]) -> list[int]:
        moments, bad = cells.timestamps(content, self.zone)
        known = np.flatnonzero(moments != MISSING_TIME)
        local = local_time(moments[known], self.zone)
        month = local.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64) % 12
        out[known] = np.stack([local // DAY_MS, month, weekday(local), hour_of_day(local)], axis=1)
        return bad

    def _category_codes(self, column: Column, content: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        known = self._codes[column.name]

        def code(cell: Any) -> int:
            word = cells.word(cell)
            if word is None:
                return MISSING_CODE
            return bucket_code(word, column) if column.kind == "hashed" else known.get(word, UNKNOWN_CODE)

        return cells.map_cells(content, code, np.int64)


def bucket_code(word: str, column: Column) -> int:
    """Code of a word of a hashed column: 1 + its bucket, the same in every process."""
    digest = hashlib.blake2b(word.encode(), digest_size=8, key=bytes.fromhex(column.salt)).digest()
    return 1 + int.from_bytes(digest, "little") % column.buckets
