"""Tables in files, whether CSV, CSV.gz, JSON Lines or Parquet: chunk by chunk, whole, or as a lookup by id."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from personalization.core import cells
from personalization.core.errors import InvalidInput
from personalization.core.schema import ITEM_ID, USER_ID, table_kind
from personalization.data import Reject, open_table, parse_mapping
from training.io.parquet import is_parquet, open_parquet

MAPPING_SUFFIX: Final = ".map.json"
_POOL_SIZE: Final = 10_000


class TableChunk(NamedTuple):
    """columns          our name → `rows` cells
    reject_reasons   why lines among and before these rows are no rows
    """

    columns: dict[str, Sequence[Any]]
    rows: int
    reject_reasons: list[str]


@dataclass(frozen=True)
class FlatTable:
    """columns   cells by the table's own column names, `rows` each
    rejects   lines of the file that are no rows
    """

    columns: dict[str, Sequence[Any]]
    rows: int
    rejects: list[Reject] = field(default_factory=list)

    def without(self, *names: str) -> dict[str, Sequence[Any]]:
        return {name: content for name, content in self.columns.items() if name not in names}


def read_chunks(
    path: Path,
    required: Collection[str],
    *,
    mapping: Mapping[str, str] | None = None,
    only: Collection[str] | None = None,
    zone: tzinfo = UTC,
) -> Iterator[TableChunk]:
    """The rows of a file in order, at most 65,536 at a time; one empty chunk for a table without rows.

    required   our names of the columns that the file must have
    mapping    our name → their column; a mapping file beside the table wins
    only       our names of the columns to read; None for all
    zone       of Parquet timestamps without an offset

    Raises `InvalidInput` where a required column is missing or the file cannot be read.
    """
    mapping = _mapping_for(path, mapping)
    if is_parquet(path):
        parquet = open_parquet(path, mapping=mapping, only=only, zone=zone)
        _require(path, required, parquet.columns, parquet.header)
        for columns, rows in parquet.chunks():
            yield TableChunk(columns, rows, [])
        if not parquet.rows:
            yield TableChunk({name: [] for name in parquet.columns}, 0, [])
        return
    text = open_table(path, mapping=mapping, only=None if only is None else frozenset(only))
    _require(path, required, text.columns, text.header)
    for chunk in text.chunks():
        yield TableChunk(chunk.columns, len(chunk), [reject.reason for reject in chunk.rejects])


def read_flat_table(path: Path, mapping: Mapping[str, str] | None = None) -> FlatTable:
    """A whole feature table under its own column names. Times of Parquet stay `datetime` objects.

    Raises `InvalidInput` where the file is no table, or has no rows.
    """
    if is_parquet(path):
        parquet = open_parquet(path, mapping=mapping, canonical=False, zone=None)
        table = FlatTable(parquet.read(), parquet.rows)
    else:
        table = _read_flat_text(path, mapping or {})
    if not table.rows:
        rejected = f"; {len(table.rejects)} lines are no rows" if table.rejects else ""
        raise InvalidInput(f"expected rows in {path.name}, received none{rejected}")
    return table


def _read_flat_text(path: Path, mapping: Mapping[str, str]) -> FlatTable:
    columns: dict[str, list[Any]] = {}
    rejects: list[Reject] = []
    pools: dict[str, dict[str, str]] = {}
    rows = 0
    for chunk in open_table(path, mapping=mapping, canonical=False).chunks():
        for name in columns.keys() - chunk.columns.keys():
            columns[name].extend([None] * len(chunk))
        for name, content in chunk.columns.items():
            # JSON Lines may show a new key late; in the rows before it, it was missing.
            columns.setdefault(name, [None] * rows).extend(_interned(content, pools.setdefault(name, {})))
        rejects.extend(chunk.rejects)
        rows += len(chunk)
    return FlatTable(dict(columns), rows, rejects)


def _interned(content: Sequence[Any], pool: dict[str, str]) -> Sequence[Any]:
    """Equal words as one object: a million strings of a few words take a lot of memory."""
    if len(pool) > _POOL_SIZE:
        return content
    return [pool.setdefault(cell, cell) if type(cell) is str else cell for cell in content]


def read_id_map(path: Path) -> dict[str, str]:
    """Other id → user_id, from a table with a column `user_id` and one more.

    Raises `InvalidInput` for another number of columns, or another id that belongs to two users.
    """
    user_of: dict[str, str] = {}
    for columns, _, _ in read_chunks(path, (USER_ID,)):
        others = [name for name in columns if name != USER_ID]
        if len(others) != 1:
            raise InvalidInput(f"{path.name}: expected the columns user_id and one other id, received {', '.join(columns)}")
        for other, user in zip(cells.words(columns[others[0]]), cells.words(columns[USER_ID]), strict=True):
            if other and user and user_of.setdefault(other, user) != user:
                raise InvalidInput(f"{path.name}: expected each other id once, received one for two users")
    return user_of


def read_categories(path: Path, mapping: Mapping[str, str] | None = None) -> dict[str, str]:
    """Category by item id, of the items that have one."""
    category_of: dict[str, str] = {}
    for columns, rows, _ in read_chunks(path, (ITEM_ID,), mapping=mapping, only={ITEM_ID, "category"}):
        categories = cells.words(columns.get("category", [None] * rows))
        pairs = zip(cells.words(columns[ITEM_ID]), categories, strict=True)
        category_of.update((item, category) for item, category in pairs if item and category)
    return category_of


def read_attributes(
    path: Path,
    users: Sequence[str],
    mapping: Mapping[str, str] | None = None,
    user_ids: Mapping[str, str] | None = None,
    zone: tzinfo = UTC,
) -> dict[str, NDArray[np.object_]]:
    """Columns of the users table: one cell for each of `users`, None where the table does not have the user.

    user_ids   other id → user_id, as `read_id_map` returns it
    """
    row_of = {user: row for row, user in enumerate(users)}
    user_ids = user_ids or {}
    attributes: dict[str, NDArray[np.object_]] = {}
    for columns, _, _ in read_chunks(path, (USER_ID,), mapping=mapping, zone=zone):
        ids = [user_ids.get(word or "", word or "") for word in cells.words(columns[USER_ID])]
        pairs = [(source, row_of[user]) for source, user in enumerate(ids) if user in row_of]
        for name, content in columns.items():
            if name != USER_ID:
                column = attributes.setdefault(name, np.full(len(users), None, dtype=object))
                for source, row in pairs:
                    column[row] = content[source]
    return attributes


def _mapping_for(path: Path, default: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """The mapping in ``<file>.map.json`` beside a file, or else `default`."""
    beside = path.with_name(path.name + MAPPING_SUFFIX)
    return parse_mapping(beside.read_bytes()) if beside.is_file() else default


def _require(path: Path, required: Collection[str], columns: Sequence[str], header: Sequence[str]) -> None:
    missing = [name for name in required if name not in columns]
    if missing:
        kind = table_kind(set(columns))
        hint = f" (it looks like {kind})" if kind else ""
        raise InvalidInput(
            f"{path.name}: expected the columns {', '.join(required)}; missing: {', '.join(missing)}{hint}. It has "
            f"{', '.join(header[:20])}. --map gives other names: --map {missing[0]}=THEIR_NAME"
        )
