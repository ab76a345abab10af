"""The files of a recommendations bundle: arrays beside the graph, so that large catalogues load by mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from personalization.bundles.bundle import MODEL_ONNX
from personalization.core import cells
from personalization.recommendations.components import encoder_inputs
from personalization.recommendations.history import InteractionHistory
from personalization.recommendations.recommender import ITEMS_JSON, MIX_JSON, REPURCHASE_NPY, STATIC_NPY, VECTORS_NPY
from personalization.recommendations.retrieval import write_quantised
from personalization.recommendations.sparse import NeighborMatrix
from training.export import export
from training.tasks.recommendations.catalogue import TrainingItems, rarity
from training.tasks.recommendations.model import Trained

CONTENT_JSON: Final = "content.json"
CONTENT_TABLE_NPY: Final = "content_table.npy"
CONTENT_RARITY_NPY: Final = "content_rarity.npy"
METADATA_JSON: Final = "metadata.json"
_WORDS: Final = ("category", "brand", "parent_id")  # codes in <column>.npy, words in metadata.json
_PARITY_ROWS: Final = 64


def write_files(
    directory: Path, trained: Trained, catalogue: TrainingItems, histories: InteractionHistory
) -> tuple[list[str], float]:
    """Write everything but bundle.json and the report; names of the files beside the graph, and the export's difference.

    histories   real ones, to compare the exported graph on
    """
    recommender = trained.recommender
    sample = histories.take(np.flatnonzero(histories.lengths > 0)[:_PARITY_ROWS])
    inputs = encoder_inputs(sample, recommender.vectors, recommender.longest)
    batch = {name: inputs[name] for name in recommender.inputs}
    difference = export(trained.network.serving, directory / MODEL_ONNX, batch, relative=True)
    arrays: dict[str, NDArray[Any]] = {
        VECTORS_NPY: recommender.vectors,
        STATIC_NPY: recommender.static,
        REPURCHASE_NPY: recommender.repurchase,
    }
    for name, matrix in recommender.matrices.items():
        arrays |= _parts(name, matrix)
    documents: dict[str, Any] = {ITEMS_JSON: {"items": catalogue.items}, MIX_JSON: recommender.mix.to_json()}
    if trained.table.features is not None:
        documents[CONTENT_JSON] = {"columns": [column.to_json() for column in catalogue.columns]}
        arrays[CONTENT_TABLE_NPY] = trained.table.content.numpy()
        arrays[CONTENT_RARITY_NPY] = rarity(trained.table.features, catalogue.size)
        arrays |= _parts("content", trained.table.features)
    described, columns = _metadata(catalogue.table, len(catalogue.items))
    documents[METADATA_JSON] = described
    arrays |= columns
    for file, array in arrays.items():
        np.save(directory / file, np.ascontiguousarray(array))
    for file, document in documents.items():
        (directory / file).write_bytes(orjson.dumps(document))
    return [*arrays, *documents, *write_quantised(directory, recommender.vectors)], difference


def _parts(name: str, matrix: NeighborMatrix) -> dict[str, NDArray[Any]]:
    return {f"{name}_{part}.npy": getattr(matrix, part) for part in ("indptr", "indices", "values")}


def _metadata(table: Mapping[str, Sequence[Any]], items: int) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What filters and answers need: words of coded columns and titles; numbers as arrays (`meta_<column>.npy`).

    Codes are int32, −1 where missing; `price` float32, NaN; `created_at` int64 milliseconds, the least where missing;
    `in_stock` int8, −1.
    """
    described: dict[str, Any] = {"words": {}, "titles": None}
    arrays: dict[str, NDArray[Any]] = {}
    for column in _WORDS:
        if column in table:
            found = cells.words(table[column])
            words = sorted({word for word in found if word})
            code = {word: place for place, word in enumerate(words)}
            described["words"][column] = words
            arrays[f"meta_{column}.npy"] = np.array([code[word] if word else -1 for word in found], np.int32)
    if "title" in table:
        described["titles"] = cells.words(table["title"])
    if "price" in table:
        arrays["meta_price.npy"] = cells.numbers(table["price"])[0].astype(np.float32)
    if "created_at" in table:
        arrays["meta_created_at.npy"] = cells.timestamps(table["created_at"])[0]
    if "in_stock" in table:
        stock = [_STOCK.get((word or "").lower(), -1) for word in cells.words(table["in_stock"])]
        arrays["meta_in_stock.npy"] = np.array(stock, np.int8)
    described["columns"] = sorted(name.removeprefix("meta_").removesuffix(".npy") for name in arrays)
    return described, arrays


_STOCK: Final = {"true": 1, "1": 1, "yes": 1, "y": 1, "false": 0, "0": 0, "no": 0, "n": 0}
