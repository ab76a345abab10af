"""Which items are eligible: a boolean mask over the catalog, made before anything is cut.

An item is eligible if it was not removed from the catalog, the scenario allows it, and it passes the caller's filters. An item
without the attribute that a filter needs does not pass it. Items without a stock flag count as in stock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personalization.core.time import MISSING_TIME
from personalization.recommendations.history import purchased_items
from personalization.recommendations.item_attributes import ItemAttributes
from personalization.recommendations.scenarios import ScenarioScores
from personalization.recommendations.serving_catalog import ServingCatalog


@dataclass(frozen=True, slots=True)
class Filters:
    """The caller's filters; an item passes if it passes all of them.

    category, brand            one of these
    price_min, price_max       inclusive
    in_stock                   True: only items in stock; False: only items out of stock
    created_after              milliseconds
    not_purchased              True: no item that the user bought
    include_ids, exclude_ids   only these items; none of these items
    """

    category: tuple[str, ...] | None = None
    brand: tuple[str, ...] | None = None
    price_min: float | None = None
    price_max: float | None = None
    in_stock: bool | None = None
    created_after: int | None = None
    not_purchased: bool = False
    include_ids: tuple[str, ...] | None = None
    exclude_ids: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        """Whether any filter is set."""
        return self != Filters()

    def mask(
        self, attributes: ItemAttributes, code_of_item: Mapping[str, int], purchased: NDArray[np.integer[Any]] | None = None
    ) -> NDArray[np.bool_]:
        """(N,) which items pass.

        purchased   codes of the items that the user bought
        """
        passes = np.ones(attributes.size, bool)
        for name, accepted in (("category", self.category), ("brand", self.brand)):
            if accepted is not None:
                passes &= _has_word(attributes, name, accepted)
        if self.price_min is not None or self.price_max is not None:
            passes &= _between(attributes, self.price_min, self.price_max)
        if self.in_stock is not None:
            out = attributes.in_stock == 0 if len(attributes.in_stock) else np.zeros(attributes.size, bool)
            passes &= ~out if self.in_stock else out
        if self.created_after is not None:
            created = attributes.created_at
            passes &= (created > self.created_after) & (created != MISSING_TIME) if len(created) else False
        if self.not_purchased and purchased is not None:
            passes[purchased] = False
        if self.include_ids is not None:
            included = np.zeros(attributes.size, bool)
            included[[code_of_item[item] for item in self.include_ids if item in code_of_item]] = True
            passes &= included
        passes[[code_of_item[item] for item in self.exclude_ids if item in code_of_item]] = False
        return passes


def eligible_items(catalog: ServingCatalog, scores: ScenarioScores, filters: Filters) -> NDArray[np.bool_] | None:
    """(N,) which items are eligible, `None` where all are."""
    if catalog.available is None and scores.eligible is None and not len(scores.excluded) and not filters.any:
        return None
    passes = filter_mask(catalog, scores, filters) if filters.any else np.ones(len(catalog), bool)
    for mask in (catalog.available, scores.eligible):
        if mask is not None:
            passes &= mask
    passes[scores.excluded] = False
    return passes


def filter_mask(catalog: ServingCatalog, scores: ScenarioScores, filters: Filters) -> NDArray[np.bool_]:
    """(N,) which items pass the filters alone."""
    purchased = purchased_items(scores.history) if filters.not_purchased else None
    return filters.mask(catalog.attributes, catalog.code_of_item, purchased)


def _has_word(attributes: ItemAttributes, name: str, accepted: tuple[str, ...]) -> NDArray[np.bool_]:
    column = attributes.words.get(name)
    if column is None:
        return np.zeros(attributes.size, bool)
    codes = np.array([column.code(word) for word in accepted], np.int32)
    return column.codes == codes[0] if len(codes) == 1 else np.isin(column.codes, codes)


def _between(attributes: ItemAttributes, low: float | None, high: float | None) -> NDArray[np.bool_]:
    if not len(attributes.price):
        return np.zeros(attributes.size, bool)
    with np.errstate(invalid="ignore"):
        passes = ~np.isnan(attributes.price)
        if low is not None:
            passes &= attributes.price >= np.float32(low)
        if high is not None:
            passes &= attributes.price <= np.float32(high)
    return passes
