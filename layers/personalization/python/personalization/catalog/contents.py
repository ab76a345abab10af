"""What a catalogue holds: items with their columns, and tombstones of items that are gone. Parts of it follow each other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from personalization.core.categorical import UNSTATED, CategoricalColumn, Vocabulary
from personalization.core.errors import BundleInvalid

_IDS, _REMOVED, _COLUMNS = "ids", "removed", "columns"


@dataclass(frozen=True)
class CatalogPart:
    """One change of the catalogue: what it states of some items, and which items it removes.

    ids       each once
    columns   by name, a cell for each id; `UNSTATED` cells leave what was told before
    removed   ids
    """

    ids: Sequence[str]
    columns: Mapping[str, CategoricalColumn] = field(default_factory=dict)
    removed: Sequence[str] = ()

    def to_bytes(self) -> bytes:
        """The same part gives the same bytes."""
        names = sorted(self.columns)
        arrays = {_IDS: _text(self.ids), _REMOVED: _text(self.removed), _COLUMNS: _text(names)}
        for number, name in enumerate(names):
            arrays[f"codes_{number}"] = self.columns[name].codes
            arrays[f"words_{number}"] = _text(self.columns[name].words)
        out = BytesIO()
        np.savez(out, **arrays)  # type: ignore[arg-type]
        return out.getvalue()

    @classmethod
    def from_bytes(cls, raw: bytes) -> CatalogPart:
        """Raises `BundleInvalid` for anything that is no part."""
        try:
            with np.load(BytesIO(raw), allow_pickle=False) as content:
                columns = {
                    name: CategoricalColumn(content[f"codes_{number}"], _words(content[f"words_{number}"]))
                    for number, name in enumerate(_words(content[_COLUMNS]))
                }
                return cls(_words(content[_IDS]), columns, _words(content[_REMOVED]))
        except (ValueError, KeyError, OSError, EOFError, orjson.JSONDecodeError) as error:
            raise BundleInvalid(f"a part of the catalogue cannot be read: {error!r}") from None


@dataclass(frozen=True)
class ItemCatalog:
    """All items that were ever told of, folded.

    ids        each once, in order of first appearance
    columns    by name, a cell for each id
    removed    (len(ids),) whether the item is gone
    version    of the catalogue; of the pointer that named its parts
    """

    ids: Sequence[str]
    columns: Mapping[str, CategoricalColumn]
    removed: NDArray[np.bool_]
    version: str = ""

    def with_part(self, part: CatalogPart) -> ItemCatalog:
        """With one more change; this one stays as it is."""
        codes = Vocabulary(self.ids)
        rows = codes.codes(part.ids).astype(np.int64)
        gone = codes.codes(part.removed).astype(np.int64)
        size, grown = len(codes.words), len(codes.words) - len(self.ids)
        removed = np.concatenate([self.removed, np.zeros(grown, bool)])
        unstated = CategoricalColumn.empty(size)
        columns = {name: self.columns.get(name, unstated).resize(size) for name in {**self.columns, **part.columns}}
        if len(gone):  # what comes back is told anew
            columns = {name: _cleared(column, gone) for name, column in columns.items()}
        removed[gone] = True
        removed[rows] = False
        for name, column in part.columns.items():
            columns[name] = columns[name].update(rows, column)
        return ItemCatalog(codes.words, columns, removed, self.version)

    def as_part(self) -> CatalogPart:
        """One part that says all of it, tombstones included: a model may know items that are gone."""
        kept = np.flatnonzero(~self.removed)
        columns = {name: column.take(kept).compact() for name, column in self.columns.items()}
        gone = [self.ids[row] for row in np.flatnonzero(self.removed).tolist()]
        return CatalogPart([self.ids[row] for row in kept.tolist()], columns, gone)


def empty() -> ItemCatalog:
    return ItemCatalog([], {}, np.zeros(0, bool))


def digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _cleared(column: CategoricalColumn, rows: NDArray[np.int64]) -> CategoricalColumn:
    codes = column.codes.copy()
    codes[rows] = UNSTATED
    return CategoricalColumn(codes, column.words)


def _text(words: Sequence[str]) -> NDArray[Any]:
    return np.frombuffer(orjson.dumps(list(words)), np.uint8)


def _words(raw: NDArray[Any]) -> list[str]:
    words: list[str] = orjson.loads(raw.tobytes())
    return words
