"""The items that are trained on: ids by code, the columns of the items file, and which of them are content features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core import cells
from personalization.core.csr import CsrMatrix
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
from training.io.tables import read_chunks

_NON_FEATURE_COLUMNS: Final = frozenset({ITEM_ID, "created_at", "in_stock"})  # they change, or are unrelated to taste
_COLUMN_KINDS: Final = {"category": WORD, "brand": WORD, "parent_id": WORD, "price": NUMBER, "title": TEXT}
_MAX_WORDS: Final = 30_000
_MIN_ITEMS: Final = 2  # that share a word, for the word to be a feature
_BINS: Final = 12
_MAX_ITEMS: Final = 5_000  # with a feature; beyond, comparing all of them takes longer than it is worth
_SAMPLE: Final = 5_000


@dataclass(frozen=True)
class TrainingItems:
    """Items by code.

    ids       those of the interactions first, then those that only the items file has
    table     columns of the items file, a cell for each item, None where it is missing
    columns   the content columns among them
    """

    ids: list[str]
    table: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    columns: tuple[ContentColumn, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_features(self) -> int:
        return sum(column.size for column in self.columns)

    @cached_property
    def features(self) -> CsrMatrix | None:
        """Sparse (items, num_features) content features; None without content columns."""
        return item_features(self.columns, self.table, len(self)) if self.columns else None


def read_items(interacted: Sequence[str], path: Path | None, mapping: Mapping[str, str] | None) -> TrainingItems:
    """Items of the interactions, in the order given, and after them the other items of the items file.

    Where the file has an item twice, the later row counts.
    """
    ids = list(interacted)
    if path is None:
        return TrainingItems(ids)
    code_of_id = {item: code for code, item in enumerate(ids)}
    rows: list[tuple[list[tuple[int, int]], Mapping[str, Sequence[Any]]]] = []
    for chunk, _, _ in read_chunks(path, (ITEM_ID,), mapping=mapping):
        codes = []
        for row, item in enumerate(cells.words(chunk[ITEM_ID])):
            if item:
                if item not in code_of_id:
                    code_of_id[item] = len(ids)
                    ids.append(item)
                codes.append((code_of_id[item], row))
        rows.append((codes, chunk))
    table: dict[str, list[Any]] = {}
    for codes, columns in rows:
        for name, content in columns.items():
            if name != ITEM_ID:
                column = table.setdefault(name, [None] * len(ids))
                for code, row in codes:
                    column[code] = content[row]
    return TrainingItems(ids, table, content_columns(table))


def content_columns(table: Mapping[str, Sequence[Any]]) -> tuple[ContentColumn, ...]:
    """The columns that distinguish items by content, each with its words or bins as features."""
    columns, first = [], 0
    for name, content in table.items():
        kind = None if name in _NON_FEATURE_COLUMNS else _column_kind(name, content)
        if kind is None:
            continue
        column = _number_column(name, content, first) if kind == NUMBER else _word_column(name, kind, content, first)
        if column.size > 1:
            columns.append(column)
            first += column.size
    return tuple(columns)


def inverse_frequency(features: CsrMatrix, num_features: int) -> NDArray[np.float32]:
    """(features,) log of items / items with the feature; 0 for features that more than `_MAX_ITEMS` items have."""
    items = len(features)
    frequency = np.bincount(features.indices, minlength=num_features)
    weight = np.log(max(items, 1) / np.maximum(frequency, 1))
    return np.where(frequency > _MAX_ITEMS, 0.0, weight).astype(np.float32)


def _column_kind(name: str, content: Sequence[Any]) -> str | None:
    sample = [cell for cell in content[: 20 * _SAMPLE] if not cells.is_missing(cell)][:_SAMPLE]
    if not sample:
        return None
    if name in _COLUMN_KINDS:
        return _COLUMN_KINDS[name]
    values, bad = cells.numbers(sample)
    if len(bad) < 0.02 * len(sample):
        return NUMBER if len(np.unique(values)) > 2 * _BINS else WORD
    words = [str(cell) for cell in sample]
    if sum(LIST_SEPARATOR in word for word in words) > 0.02 * len(words):
        return LIST
    mean_length = float(np.mean([len(word.split()) for word in words]))
    return TEXT if mean_length >= 3 and len(set(words)) > 0.2 * len(words) else WORD


def _number_column(name: str, content: Sequence[Any], first: int) -> ContentColumn:
    values, _ = cells.numbers(content)
    values = values[~np.isnan(values)]
    inner = np.linspace(0, 1, _BINS + 1)[1:-1]
    edges = np.unique(np.quantile(values, inner)) if len(values) else np.zeros(0)
    return ContentColumn(name, NUMBER, {}, tuple(float(edge) for edge in edges), first)


def _word_column(name: str, kind: str, content: Sequence[Any], first: int) -> ContentColumn:
    counts = Counter(word for words in split(kind, content) for word in set(words))
    frequent = sorted((entry for entry in counts.items() if entry[1] >= _MIN_ITEMS), key=lambda entry: (-entry[1], entry[0]))
    return ContentColumn(name, kind, {word: first + rank for rank, (word, _) in enumerate(frequent[:_MAX_WORDS])}, (), first)
