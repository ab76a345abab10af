"""Items with their columns, and tombstones of items that were removed: one change (a part), and all changes folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from personalization.core.categorical import UNSTATED, CategoricalColumn, Vocabulary
from personalization.core.errors import CatalogInvalid

_IDS, _REMOVED, _COLUMNS = "ids", "removed", "columns"


@dataclass(frozen=True, slots=True)
class PartRef:
    """The S3 key of a part, and the sha256 and size of its bytes."""

    key: str
    sha256: str
    size: int


@dataclass(frozen=True)
class CatalogPart:
    """One change of the catalog: cells of some items, and the items that it removes.

    ids       each once
    columns   by name, a cell for each id; an `UNSTATED` cell leaves the value of earlier parts
    removed   ids
    """

    ids: Sequence[str]
    columns: Mapping[str, CategoricalColumn] = field(default_factory=dict)
    removed: Sequence[str] = ()

    def to_bytes(self) -> bytes:
        """The same part gives the same bytes."""
        names = sorted(self.columns)
        arrays = {_IDS: _json_array(self.ids), _REMOVED: _json_array(self.removed), _COLUMNS: _json_array(names)}
        for number, name in enumerate(names):
            arrays[f"codes_{number}"] = self.columns[name].codes
            arrays[f"words_{number}"] = _json_array(self.columns[name].words)
        out = BytesIO()
        np.savez(out, **arrays)  # type: ignore[arg-type]
        return out.getvalue()

    @classmethod
    def from_bytes(cls, raw: bytes) -> CatalogPart:
        """Raises `CatalogInvalid` for bytes that are not a part."""
        try:
            with np.load(BytesIO(raw), allow_pickle=False) as content:
                columns = {
                    name: CategoricalColumn(content[f"codes_{number}"], _words(content[f"words_{number}"]))
                    for number, name in enumerate(_words(content[_COLUMNS]))
                }
                return cls(_words(content[_IDS]), columns, _words(content[_REMOVED]))
        except (ValueError, KeyError, OSError, EOFError, orjson.JSONDecodeError) as error:
            raise CatalogInvalid(f"a part of the catalog cannot be read: {error!r}") from None


@dataclass(frozen=True)
class ItemCatalog:
    """All parts folded: every item that a part named.

    ids        each once, in order of first appearance
    columns    by name, a cell for each id
    removed    (len(ids),) whether the item was removed
    version    of the pointer that named the parts
    parts      that were folded, oldest first
    """

    ids: Sequence[str]
    columns: Mapping[str, CategoricalColumn]
    removed: NDArray[np.bool_]
    version: str = ""
    parts: tuple[PartRef, ...] = ()

    def with_part(self, part: CatalogPart) -> ItemCatalog:
        """A catalog with one more change; this one is not modified."""
        codes = Vocabulary(self.ids)
        rows = codes.codes(part.ids).astype(np.int64)
        removed_rows = codes.codes(part.removed).astype(np.int64)
        size = len(codes.words)
        removed = np.append(self.removed, np.zeros(size - len(self.ids), bool))
        removed[removed_rows] = True
        removed[rows] = False
        columns = {}
        for name in {**self.columns, **part.columns}:
            column = self.columns.get(name, CategoricalColumn.empty(0)).resize(size)
            if len(removed_rows):  # an item that comes back starts empty
                column = _cleared(column, removed_rows)
            columns[name] = column.update(rows, part.columns[name]) if name in part.columns else column
        return ItemCatalog(codes.words, columns, removed, self.version, self.parts)

    def as_part(self) -> CatalogPart:
        """All of it as one part. Tombstones are kept, because a model may hold items that were removed."""
        kept = np.flatnonzero(~self.removed)
        columns = {name: column.take(kept).compact() for name, column in self.columns.items()}
        removed = [self.ids[row] for row in np.flatnonzero(self.removed).tolist()]
        return CatalogPart([self.ids[row] for row in kept.tolist()], columns, removed)


def empty_catalog() -> ItemCatalog:
    return ItemCatalog([], {}, np.zeros(0, bool))


def _cleared(column: CategoricalColumn, rows: NDArray[np.int64]) -> CategoricalColumn:
    codes = column.codes.copy()
    codes[rows] = UNSTATED
    return CategoricalColumn(codes, column.words)


def _json_array(words: Sequence[str]) -> NDArray[Any]:
    return np.frombuffer(orjson.dumps(list(words)), np.uint8)


def _words(raw: NDArray[Any]) -> list[str]:
    words: list[str] = orjson.loads(raw.tobytes())
    return words
