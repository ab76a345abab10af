"""Items that came after training: their embeddings and neighbours are computed from their content columns.

In training an item's embedding is its own vector plus the vectors of its content features, and own vectors are left out at
random, so that the content part is trained to score items by itself. A new item has no own vector, so its embedding would be
shorter than those of all other items, and a score grows with the length: by content alone new items are hardly ever shown, and
at the length of the others they crowd these out. Training therefore sets `BlendWeights.cold_item_scale` to the geometric mean
of both, and new items compete with all others by score. `benchmarks/cold_items.py` compares with content-kNN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from personalization.bundles.bundle import Bundle
from personalization.catalog import ItemCatalog
from personalization.core.csr import CsrMatrix
from personalization.recommendations.item_content import ContentColumn, content_neighbors, content_vectors, item_features
from personalization.recommendations.recommender import Recommender, read_array, read_matrix

CONTENT_JSON: Final = "content.json"
CONTENT_TABLE_NPY: Final = "content_table.npy"
CONTENT_RARITY_NPY: Final = "content_rarity.npy"
_NEIGHBORS: Final = 100


def cold_start_items(
    bundle: Bundle, recommender: Recommender, catalog: ItemCatalog, rows: Sequence[int]
) -> tuple[NDArray[np.float32], CsrMatrix | None]:
    """Embeddings float32 (M, D) and similarity by content of the items in these rows of the catalog.

    The codes of new items follow those of the model's. The similarity (I + M, I + M) is of new items to all items, and of the
    model's items to new ones; it counts also where the blend does without similarity by content. Items without a known
    feature have zeros. Without content columns in the bundle all embeddings are zeros, and the similarity is `None`.
    """
    known = len(recommender.items)
    if CONTENT_JSON not in bundle.manifest["files"]:
        return np.zeros((len(rows), recommender.vectors.shape[1]), np.float32), None
    columns = [ContentColumn.from_json(column) for column in orjson.loads(bundle.file(CONTENT_JSON).read_bytes())["columns"]]
    places = np.array(rows, np.int64)
    table = {c.name: catalog.columns[c.name].take(places).cells() for c in columns if c.name in catalog.columns}
    features = item_features(columns, table, len(rows))
    vectors = content_vectors(features, read_array(bundle, CONTENT_TABLE_NPY)) * np.float32(recommender.blend.cold_item_scale)
    every = _stacked(read_matrix(bundle, "content", features.columns), features)
    neighbors = content_neighbors(features, every, read_array(bundle, CONTENT_RARITY_NPY), _NEIGHBORS + 1)
    place, item, value = neighbors.gather(np.arange(len(rows)))
    place = place + known
    other = place != item
    place, item, value = place[other], item[other], value[other]
    # Similarity is symmetric; pairs of two new items are in here twice already.
    old = item < known
    source, target = np.concatenate([place, item[old]]), np.concatenate([item, place[old]])
    order = np.argsort(source, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=len(every)))]).astype(np.int64)
    values = np.concatenate([value, value[old]])[order].astype(np.float32)
    return vectors, CsrMatrix(indptr, target[order].astype(np.int32), values, len(every))


def _stacked(first: CsrMatrix, second: CsrMatrix) -> CsrMatrix:
    return CsrMatrix(
        np.concatenate([first.indptr, first.indptr[-1] + second.indptr[1:]]),
        np.concatenate([first.indices, second.indices]),
        np.concatenate([first.values, second.values]),
        second.columns,
    )
