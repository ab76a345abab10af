"""Products of one query with the vectors of all items.

A small catalogue is multiplied as it is. For a large one that is a matter of memory bandwidth, so items are read as 8-bit
numbers first, and the best of these are then scored from the exact vectors (`exact`).

Weights are held to ±63: without VNNI, `MatMulInteger` adds pairs of products in 16 bits, and 255 · 127 · 2 saturates where
255 · 63 · 2 does not. So the answers are the same on all of Lambda's processors.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from personalization.core.errors import BundleInvalid
from personalization.recommendations.product_graph import ITEMS, PRODUCTS, QUERY, product_session
from personalization.recommendations.recommender import VECTORS_NPY

LARGE: Final = 8_000_000  # cells of item vectors above which they are read as 8-bit numbers
RESCORED: Final = 200  # of the best by 8 bits
COARSE_NPY: Final = "item_vectors_int8.npy"
_MOST: Final = 63
_ZERO: Final = 128  # of the query's unsigned numbers
_BLOCK: Final = 65_536


@dataclass(frozen=True)
class Coarse:
    """Items in 8 bits.

    weights   int8 (D, I)
    scale     float32 (D,) of each axis
    sums      int32 (I,) of an item's weights, times the query's zero
    run       their product with a query uint8 (1, D): int32 (1, I)
    """

    weights: NDArray[np.int8]
    scale: NDArray[np.float32]
    sums: NDArray[np.int32]
    run: Callable[[NDArray[np.uint8], NDArray[np.int8]], NDArray[np.int32]]

    def products(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        """(I,) about the products with a query (D,)."""
        scaled = query * self.scale
        step = max(float(np.abs(scaled).max()) / (_ZERO - 1), 1e-30)
        whole = (np.rint(scaled / step) + _ZERO).astype(np.uint8)
        found = self.run(whole[None, :], self.weights)[0]
        found -= self.sums
        out: NDArray[np.float32] = np.multiply(found, np.float32(step), dtype=np.float32)
        return out


@dataclass(frozen=True)
class Index:
    """Vectors of all items in two blocks, the model's and those of new items.

    known    float32 (I, D), may be mapped from disk
    new      float32 (M, D)
    norms    float32 (I + M,) lengths, never 0
    coarse   of the model's items, `None` for a small catalogue
    stored   reads rows of `known` from its file, `None` where it is small: a mapping brings in 64 KB around each row that is
             touched, and so in the end all of a large file
    """

    known: NDArray[np.float32]
    new: NDArray[np.float32]
    norms: NDArray[np.float32]
    coarse: Coarse | None = None
    stored: StoredRows | None = None

    def products(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        """(I + M,) products with one query (D,); those with the model's items are near ones where there is `coarse`."""
        first = self.known @ query if self.coarse is None else self.coarse.products(query)
        return np.concatenate([first, self.new @ query]) if len(self.new) else first

    def exact(self, query: NDArray[np.float32], codes: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """(n,) products with these items."""
        found: NDArray[np.float32] = self.vectors(codes) @ query
        return found

    def vectors(self, codes: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """(n, D) of these items."""
        old = codes < len(self.known)
        read = self.known.__getitem__ if self.stored is None else self.stored.read
        if old.all():
            return read(codes)
        out = np.empty((len(codes), self.known.shape[1]), np.float32)
        out[old] = read(codes[old])
        out[~old] = self.new[codes[~old] - len(self.known)]
        return out


class StoredRows:
    """Rows of a float32 matrix in an .npy file, read one by one."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as stream:
            version = np.lib.format.read_magic(stream)
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream) if version == (1, 0) else (None, None, None)
            if shape is None or dtype != np.float32:
                raise BundleInvalid(f"{path.name}: expected float32 in an .npy file of version 1.0")
            self._start = stream.tell()
        self._file = path.open("rb", buffering=0)
        self._size = int(shape[1])

    def read(self, codes: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """(n, D) of these rows."""
        length, file = 4 * self._size, self._file.fileno()
        raw = b"".join(os.pread(file, length, self._start + int(code) * length) for code in codes.tolist())
        return np.frombuffer(raw, np.float32).reshape(len(codes), self._size)


def make_index(
    known: NDArray[np.float32], new: NDArray[np.float32], directory: Path | None = None, large: int = LARGE
) -> Index:
    """An index over both blocks, with 8 bits from `large` cells on.

    directory   of the bundle; may hold what `quantised` made of the first block
    """
    if known.size < large:
        return Index(known, new, np.concatenate([_norms(known), _norms(new)]))
    stored = StoredRows(directory / VECTORS_NPY) if directory is not None and (directory / VECTORS_NPY).is_file() else None
    found = read_quantised(directory) if directory is not None and (directory / COARSE_NPY).is_file() else quantised(known)
    session = product_session(known.shape[1])

    def run(query: NDArray[np.uint8], items: NDArray[np.int8]) -> NDArray[np.int32]:
        products: NDArray[np.int32] = session.run([PRODUCTS], {QUERY: query, ITEMS: items})[0]
        return products

    norms = np.concatenate([found.norms, _norms(new)]) if len(new) else found.norms
    return Index(known, new, norms, Coarse(found.weights, found.scale, found.sums, run), stored)


class Quantised(NamedTuple):
    """weights int8 (D, I) of ±63; scale float32 (D,) of each axis; sums int32 (I,) of the weights times the query's zero;
    norms float32 (I,) of the vectors themselves, never 0"""

    weights: NDArray[np.int8]
    scale: NDArray[np.float32]
    sums: NDArray[np.int32]
    norms: NDArray[np.float32]


def quantised(vectors: NDArray[np.float32]) -> Quantised:
    """Vectors (I, D) in 8 bits."""
    items, size = vectors.shape
    most = np.zeros(size, np.float32)
    norms = np.empty(items, np.float32)
    for start in range(0, items, _BLOCK):
        block = vectors[start : start + _BLOCK]
        np.maximum(most, np.abs(block).max(axis=0), out=most)
        norms[start : start + len(block)] = _norms(block)
    # An axis of small numbers is not worth more precision than one of large ones: it counts as little in a product.
    scale = np.maximum(most, most.max(initial=0.0) * 0.25) / _MOST
    scale = np.where(scale > 0, scale, np.float32(1.0)).astype(np.float32)
    weights = np.empty((size, items), np.int8)
    for start in range(0, items, _BLOCK):
        block = vectors[start : start + _BLOCK]
        weights[:, start : start + len(block)] = np.rint(block / scale).astype(np.int8).T
    return Quantised(weights, scale, weights.sum(axis=0, dtype=np.int32) * np.int32(_ZERO), norms)


def write_quantised(directory: Path, vectors: NDArray[np.float32]) -> list[str]:
    """Write what a large catalogue loads by mapping; names of the files, none for a small one."""
    if vectors.size < LARGE:
        return []
    for name, array in zip(_names(), quantised(vectors), strict=True):
        np.save(directory / name, np.asarray(array))
    return _names()


def read_quantised(directory: Path) -> Quantised:
    """What `write_quantised` wrote, mapped."""
    return Quantised(*(np.asarray(np.load(directory / name, mmap_mode="r")) for name in _names()))


def _names() -> list[str]:
    stem = COARSE_NPY.removesuffix(".npy")
    return [COARSE_NPY, f"{stem}_scale.npy", f"{stem}_sums.npy", f"{stem}_norms.npy"]


def _norms(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms: NDArray[np.float32] = np.maximum(np.sqrt(np.einsum("nd,nd->n", vectors, vectors)), np.float32(1e-9))
    return norms
