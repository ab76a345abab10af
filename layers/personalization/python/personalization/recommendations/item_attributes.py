"""What filters and answers know of items, by item code: from the bundle, overlaid with the catalogue."""

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

METADATA_JSON: Final = "metadata.json"
WORDS: Final = ("category", "brand", "parent_id", "title")
IN_STOCK: Final = {"true": 1, "1": 1, "yes": 1, "y": 1, "false": 0, "0": 0, "no": 0, "n": 0}


@dataclass(frozen=True)
class Attributes:
    """N items by code.

    words        `category`, `brand`, `parent_id` and `title`, where anybody told them
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
    def families(self) -> NDArray[np.int32] | None:
        """(N,) number of the parent, −1 for items without one; `None` where no item has any."""
        parents = self.words.get("parent_id")
        return None if parents is None or not (parents.codes >= 0).any() else parents.codes

    def word(self, column: str, code: int) -> str | None:
        found = self.words.get(column)
        return found.word(code) if found is not None else None

    def name(self, code: int, item_id: str) -> str:
        """How people call an item: by its title, else its id."""
        return self.word("title", code) or item_id

    def described(self, code: int) -> dict[str, Any]:
        """What an answer says of an item; what is not known is left out."""
        found: dict[str, Any] = {}
        for column in ("title", "category", "brand", "parent_id"):
            word = self.word(column, code)
            if word is not None:
                found[column] = word
        price = float(self.price[code]) if len(self.price) else float("nan")
        if not np.isnan(price):
            found["price"] = round(price, 4)
        stock = int(self.in_stock[code]) if len(self.in_stock) else -1
        if stock >= 0:
            found["in_stock"] = bool(stock)
        return found

    def overlay(self, rows: NDArray[np.int64], columns: Mapping[str, CategoricalColumn], size: int, zone: Any) -> Attributes:
        """With what a catalogue tells: `rows` are the codes of its items, some of them beyond ours.

        size   number of items afterwards
        zone   of times without an offset
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
        return Attributes(size, words, price, created, stock)


def stock_codes(words: Sequence[str | None]) -> NDArray[np.int8]:
    """1 in stock, 0 not, −1 where a word says neither."""
    return np.array([IN_STOCK.get((word or "").lower(), -1) for word in words], np.int8)


def of_bundle(bundle: Bundle, size: int) -> Attributes:
    """What the items file of the training said."""
    if METADATA_JSON not in bundle.manifest["files"]:
        return Attributes(size)
    content = orjson.loads(bundle.file(METADATA_JSON).read_bytes())
    words = {
        name: CategoricalColumn(_array(bundle, f"meta_{name}.npy"), known)
        for name, known in content["words"].items()
        if name in WORDS
    }
    if content.get("titles"):
        # Titles are hardly ever equal: their codes are their places.
        known = [title is not None for title in content["titles"]]
        codes = np.where(known, np.arange(size), MISSING).astype(np.int32)
        words["title"] = CategoricalColumn(codes, content["titles"])
    arrays = {
        name: _array(bundle, f"meta_{name}.npy")
        for name in ("price", "created_at", "in_stock")
        if f"meta_{name}.npy" in bundle.manifest["files"]
    }
    return Attributes(size, words, **arrays)


def _array(bundle: Bundle, name: str) -> NDArray[Any]:
    return np.asarray(np.load(bundle.file(name), mmap_mode="r"))  # mapped all the same, and cells of it are cheap


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
