"""Files of a recommendations bundle: the graph, and arrays beside it that large catalogs load by memory mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from personalization.bundles.bundle import MODEL_ONNX
from personalization.core import cells
from personalization.core.csr import CsrMatrix
from personalization.recommendations.blend import MATRIX_KEYS
from personalization.recommendations.cold_start_items import CONTENT_JSON, CONTENT_RARITY_NPY, CONTENT_TABLE_NPY
from personalization.recommendations.components import encoder_inputs
from personalization.recommendations.history import InteractionHistory
from personalization.recommendations.item_attributes import METADATA_JSON
from personalization.recommendations.recommender import (
    ITEMS_JSON,
    MIX_JSON,
    REPURCHASE_NPY,
    STATIC_NPY,
    VECTORS_NPY,
    Recommender,
)
from training.export import export
from training.tasks.recommendations.coarse import write_coarse
from training.tasks.recommendations.model import SequenceModel
from training.tasks.recommendations.training_items import TrainingItems, inverse_frequency

_WORD_COLUMNS: Final = ("category", "brand", "parent_id")
_IN_STOCK: Final = {"true": 1, "1": 1, "yes": 1, "y": 1, "false": 0, "0": 0, "no": 0, "n": 0}
_PARITY_ROWS: Final = 64


def write_files(
    directory: Path, recommender: Recommender, model: SequenceModel, items: TrainingItems, histories: InteractionHistory
) -> tuple[list[str], float]:
    """Write the graph and its files; the names of the files, and the largest difference between Keras and ONNX Runtime.

    histories   real ones, on which the exported graph is compared with Keras

    Raises `ParityError` where they do not agree.
    """
    sample = histories.take(np.flatnonzero(histories.lengths > 0)[:_PARITY_ROWS])
    inputs = encoder_inputs(sample, recommender.vectors, recommender.longest)
    batch = {name: inputs[name] for name in recommender.inputs}
    difference = export(model.network.serving, directory / MODEL_ONNX, batch, relative=True)
    arrays: dict[str, NDArray[Any]] = {
        VECTORS_NPY: recommender.vectors,
        STATIC_NPY: recommender.static,
        REPURCHASE_NPY: recommender.repurchase,
    }
    for name, matrix in recommender.matrices.items():
        arrays |= _csr_arrays(MATRIX_KEYS[name], matrix)
    documents: dict[str, Any] = {ITEMS_JSON: {"items": items.ids}, MIX_JSON: recommender.blend.to_json()}
    features = model.embeddings.features
    if features is not None:
        documents[CONTENT_JSON] = {"columns": [column.to_json() for column in items.columns]}
        arrays[CONTENT_TABLE_NPY] = model.embeddings.content.numpy()
        arrays[CONTENT_RARITY_NPY] = inverse_frequency(features, items.num_features)
        arrays |= _csr_arrays("content", features)
    documents[METADATA_JSON], columns = _item_attributes(items.table)
    arrays |= columns
    for file, array in arrays.items():
        np.save(directory / file, np.ascontiguousarray(array))
    for file, document in documents.items():
        (directory / file).write_bytes(orjson.dumps(document))
    return [*arrays, *documents, *write_coarse(directory, recommender.vectors)], difference


def _csr_arrays(name: str, matrix: CsrMatrix) -> dict[str, NDArray[Any]]:
    return {f"{name}_{part}.npy": getattr(matrix, part) for part in ("indptr", "indices", "values")}


def _item_attributes(table: Mapping[str, Sequence[Any]]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Attributes that filters and responses need: words and titles as a document, one array for each column.

    Codes of words are int32, −1 where missing; `price` float32, NaN; `created_at` int64 milliseconds, the least where
    missing; `in_stock` int8, −1.
    """
    document: dict[str, Any] = {"words": {}, "titles": cells.words(table["title"]) if "title" in table else None}
    columns: dict[str, NDArray[Any]] = {}
    for name in _WORD_COLUMNS:
        if name in table:
            values = cells.words(table[name])
            words = sorted({word for word in values if word})
            code_of_word = {word: code for code, word in enumerate(words)}
            document["words"][name] = words
            columns[name] = np.array([code_of_word[word] if word else -1 for word in values], np.int32)
    if "price" in table:
        columns["price"] = cells.numbers(table["price"])[0].astype(np.float32)
    if "created_at" in table:
        columns["created_at"] = cells.timestamps(table["created_at"])[0]
    if "in_stock" in table:
        values = cells.words(table["in_stock"])
        columns["in_stock"] = np.array([_IN_STOCK.get((word or "").lower(), -1) for word in values], np.int8)
    document["columns"] = sorted(columns)
    return document, {f"meta_{name}.npy": column for name, column in columns.items()}
