"""The items: their ids and codes, what their columns say, and what filters need to know of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core import cells
from personalization.core.schema import ITEM_ID
from personalization.recommendations.item_content import (
    LIST,
    LIST_SEPARATOR,
    NUMBER,
    TEXT,
    WORD,
    ContentColumn,
    item_features,
    split,
)
from personalization.recommendations.sparse import NeighborMatrix
from training.io.tables import read_chunks

_NO_CONTENT: Final = frozenset({ITEM_ID, "created_at", "in_stock"})  # they change, or say nothing about taste
_KNOWN_KIND: Final = {"category": WORD, "brand": WORD, "parent_id": WORD, "price": NUMBER, "title": TEXT}
_MOST_WORDS: Final = 30_000
_LEAST_ITEMS: Final = 2  # with a word, for it to say something about more than one
_BINS: Final = 12
_COMMON: Final = 5_000  # items with a feature beyond which comparing them all would take longer than it is worth
_SAMPLE: Final = 5_000


@dataclass(frozen=True)
class TrainingItems:
    """Items by code.

    items    ids
    table    columns of the items file, a cell for each item, None where it has none
    columns  what of it is content
    """

    items: list[str]
    table: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    columns: tuple[ContentColumn, ...] = ()

    @property
    def size(self) -> int:
        """Number of content features."""
        return sum(column.size for column in self.columns)

    def features(self) -> NeighborMatrix | None:
        """Sparse content features of all items, or None without any."""
        return item_features(self.columns, self.table, len(self.items)) if self.columns else None


def read_catalogue(used: Sequence[str], path: Path | None, mapping: Mapping[str, str] | None) -> TrainingItems:
    """Items of the interactions, in this order, and after them those that only the items file has."""
    items = list(used)
    if path is None:
        return TrainingItems(items)
    place = {item: code for code, item in enumerate(items)}
    parts: list[tuple[list[int], Mapping[str, Sequence[Any]], list[int]]] = []
    for chunk, _, _ in read_chunks(path, (ITEM_ID,), mapping=mapping):
        codes, rows = [], []
        for row, word in enumerate(cells.words(chunk[ITEM_ID])):
            if word:
                if word not in place:
                    place[word] = len(items)
                    items.append(word)
                codes.append(place[word])
                rows.append(row)
        parts.append((codes, chunk, rows))
    table: dict[str, list[Any]] = {}
    for codes, columns, rows in parts:
        for name, content in columns.items():
            if name != ITEM_ID:
                column = table.setdefault(name, [None] * len(items))
                for code, row in zip(codes, rows, strict=True):
                    column[code] = content[row]
    return TrainingItems(items, table, content_columns(table))


def content_columns(table: Mapping[str, Sequence[Any]]) -> tuple[ContentColumn, ...]:
    """Which columns say something about items, and their words."""
    columns, first = [], 0
    for name, content in table.items():
        kind = None if name in _NO_CONTENT else _kind(name, content)
        if kind is None:
            continue
        column = _number_column(name, content, first) if kind == NUMBER else _word_column(name, kind, content, first)
        if column.size > 1:
            columns.append(column)
            first += column.size
    return tuple(columns)


def rarity(features: NeighborMatrix, count: int) -> NDArray[np.float32]:
    """(features,) log of items by items with the feature: what many have says little, and nothing beyond `_COMMON`."""
    items = len(features.indptr) - 1
    having = np.bincount(features.indices, minlength=count)
    weight = np.log(max(items, 1) / np.maximum(having, 1))
    return np.where(having > _COMMON, 0.0, weight).astype(np.float32)


def _kind(name: str, content: Sequence[Any]) -> str | None:
    known = [cell for cell in content[: 20 * _SAMPLE] if not cells.is_missing(cell)][:_SAMPLE]
    if not known:
        return None
    if name in _KNOWN_KIND:
        return _KNOWN_KIND[name]
    values, bad = cells.numbers(known)
    if len(bad) < 0.02 * len(known):
        return NUMBER if len(np.unique(values)) > 2 * _BINS else WORD
    words = [str(cell) for cell in known]
    if sum(LIST_SEPARATOR in word for word in words) > 0.02 * len(words):
        return LIST
    long = float(np.mean([len(word.split()) for word in words]))
    return TEXT if long >= 3 and len(set(words)) > 0.2 * len(words) else WORD


def _number_column(name: str, content: Sequence[Any], first: int) -> ContentColumn:
    values, _ = cells.numbers(content)
    known = values[~np.isnan(values)]
    inner = np.linspace(0, 1, _BINS + 1)[1:-1]
    edges = np.unique(np.quantile(known, inner)) if len(known) else np.zeros(0)
    return ContentColumn(name, NUMBER, {}, tuple(float(edge) for edge in edges), first)


def _word_column(name: str, kind: str, content: Sequence[Any], first: int) -> ContentColumn:
    counts = Counter(word for words in split(kind, content) for word in set(words))
    frequent = sorted((entry for entry in counts.items() if entry[1] >= _LEAST_ITEMS), key=lambda entry: (-entry[1], entry[0]))
    return ContentColumn(name, kind, {word: first + place for place, (word, _) in enumerate(frequent[:_MOST_WORDS])}, (), first)
