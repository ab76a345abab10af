"""The items that can be recommended now: those of the model, those that the catalogue added, without what it took away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personalization.bundles.bundle import Bundle
from personalization.catalog import ItemCatalog
from personalization.recommendations import NeighborMatrix, Recommender, load
from personalization.recommendations.cold_start_items import ColdStartItems, cold_start_items
from personalization.recommendations.item_attributes import Attributes, of_bundle
from personalization.recommendations.retrieval import Index, make_index


@dataclass(frozen=True)
class ServingCatalog:
    """N items by code: the model's first, in its order, then new ones.

    recommender   of the bundle; it knows the model's items alone
    items         ids
    code_of_item  code by id
    static        float32 (2, N), zeros for new items: nobody bought them yet
    repurchase    float32 (N,)
    neighbours    item-to-item matrices by component; a component may have several, which add up
    new           what is computed for new items
    attributes    of all items
    available     (N,) False for items that were taken out, `None` where there are none
    version       of the catalogue, `None` without one
    directory     of the bundle
    """

    recommender: Recommender
    items: Sequence[str]
    code_of_item: Mapping[str, int]
    static: NDArray[np.float32]
    repurchase: NDArray[np.float32]
    neighbours: tuple[tuple[str, NeighborMatrix], ...]
    new: ColdStartItems
    attributes: Attributes
    available: NDArray[np.bool_] | None = None
    version: str | None = None
    directory: Path | None = None

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def index(self) -> Index:
        """Scores of all items for a query."""
        return make_index(self.recommender.vectors, self.new.vectors, self.directory)

    @cached_property
    def shown(self) -> NDArray[np.int64] | None:
        """Codes of the items that can be shown, `None` where those are all."""
        return None if self.available is None else np.flatnonzero(self.available)

    def vectors(self, codes: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """(n, D) of these items."""
        return self.index.vectors(codes)

    def codes(self, items: Sequence[str]) -> tuple[list[int], list[str]]:
        """Codes of the items that are known, in order, and the ids that are not."""
        code_of = self.code_of_item
        return [code_of[i] for i in items if i in code_of], [i for i in items if i not in code_of]

    def name(self, code: int) -> str:
        return self.attributes.name(code, self.items[code])


def serving_catalog(bundle: Bundle, catalogue: ItemCatalog | None = None) -> ServingCatalog:
    """Join a model and a catalogue; the last few are kept, as both change seldom.

    Items that the model knows keep their vectors; the catalogue says what they cost and whether they are there.
    """
    key = (str(bundle.directory), bundle.sha256, catalogue.version if catalogue else None)
    found = _KEPT.pop(key, None)
    if found is None:
        found = _joined(bundle, catalogue)
    while len(_KEPT) >= _KEEP:
        _KEPT.pop(next(iter(_KEPT)))  # the one that was asked for longest ago
    _KEPT[key] = found
    return found


_KEEP = 3
_KEPT: dict[tuple[str, str, str | None], ServingCatalog] = {}


def _plain(recommender: Recommender) -> Recommender:
    """The same arrays, still mapped, without what numpy's class for mapped files costs at each access."""
    matrices = {
        name: NeighborMatrix(np.asarray(matrix.indptr), np.asarray(matrix.indices), np.asarray(matrix.values))
        for name, matrix in recommender.matrices.items()
    }
    return replace(
        recommender,
        vectors=np.asarray(recommender.vectors),
        static=np.asarray(recommender.static),
        repurchase=np.asarray(recommender.repurchase),
        matrices=matrices,
    )


def _of_model(bundle: Bundle) -> ServingCatalog:
    recommender = _plain(load(bundle))
    return ServingCatalog(
        recommender=recommender,
        items=recommender.items,
        code_of_item=recommender.code_of_item,
        static=recommender.static,
        repurchase=recommender.repurchase,
        neighbours=tuple(
            (name, matrix) for name, matrix in recommender.matrices.items() if any(recommender.mix.matrices.get(name, ()))
        ),
        new=ColdStartItems(np.zeros((0, recommender.vectors.shape[1]), np.float32), None),
        attributes=of_bundle(bundle, len(recommender.items)),
        directory=bundle.directory,
    )


def _joined(bundle: Bundle, catalogue: ItemCatalog | None) -> ServingCatalog:
    if catalogue is None:
        return _of_model(bundle)
    base = serving_catalog(bundle)
    recommender, attributes, neighbours = base.recommender, base.attributes, base.neighbours
    known = len(recommender.items)
    code_of = recommender.code_of_item
    fresh = [row for row, item in enumerate(catalogue.ids) if item not in code_of and not catalogue.removed[row]]
    items = [*recommender.items, *(catalogue.ids[row] for row in fresh)] if fresh else recommender.items
    if fresh:
        code_of = {**code_of, **{catalogue.ids[row]: known + place for place, row in enumerate(fresh)}}
    new = cold_start_items(bundle, recommender, catalogue, fresh) if fresh else base.new
    if new.alike is not None:
        neighbours += (("alike", new.alike),)
    told = [row for row, item in enumerate(catalogue.ids) if item in code_of and not catalogue.removed[row]]
    rows = np.array([code_of[catalogue.ids[row]] for row in told], np.int64)
    columns = {name: column.take(np.array(told, np.int64)) for name, column in catalogue.columns.items()}
    gone = [
        code_of[item] for item, removed in zip(catalogue.ids, catalogue.removed, strict=True) if removed and item in code_of
    ]
    available = None
    if gone:
        available = np.ones(len(items), bool)
        available[gone] = False
    growth = len(items) - known
    mean = float(np.mean(recommender.repurchase)) if known else 0.0
    return ServingCatalog(
        recommender,
        items,
        code_of,
        np.pad(recommender.static, ((0, 0), (0, growth))) if growth else recommender.static,
        np.pad(recommender.repurchase, (0, growth), constant_values=mean) if growth else recommender.repurchase,
        neighbours,
        new,
        attributes.overlay(rows, columns, len(items), bundle.encoder.zone),
        available,
        catalogue.version,
        bundle.directory,
    )
