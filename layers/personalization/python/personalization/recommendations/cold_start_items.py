"""Items that came after training: their embeddings and neighbours are computed from their content columns.

In training an item's embedding is its own vector plus the vectors of its content features, and own vectors are left out at
random, so that the content part is trained to score items by itself. A new item has no own vector; own vectors are centred on
zero, so its content embedding is the expected value of its full one. It is used as it is, and new items compete with all
others by score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from personalization.bundles.bundle import Bundle
from personalization.catalog import ItemCatalog
from personalization.recommendations import NeighborMatrix, Recommender
from personalization.recommendations.item_content import ContentColumn, alike, content_vectors, item_features

CONTENT_JSON: Final = "content.json"
_NEIGHBOURS: Final = 100


@dataclass(frozen=True, slots=True)
class ColdStartItems:
    """M new items.

    vectors   float32 (M, D), zeros for items of which the model understands nothing
    alike     neighbours by content: of new items, and of the model's items to new ones; also where the mix does without, since
              they tell what a new item is like. `None` without content
    """

    vectors: NDArray[np.float32]
    alike: NeighborMatrix | None


def cold_start_items(bundle: Bundle, recommender: Recommender, catalogue: ItemCatalog, rows: Sequence[int]) -> ColdStartItems:
    """The items in these rows of the catalogue, whose codes follow those of the model's items in this order."""
    size, known = recommender.vectors.shape[1], len(recommender.items)
    if CONTENT_JSON not in bundle.manifest["files"]:
        return ColdStartItems(np.zeros((len(rows), size), np.float32), None)
    columns = [ContentColumn.from_json(c) for c in orjson.loads(bundle.file(CONTENT_JSON).read_bytes())["columns"]]
    places = np.array(rows, np.int64)
    table = {c.name: catalogue.columns[c.name].take(places).cells() for c in columns if c.name in catalogue.columns}
    features = item_features(columns, table, len(rows))
    vectors = content_vectors(features, _array(bundle, "content_table.npy"))
    others = NeighborMatrix(*(_array(bundle, f"content_{part}.npy") for part in ("indptr", "indices", "values")))
    every = _stacked(others, features)
    place, item, value = alike(features, every, _array(bundle, "content_rarity.npy"), _NEIGHBOURS + 1)
    place = place + known
    other = place != item
    place, item, value = place[other], item[other], value[other]
    # What is alike is so both ways; pairs of two new items are in here twice already.
    old = item < known
    source = np.concatenate([place, item[old].astype(np.int64)])
    target = np.concatenate([item, place[old].astype(np.int32)])
    order = np.argsort(source, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=known + len(rows)))]).astype(np.int64)
    return ColdStartItems(vectors, NeighborMatrix(indptr, target[order], np.concatenate([value, value[old]])[order]))


def _stacked(first: NeighborMatrix, second: NeighborMatrix) -> NeighborMatrix:
    return NeighborMatrix(
        np.concatenate([first.indptr, first.indptr[-1] + second.indptr[1:]]),
        np.concatenate([first.indices, second.indices]),
        np.concatenate([first.values, second.values]),
    )


def _array(bundle: Bundle, name: str) -> NDArray[Any]:
    array: NDArray[Any] = np.load(bundle.file(name), mmap_mode="r")
    return array
