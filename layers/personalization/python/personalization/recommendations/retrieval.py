"""Products of user embeddings with the embeddings of all items, and the best items by their scores.

A small catalog is multiplied as it is. For a large one a product is a matter of memory bandwidth, so one user's product is
taken with 8-bit numbers, and the best items by these are scored again from their exact embeddings (`scoring.top_items`).
Training writes the 8-bit numbers and the graph that multiplies them into the bundle.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from personalization.core.errors import BundleInvalid
from personalization.recommendations.recommender import VECTORS_NPY

COARSE_NPY: Final = "item_vectors_int8.npy"
COARSE_SCALE_NPY: Final = "item_vectors_int8_scale.npy"
COARSE_SUMS_NPY: Final = "item_vectors_int8_sums.npy"
COARSE_NORMS_NPY: Final = "item_vectors_int8_norms.npy"
COARSE_ONNX: Final = "coarse_product.onnx"
QUERY, ITEMS, PRODUCTS = "query", "items", "products"  # inputs and output of the graph
QUERY_ZERO: Final = 128  # of the query's unsigned numbers
_BLOCK: Final = 256


class CoarseProduct:
    """Products of one embedding with all items, in 8-bit numbers."""

    def __init__(self, directory: Path) -> None:
        def mapped(name: str) -> NDArray[Any]:
            return np.asarray(np.load(directory / name, mmap_mode="r"))

        self._weights: NDArray[np.int8] = mapped(COARSE_NPY)  # (D, I)
        self._scale: NDArray[np.float32] = mapped(COARSE_SCALE_NPY)  # (D,) of each axis
        self._sums: NDArray[np.int32] = mapped(COARSE_SUMS_NPY)  # (I,) of an item's weights, times QUERY_ZERO
        self.norms: NDArray[np.float32] = mapped(COARSE_NORMS_NPY)  # (I,) lengths of the embeddings, never 0
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = directory / COARSE_ONNX
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no narrower base
            raise BundleInvalid(f"{path.name} does not load: {str(error)[:300]}") from error

    def __call__(self, embedding: NDArray[np.float32]) -> NDArray[np.float32]:
        """(I,) approximate products with an embedding (D,)."""
        scaled = embedding * self._scale
        step = max(float(np.abs(scaled).max()) / (QUERY_ZERO - 1), 1e-30)
        query = (np.rint(scaled / step) + QUERY_ZERO).astype(np.uint8)
        products: NDArray[np.int32] = self._session.run([PRODUCTS], {QUERY: query[None, :], ITEMS: self._weights})[0][0]
        products -= self._sums
        out: NDArray[np.float32] = np.multiply(products, np.float32(step), dtype=np.float32)
        return out


@dataclass(frozen=True)
class Index:
    """Embeddings of all items in two blocks, those of the model and those of items that came after training.

    known    float32 (I, D), may be mapped from disk
    cold     float32 (M, D)
    coarse   of the known items, `None` for a small catalog
    stored   reads rows of `known` from its file, `None` where it is small: a mapping brings in 64 KB around each row that is
             touched, and so in the end all of a large file
    """

    known: NDArray[np.float32]
    cold: NDArray[np.float32]
    coarse: CoarseProduct | None = None
    stored: StoredRows | None = None

    @cached_property
    def norms(self) -> NDArray[np.float32]:
        """(I + M,) lengths of the embeddings, never 0."""
        known = vector_norms(self.known) if self.coarse is None else self.coarse.norms
        return np.concatenate([known, vector_norms(self.cold)]) if len(self.cold) else known

    def products(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """(B, I + M) products with embeddings (B, D).

        They are approximate: of one user of a large catalog to 8 bits, else to the rounding of a matrix product, which depends
        on its shape.
        """
        if self.coarse is not None and len(embeddings) == 1:
            known = self.coarse(embeddings[0])[None, :]
        elif not len(self.cold):
            return embeddings @ self.known.T
        else:
            known = embeddings @ self.known.T
        return np.concatenate([known, embeddings @ self.cold.T], axis=1) if len(self.cold) else known

    def vectors(self, codes: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """(n, D) embeddings of these items."""
        old = codes < len(self.known)
        read = self.known.__getitem__ if self.stored is None else self.stored.read
        if old.all():
            return read(codes)
        out = np.empty((len(codes), self.known.shape[1]), np.float32)
        out[old] = read(codes[old])
        out[~old] = self.cold[codes[~old] - len(self.known)]
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


def make_index(known: NDArray[np.float32], cold: NDArray[np.float32], directory: Path | None = None) -> Index:
    """An index over both blocks, with 8-bit products where the bundle in `directory` has what they need.

    Bundles of before November 2026 lack the graph: their products are exact ones, which take twice the time.
    """
    if directory is None or not (directory / COARSE_NPY).is_file():
        return Index(known, cold)
    coarse = CoarseProduct(directory) if (directory / COARSE_ONNX).is_file() else None
    return Index(known, cold, coarse, StoredRows(directory / VECTORS_NPY))


def vector_norms(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) lengths, never 0."""
    norms: NDArray[np.float32] = np.maximum(np.sqrt(np.einsum("nd,nd->n", vectors, vectors)), np.float32(1e-9))
    return norms


def top_k(scores: NDArray[np.float32], k: int, mask: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """Codes of the best `k` items: the higher score first, of equal scores the lower code. The one rule for lists.

    scores   float32 (N,)
    mask     (N,) bool, items that may be in the list; fewer than `k` codes where there are fewer such items
    """
    codes = candidates(scores, k, mask)
    return codes[np.argsort(-scores[codes], kind="stable")][:k]


def candidates(
    scores: NDArray[np.float32], count: int, mask: NDArray[np.bool_] | None = None, tolerance: float = 0.0
) -> NDArray[np.int64]:
    """Codes, ascending, among which are all items that score at least the `count`-th best less `tolerance`.

    Raising `tolerance` by the error of approximate scores makes the result hold the best `count` by exact scores.
    """
    values = scores if mask is None else np.where(mask, scores, np.float32(-np.inf))
    blocks = len(values) // _BLOCK
    if blocks > count:
        # As many blocks hold a value as large as the count-th largest of their maxima: nothing below it is needed.
        maxima = values[: blocks * _BLOCK].reshape(blocks, _BLOCK).max(axis=1)
        least = np.partition(maxima, blocks - count)[blocks - count]
    elif count < len(values):
        least = np.partition(values, len(values) - count)[len(values) - count]
    else:
        least = np.float32(-np.inf)
    if not np.isfinite(least):
        return np.arange(len(values)) if mask is None else np.flatnonzero(mask)
    return np.flatnonzero(values >= least - np.float32(tolerance * (abs(least) + abs(values.max()))))
