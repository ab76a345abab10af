"""What is known of an item by its columns, as features; from them vectors and neighbours of items that training never saw.

An item's features are a sparse row: for each column of the items table the words it has there (one word, a list, the words
of a text, or the bin of a number). Each column's part has the same length, however many words it is made of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core import cells
from personalization.recommendations.sparse import NeighborMatrix

WORD: Final = "word"
LIST: Final = "list"
TEXT: Final = "text"
NUMBER: Final = "number"
LIST_SEPARATOR: Final = "|"
# Chosen so that a list of four counts as the sum of its words: vectors of a trained table are about 1/4 of a whole one.
_PART_LENGTH: Final = 2.0
_TOKEN: Final = re.compile(r"[^\W_]{2,}", re.UNICODE)


@dataclass(frozen=True, slots=True)
class ContentColumn:
    """A column of the items table that says something about items.

    kind    ``word``, ``list`` (words separated by |), ``text``, or ``number``
    words   feature number by word; the others say nothing
    edges   of a number's bins: their count + 1 features from `first` on
    """

    name: str
    kind: str
    words: Mapping[str, int]
    edges: tuple[float, ...] = ()
    first: int = 0

    def to_json(self) -> dict[str, Any]:
        words = sorted(self.words, key=self.words.__getitem__)
        return {"name": self.name, "kind": self.kind, "words": words, "edges": list(self.edges), "first": self.first}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> ContentColumn:
        first = int(content["first"])
        words = {word: first + place for place, word in enumerate(content["words"])}
        return ContentColumn(content["name"], content["kind"], words, tuple(content["edges"]), first)

    @property
    def size(self) -> int:
        """Number of features."""
        return len(self.edges) + 1 if self.kind == NUMBER else len(self.words)

    def features(self, content: Sequence[Any]) -> list[list[int]]:
        """Feature numbers of each cell, each once."""
        if self.kind == NUMBER:
            values, _ = cells.numbers(content)
            bins = np.searchsorted(np.array(self.edges), values, side="right") + self.first
            return [[] if np.isnan(value) else [int(b)] for value, b in zip(values, bins, strict=True)]
        found = []
        for words in split(self.kind, content):
            known = (self.words.get(word) for word in words)
            found.append(list(dict.fromkeys(number for number in known if number is not None)))
        return found


def split(kind: str, content: Sequence[Any]) -> list[list[str]]:
    """The words of each cell: itself, its list, or the words of its text in lower case."""
    if kind == LIST:
        return [[w.strip() for w in cell.split(LIST_SEPARATOR) if w.strip()] for cell in _texts(content)]
    if kind == TEXT:
        return [_TOKEN.findall(cell.lower()) for cell in _texts(content)]
    return [[cell] if cell else [] for cell in _texts(content)]


def item_features(columns: Sequence[ContentColumn], table: Mapping[str, Sequence[Any]], rows: int) -> NeighborMatrix:
    """Sparse features (rows, features) of `rows` items. A column that `table` lacks says nothing."""
    indices: list[list[int]] = [[] for _ in range(rows)]
    values: list[list[float]] = [[] for _ in range(rows)]
    for column in columns:
        content = table.get(column.name)
        if content is None:
            continue
        for row, found in enumerate(column.features(content)):
            if found:
                indices[row].extend(found)
                values[row].extend([_PART_LENGTH / len(found) ** 0.5] * len(found))
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in indices])]).astype(np.int64)
    flat = np.fromiter((i for row in indices for i in row), np.int32, int(indptr[-1]))
    weights = np.fromiter((v for row in values for v in row), np.float32, int(indptr[-1]))
    return NeighborMatrix(indptr, flat, weights)


def content_vectors(features: NeighborMatrix, table: NDArray[np.float32]) -> NDArray[np.float32]:
    """(items, D): the sum of the table's rows of each item's features, weighted."""
    items = len(features.indptr) - 1
    place, row, value = features.rows(np.arange(items, dtype=np.int32))
    out = np.zeros((items, table.shape[1]), np.float32)
    np.add.at(out, place, table[row] * value[:, None])
    return out


def alike(
    some: NeighborMatrix, others: NeighborMatrix, rarity: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """The `count` items of `others` most alike to each of `some` by content: (place in `some`, item, cosine).

    rarity   float32 (features,): weight of each feature, small where many items have it
    """
    size = len(others.indptr) - 1
    dense = np.zeros((len(rarity), size), np.float32) if size * len(rarity) <= _DENSE_CELLS else None
    unit_others = _unit(others, rarity)
    place, feature, value = unit_others.rows(np.arange(size, dtype=np.int32))
    places: list[NDArray[np.int64]] = []
    items: list[NDArray[np.int32]] = []
    values: list[NDArray[np.float32]] = []
    if dense is not None:
        dense[feature, place] = value
    inverted = None if dense is not None else _inverted(place, feature, value, len(rarity))
    unit_some = _unit(some, rarity)
    for row in range(len(some.indptr) - 1):
        start, end = unit_some.indptr[row : row + 2]
        own, weight = unit_some.indices[start:end], unit_some.values[start:end]
        if dense is not None:
            cosine = weight @ dense[own]
        else:
            assert inverted is not None
            at, item, part = inverted.rows(own)
            cosine = np.bincount(item, weights=part * weight[at], minlength=size).astype(np.float32)
        best = np.argpartition(-cosine, min(count, size - 1))[:count] if size > count else np.arange(size)
        best = best[cosine[best] > 0]
        places.append(np.full(len(best), row, np.int64))
        items.append(best.astype(np.int32))
        values.append(cosine[best].astype(np.float32))
    if not places:
        return np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32)
    return np.concatenate(places), np.concatenate(items), np.concatenate(values)


_DENSE_CELLS: Final = 20_000_000


def _unit(features: NeighborMatrix, rarity: NDArray[np.float32]) -> NeighborMatrix:
    """Rows weighted by rarity, then of length 1."""
    values = features.values * rarity[features.indices]
    items = len(features.indptr) - 1
    place = np.repeat(np.arange(items), np.diff(features.indptr))
    length = np.sqrt(np.bincount(place, weights=np.square(values), minlength=items))
    return NeighborMatrix(features.indptr, features.indices, (values / np.maximum(length[place], 1e-9)).astype(np.float32))


def _inverted(place: NDArray[np.int64], feature: NDArray[np.int32], value: NDArray[np.float32], size: int) -> NeighborMatrix:
    order = np.argsort(feature, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(feature, minlength=size))]).astype(np.int64)
    return NeighborMatrix(indptr, place[order].astype(np.int32), value[order])


def _texts(content: Sequence[Any]) -> list[str]:
    return [word or "" for word in cells.words(content)]
