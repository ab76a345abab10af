"""Attributes of items by code, for filters and metadata: those of the bundle, overlaid with those of the item catalog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from personalization.bundles.bundle import Bundle
from personalization.core import cells
from personalization.core.categorical import MISSING, CategoricalColumn
from personalization.core.time import MISSING_TIME
from personalization.recommendations.recommender import read_array

METADATA_JSON: Final = "metadata.json"
WORDS: Final = ("category", "brand", "parent_id", "title")
IN_STOCK: Final = {"true": 1, "1": 1, "yes": 1, "y": 1, "false": 0, "0": 0, "no": 0, "n": 0}


@dataclass(frozen=True)
class ItemAttributes:
    """N items by code.

    words        `category`, `brand`, `parent_id` and `title`, those that were given
    price        float32 (N,), NaN where unknown
    created_at   int64 (N,) milliseconds, `MISSING_TIME` where unknown
    in_stock     int8 (N,) 1, 0, or −1 where unknown
    """

    size: int
    words: Mapping[str, CategoricalColumn] = field(default_factory=dict)
    price: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    created_at: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    in_stock: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))

    @cached_property
    def item_groups(self) -> NDArray[np.int32] | None:
        """(N,) number of the parent, −1 for items without one; `None` where no item has any."""
        parents = self.words.get("parent_id")
        return None if parents is None or not (parents.codes >= 0).any() else parents.codes

    def word(self, column: str, code: int) -> str | None:
        """A cell of a column of words, `None` where it is missing."""
        cells_of_column = self.words.get(column)
        return cells_of_column.word(code) if cells_of_column is not None else None

    def metadata(self, codes: NDArray[np.integer[Any]]) -> list[dict[str, Any]]:
        """For each of n items its attributes by name; unknown ones are left out."""
        metadata: list[dict[str, Any]] = [{} for _ in codes]
        for name in ("title", "category", "brand", "parent_id"):
            if (column := self.words.get(name)) is not None:
                for item, word in zip(metadata, column.codes[codes].tolist(), strict=True):
                    if word >= 0:
                        item[name] = column.words[word]
        if len(self.price):
            for item, price in zip(metadata, self.price[codes].tolist(), strict=True):
                if not np.isnan(price):
                    item["price"] = round(price, 4)
        if len(self.in_stock):
            for item, stock in zip(metadata, self.in_stock[codes].tolist(), strict=True):
                if stock >= 0:
                    item["in_stock"] = bool(stock)
        return metadata

    def overlay(
        self, rows: NDArray[np.int64], columns: Mapping[str, CategoricalColumn], size: int, zone: Any
    ) -> ItemAttributes:
        """These attributes with the cells of an item catalog over them.

        rows      codes of the catalog's items, some of them beyond our own size
        columns   of the catalog
        size      number of items afterwards
        zone      of times without an offset
        """
        words = {}
        for name in WORDS:
            below = self.words.get(name)
            if below is None and name not in columns:
                continue
            grown = below.resize(size) if below is not None else CategoricalColumn.empty(size)
            words[name] = grown.update(rows, columns[name]) if name in columns else grown
        price = _filled(self.price, self.size, size, np.float32(np.nan))
        created = _filled(self.created_at, self.size, size, np.int64(MISSING_TIME))
        stock = _filled(self.in_stock, self.size, size, np.int8(-1))
        _set(price, rows, columns.get("price"), lambda w: cells.numbers(w)[0].astype(np.float32), np.nan)
        _set(created, rows, columns.get("created_at"), lambda w: cells.timestamps(w, zone)[0], MISSING_TIME)
        _set(stock, rows, columns.get("in_stock"), stock_codes, -1)
        return ItemAttributes(size, words, price, created, stock)


def stock_codes(words: Sequence[str | None]) -> NDArray[np.int8]:
    """1 in stock, 0 not, −1 for words that mean neither."""
    return np.array([IN_STOCK.get((word or "").lower(), -1) for word in words], np.int8)


def read_attributes(bundle: Bundle, size: int) -> ItemAttributes:
    """The attributes that the items file of the training held."""
    if METADATA_JSON not in bundle.manifest["files"]:
        return ItemAttributes(size)
    content = orjson.loads(bundle.file(METADATA_JSON).read_bytes())
    words = {
        name: CategoricalColumn(read_array(bundle, f"meta_{name}.npy"), known)
        for name, known in content["words"].items()
        if name in WORDS
    }
    if content.get("titles"):
        # Titles are hardly ever equal: their codes are their places.
        known = [title is not None for title in content["titles"]]
        codes = np.where(known, np.arange(size), MISSING).astype(np.int32)
        words["title"] = CategoricalColumn(codes, content["titles"])
    arrays = {
        name: read_array(bundle, f"meta_{name}.npy")
        for name in ("price", "created_at", "in_stock")
        if f"meta_{name}.npy" in bundle.manifest["files"]
    }
    return ItemAttributes(size, words, **arrays)


def _filled(values: NDArray[Any], before: int, size: int, missing: Any) -> NDArray[Any]:
    out = np.full(size, missing)
    if len(values):
        out[:before] = values
    return out


def _set(out: NDArray[Any], rows: NDArray[np.int64], column: CategoricalColumn | None, convert: Any, missing: Any) -> None:
    if column is None:
        return
    stated = np.flatnonzero(column.codes >= MISSING)
    values = np.append(convert(column.words), np.array([missing]).astype(out.dtype)).astype(out.dtype)
    out[rows[stated]] = values[column.codes[stated]]  # MISSING picks the appended one
