"""Content features of items, from the columns of the items table; embeddings and neighbours by content.

An item's features are a sparse row: for each column the words of its cell (one word, a list, the words of a text, or the bin
of a number). Each column's part has the same length, however many words it is made of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core import cells
from personalization.core.csr import CsrMatrix

WORD: Final = "word"
LIST: Final = "list"
TEXT: Final = "text"
NUMBER: Final = "number"
LIST_SEPARATOR: Final = "|"
# So a list of four counts as the sum of its words: rows of a trained content table are about 1/4 of an item's embedding.
_PART_LENGTH: Final = 2.0
_DENSE_CELLS: Final = 20_000_000
_TOKEN: Final = re.compile(r"[^\W_]{2,}", re.UNICODE)


@dataclass(frozen=True, slots=True)
class ContentColumn:
    """A column of the items table whose cells are features.

    kind    ``word``, ``list`` (words separated by |), ``text``, or ``number``
    words   feature number by word; other words are ignored
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
        rows = []
        for words in split(self.kind, content):
            numbers = (self.words.get(word) for word in words)
            rows.append(list(dict.fromkeys(number for number in numbers if number is not None)))
        return rows


def split(kind: str, content: Sequence[Any]) -> list[list[str]]:
    """The words of each cell: itself, its list, or the words of its text in lower case."""
    if kind == LIST:
        return [[w.strip() for w in cell.split(LIST_SEPARATOR) if w.strip()] for cell in _texts(content)]
    if kind == TEXT:
        return [_TOKEN.findall(cell.lower()) for cell in _texts(content)]
    return [[cell] if cell else [] for cell in _texts(content)]


def item_features(columns: Sequence[ContentColumn], table: Mapping[str, Sequence[Any]], rows: int) -> CsrMatrix:
    """Sparse features (rows, features) of `rows` items; none from a column that `table` lacks."""
    indices: list[list[int]] = [[] for _ in range(rows)]
    values: list[list[float]] = [[] for _ in range(rows)]
    for column in columns:
        content = table.get(column.name)
        if content is None:
            continue
        for row, numbers in enumerate(column.features(content)):
            indices[row].extend(numbers)
            values[row].extend([_PART_LENGTH / max(len(numbers), 1) ** 0.5] * len(numbers))
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in indices])]).astype(np.int64)
    flat = np.fromiter((i for row in indices for i in row), np.int32, int(indptr[-1]))
    weights = np.fromiter((v for row in values for v in row), np.float32, int(indptr[-1]))
    return CsrMatrix(indptr, flat, weights, sum(column.size for column in columns))


def content_vectors(features: CsrMatrix, table: NDArray[np.float32]) -> NDArray[np.float32]:
    """(items, D): the weighted sum of the rows of each item's features in `table` (features, D)."""
    place, row, value = features.gather(np.arange(len(features)))
    out = np.zeros((len(features), table.shape[1]), np.float32)
    np.add.at(out, place, table[row] * value[:, None])
    return out


def content_neighbors(some: CsrMatrix, others: CsrMatrix, rarity: NDArray[np.float32], count: int) -> CsrMatrix:
    """(items of `some`, items of `others`): the `count` items most similar by content, and the cosine.

    some, others   features of items
    rarity         float32 (features,): weight of each feature, small where many items have it
    """
    size = len(others)
    place, feature, value = _unit(others, rarity).gather(np.arange(size))
    # Small catalogs are compared through a dense table, others feature by feature.
    dense = np.zeros((len(rarity), size), np.float32) if size * len(rarity) <= _DENSE_CELLS else None
    if dense is not None:
        dense[feature, place] = value
    order = np.argsort(feature, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(feature, minlength=len(rarity)))]).astype(np.int64)
    by_feature = CsrMatrix(indptr, place[order], value[order], size)
    unit = _unit(some, rarity)
    items: list[NDArray[np.int64]] = []
    values: list[NDArray[np.float32]] = []
    for row in range(len(some)):
        start, end = unit.indptr[row : row + 2]
        own, weight = unit.indices[start:end], unit.values[start:end]
        if dense is not None:
            cosine = weight @ dense[own]
        else:
            at, item, part = by_feature.gather(own)
            cosine = np.bincount(item, weights=part * weight[at], minlength=size).astype(np.float32)
        best = np.argpartition(-cosine, min(count, size - 1))[:count] if size > count else np.arange(size)
        best = best[cosine[best] > 0]
        items.append(best)
        values.append(cosine[best])
    lengths = np.array([len(best) for best in items], np.int64)
    return CsrMatrix(
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([np.zeros(0, np.int64), *items]).astype(np.int32),
        np.concatenate([np.zeros(0, np.float32), *values]).astype(np.float32),
        size,
    )


def _unit(features: CsrMatrix, rarity: NDArray[np.float32]) -> CsrMatrix:
    """Rows weighted by rarity, then of length 1."""
    values = features.values * rarity[features.indices]
    place = np.repeat(np.arange(len(features)), np.diff(features.indptr))
    length = np.sqrt(np.bincount(place, weights=np.square(values), minlength=len(features)))
    unit = (values / np.maximum(length[place], 1e-9)).astype(np.float32)
    return CsrMatrix(features.indptr, features.indices, unit, features.columns)


def _texts(content: Sequence[Any]) -> list[str]:
    return [word or "" for word in cells.words(content)]
