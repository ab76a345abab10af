"""Item embeddings in 8-bit numbers, and the graph that multiplies them with a query: how large catalogs are searched.

Weights are held to ±63: without VNNI, `MatMulInteger` adds pairs of products in 16 bits, and 255 · 127 · 2 saturates where
255 · 63 · 2 does not. So the products are the same on all of Lambda's processors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from personalization.recommendations.retrieval import (
    COARSE_NORMS_NPY,
    COARSE_NPY,
    COARSE_ONNX,
    COARSE_SCALE_NPY,
    COARSE_SUMS_NPY,
    ITEMS,
    PRODUCTS,
    QUERY,
    QUERY_ZERO,
    vector_norms,
)
from training.export import IR_VERSION, OPSET

LARGE: Final = 8_000_000  # numbers in all item embeddings from which 8-bit products pay
_LARGEST_WEIGHT: Final = 63
_BLOCK: Final = 65_536


class Quantized(NamedTuple):
    """weights int8 (D, I) of ±63; scale float32 (D,) of each axis; sums int32 (I,) of the weights times the query's zero;
    norms float32 (I,) of the embeddings themselves, never 0"""

    weights: NDArray[np.int8]
    scale: NDArray[np.float32]
    sums: NDArray[np.int32]
    norms: NDArray[np.float32]


def quantize(vectors: NDArray[np.float32]) -> Quantized:
    """Embeddings (I, D) in 8 bits."""
    items, size = vectors.shape
    largest = np.zeros(size, np.float32)
    norms = np.empty(items, np.float32)
    for start in range(0, items, _BLOCK):
        block = vectors[start : start + _BLOCK]
        np.maximum(largest, np.abs(block).max(axis=0), out=largest)
        norms[start : start + len(block)] = vector_norms(block)
    # An axis of small numbers is not worth more precision than one of large ones: it counts as little in a product.
    scale = np.maximum(largest, largest.max(initial=0.0) * 0.25) / _LARGEST_WEIGHT
    scale = np.where(scale > 0, scale, np.float32(1.0)).astype(np.float32)
    weights = np.empty((size, items), np.int8)
    for start in range(0, items, _BLOCK):
        block = vectors[start : start + _BLOCK]
        weights[:, start : start + len(block)] = np.rint(block / scale).astype(np.int8).T
    return Quantized(weights, scale, weights.sum(axis=0, dtype=np.int32) * np.int32(QUERY_ZERO), norms)


def write_coarse(directory: Path, vectors: NDArray[np.float32], large: int = LARGE) -> list[str]:
    """Write what `retrieval.CoarseProduct` reads, for embeddings of at least `large` numbers; names of the files."""
    if vectors.size < large:
        return []
    names = [COARSE_NPY, COARSE_SCALE_NPY, COARSE_SUMS_NPY, COARSE_NORMS_NPY]
    for name, array in zip(names, quantize(vectors), strict=True):
        np.save(directory / name, np.asarray(array))
    (directory / COARSE_ONNX).write_bytes(product_graph(vectors.shape[1]).SerializeToString())
    return [*names, COARSE_ONNX]


def product_graph(size: int) -> onnx.ModelProto:
    """`query` uint8 (1, size) × `items` int8 (size, n) → `products` int32 (1, n).

    The items are an input, not a constant: they stay in the file that they are mapped from, and nothing is loaded or packed.
    """
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", [QUERY, ITEMS], [PRODUCTS])],
        PRODUCTS,
        [
            helper.make_tensor_value_info(QUERY, TensorProto.UINT8, [1, size]),
            helper.make_tensor_value_info(ITEMS, TensorProto.INT8, [size, "n"]),
        ],
        [helper.make_tensor_value_info(PRODUCTS, TensorProto.INT32, [1, "n"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model
