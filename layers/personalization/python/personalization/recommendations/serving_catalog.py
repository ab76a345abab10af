"""The items that can be recommended now: those of the model and those that the item catalog added, less those removed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.bundles.bundle import Bundle
from personalization.catalog import ItemCatalog
from personalization.core.csr import CsrMatrix
from personalization.recommendations.blend import CONTENT_SIMILARITY
from personalization.recommendations.cold_start_items import cold_start_items
from personalization.recommendations.item_attributes import ItemAttributes, read_attributes
from personalization.recommendations.recommender import POPULARITY, STATIC, Recommender, load_recommender
from personalization.recommendations.retrieval import Index, make_index

_KEEP: Final = 3


@dataclass(frozen=True)
class ServingCatalog:
    """N items by code: the model's first, in its order, then items that came after training.

    recommender     of the bundle; it covers the model's items alone
    items           ids
    code_of_item    code by id
    static          float32 (len(STATIC), N), zeros for new items: nobody bought them yet
    repurchase      float32 (N,)
    matrices        (name, item-to-item matrix) of those that the blend uses; matrices of one name add up
    cold_vectors    float32 (M, D) embeddings of the new items
    attributes      of all items
    available       (N,) False for items that were removed, `None` where none were
    version         of the item catalog, `None` without one
    directory       of the bundle, `None` in training
    """

    recommender: Recommender
    items: Sequence[str]
    code_of_item: Mapping[str, int]
    static: NDArray[np.float32]
    repurchase: NDArray[np.float32]
    matrices: tuple[tuple[str, CsrMatrix], ...]
    cold_vectors: NDArray[np.float32]
    attributes: ItemAttributes
    available: NDArray[np.bool_] | None = None
    version: str | None = None
    directory: Path | None = None

    @classmethod
    def of_model(
        cls, recommender: Recommender, attributes: ItemAttributes | None = None, directory: Path | None = None
    ) -> ServingCatalog:
        """The items of a model alone, as training and evaluation rank them."""
        return cls(
            recommender=recommender,
            items=recommender.items,
            code_of_item=recommender.code_of_item,
            static=recommender.static,
            repurchase=recommender.repurchase,
            matrices=tuple(
                (name, matrix) for name, matrix in recommender.matrices.items() if any(recommender.blend.matrices.get(name, ()))
            ),
            cold_vectors=np.zeros((0, recommender.vectors.shape[1]), np.float32),
            attributes=attributes or ItemAttributes(len(recommender.items)),
            directory=directory,
        )

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def index(self) -> Index:
        """Products with the embeddings of all items."""
        return make_index(self.recommender.vectors, self.cold_vectors, self.directory)

    @cached_property
    def warm_static(self) -> NDArray[np.float32]:
        """(N,) weighted static scores for users with a history."""
        return self._weighted(self.recommender.blend.static)

    @cached_property
    def cold_static(self) -> NDArray[np.float32]:
        """(N,) weighted static scores for users without one."""
        return self._weighted(self.recommender.blend.cold or {POPULARITY: 1.0})

    def vectors(self, codes: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """(n, D) embeddings of these items."""
        return self.index.vectors(codes)

    def lookup(self, items: Sequence[str]) -> tuple[list[int], list[str]]:
        """Codes of the items of the catalog, in order, and the ids that are not in it."""
        code_of = self.code_of_item
        return [code_of[i] for i in items if i in code_of], [i for i in items if i not in code_of]

    def codes(self, items: Sequence[str]) -> NDArray[np.int32]:
        """(n,) codes of items, −1 for those that are not in the catalog."""
        return np.array([self.code_of_item.get(item, -1) for item in items], np.int32)

    def name(self, code: int) -> str:
        """Title of an item, else its id."""
        return self.attributes.word("title", code) or self.items[code]

    def _weighted(self, weights: Mapping[str, float]) -> NDArray[np.float32]:
        out = np.zeros(len(self), np.float32)
        for name, scores in zip(STATIC, self.static, strict=True):
            out += np.float32(weights.get(name, 0.0)) * scores
        return out


def serving_catalog(bundle: Bundle, items: ItemCatalog | None = None) -> ServingCatalog:
    """Join a model and an item catalog; the last few are kept, as both change seldom.

    Items of the model keep their embeddings; the item catalog states their attributes and which are removed.
    """
    key = (str(bundle.directory), bundle.sha256, items.version if items else None)
    if key not in _KEPT:
        _KEPT[key] = _of_bundle(bundle) if items is None else _joined(bundle, serving_catalog(bundle), items)
    _KEPT.move_to_end(key)
    catalog = _KEPT[key]
    while len(_KEPT) > _KEEP:
        _KEPT.popitem(last=False)
    return catalog


_KEPT: OrderedDict[tuple[str, str, str | None], ServingCatalog] = OrderedDict()


def _of_bundle(bundle: Bundle) -> ServingCatalog:
    recommender = load_recommender(bundle)
    return ServingCatalog.of_model(recommender, read_attributes(bundle, len(recommender.items)), bundle.directory)


def _joined(bundle: Bundle, model: ServingCatalog, items: ItemCatalog) -> ServingCatalog:
    recommender, known = model.recommender, len(model)
    present = ~np.array(items.removed, bool)
    new_rows = [row for row, item in enumerate(items.ids) if present[row] and item not in model.code_of_item]
    ids, code_of_item = model.items, model.code_of_item
    if new_rows:
        new_ids = [items.ids[row] for row in new_rows]
        ids = [*ids, *new_ids]
        code_of_item = {**code_of_item, **{item: known + place for place, item in enumerate(new_ids)}}
    codes = np.array([code_of_item.get(item, -1) for item in items.ids], np.int64)
    available = None
    removed = codes[~present & (codes >= 0)]
    if len(removed):
        available = np.ones(len(ids), bool)
        available[removed] = False
    cold_vectors, matrices = model.cold_vectors, model.matrices
    if new_rows:
        cold_vectors, similarity = cold_start_items(bundle, recommender, items, new_rows)
        if similarity is not None:
            matrices += ((CONTENT_SIMILARITY, similarity),)
    rows = np.flatnonzero(present)
    columns = {name: column.take(rows) for name, column in items.columns.items()}
    mean_repurchase = float(np.mean(recommender.repurchase)) if known else 0.0
    return ServingCatalog(
        recommender=recommender,
        items=ids,
        code_of_item=code_of_item,
        static=np.pad(recommender.static, ((0, 0), (0, len(new_rows)))) if new_rows else recommender.static,
        repurchase=np.append(recommender.repurchase, np.full(len(new_rows), mean_repurchase, np.float32)),
        matrices=matrices,
        cold_vectors=cold_vectors,
        attributes=model.attributes.overlay(codes[rows], columns, len(ids), bundle.encoder.zone),
        available=available,
        version=items.version,
        directory=bundle.directory,
    )
