"""From scores to a list, in one fixed order:

    eligibility → score → relevance cut → one variant a parent → diversity → promotion → k

Filters are a mask before anything is cut, so a filtered list is as full as the catalogue allows. Nothing is filled up: a list
is shorter than `k` where fewer items are eligible, or relevant enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.recommendations.diversity import diversify
from personalization.recommendations.filters import Filters
from personalization.recommendations.promotion import promote
from personalization.recommendations.retrieval import RESCORED
from personalization.recommendations.scenarios import ItemScores
from personalization.recommendations.scorers import purchased_items
from personalization.recommendations.serving_catalog import ServingCatalog

Codes = NDArray[np.integer[Any]]

# Candidates that diversity chooses from, for each place of the list, and at least.
_POOL: Final = 4
_SMALLEST_POOL: Final = 100
_BLOCK: Final = 256


@dataclass(frozen=True, slots=True)
class Promotion:
    """`share` of the list, 0 … 1, is for items that pass `filters`."""

    filters: Filters
    share: float


@dataclass(frozen=True, slots=True)
class RankingOptions:
    """What a caller may ask of a list.

    diversity       0: by score alone, … 1: as different as can be
    min_relevance   items below are left out, and nothing takes their place
    """

    k: int = 20
    filters: Filters = field(default_factory=Filters)
    promotion: Promotion | None = None
    diversity: float = 0.0
    min_relevance: float = 0.0


@dataclass(frozen=True, slots=True)
class Ranked:
    """A list, best first.

    codes, scores, relevance   (n,), n ≤ k
    eligible                   how many items could have been in it
    """

    codes: NDArray[np.int64]
    scores: NDArray[np.float32]
    relevance: NDArray[np.float64]
    eligible: int


def rank_items(assortment: ServingCatalog, scoring: ItemScores, wishes: RankingOptions) -> Ranked:
    """The list that a scoring and a caller's wishes give."""
    purchased = purchased_items(scoring.history) if wishes.filters.not_purchased else None
    eligible = eligibility(assortment, scoring, wishes.filters, purchased)
    places = _placed(scoring)
    wanted = None
    if wishes.promotion is not None:
        other = purchased_items(scoring.history) if wishes.promotion.filters.not_purchased else None
        wanted = wishes.promotion.filters.mask(assortment.attributes, assortment.code_of_item, other)
    pool = _pool(assortment, scoring, wishes, places, eligible, wanted)
    ordered = _diversified(assortment, scoring, wishes, places, pool)
    if wishes.promotion is not None and wanted is not None:
        codes = promote(ordered, wanted[ordered], wishes.promotion.share, wishes.k)
    else:
        codes = ordered[: wishes.k]
    count = len(assortment) if eligible is None else int(eligible.sum())
    return Ranked(codes, scoring.values[codes], scoring.relevance(codes), count)


def eligibility(
    assortment: ServingCatalog, scoring: ItemScores, filters: Filters, purchased: Codes | None
) -> NDArray[np.bool_] | None:
    """(N,) which items may be shown, `None` where all may."""
    if assortment.available is None and scoring.only is None and not len(scoring.never) and not filters.any:
        return None
    code_of = assortment.code_of_item
    passes = filters.mask(assortment.attributes, code_of, purchased) if filters.any else np.ones(len(assortment), bool)
    for mask in (assortment.available, scoring.only):
        if mask is not None:
            passes &= mask
    passes[scoring.never] = False
    return passes


def _placed(scoring: ItemScores) -> NDArray[np.float32]:
    """What to order by: the values, with what comes first above all others and what comes last below."""
    values = scoring.values
    if scoring.first is None and not len(scoring.last):
        return values
    span = np.float32(values.max() - values.min() + 1.0)
    places = values.copy()
    if scoring.first is not None:
        places[scoring.first] += span
    if len(scoring.last):
        places[scoring.last] -= span
    return places


@dataclass(frozen=True, slots=True)
class _Cut:
    """Items below `least` are left out; `in_order`: behind one of these come only such."""

    relevance: Callable[[Codes], NDArray[np.float64]]
    least: float
    in_order: bool


def _pool(
    assortment: ServingCatalog,
    scoring: ItemScores,
    wishes: RankingOptions,
    places: NDArray[np.float32],
    eligible: NDArray[np.bool_] | None,
    wanted: NDArray[np.bool_] | None,
) -> NDArray[np.int64]:
    """Candidates, best first, relevant enough, one variant a parent; enough of them for the list and its promotion."""
    size = max(_POOL * wishes.k, _SMALLEST_POOL) if wishes.diversity > 0 else wishes.k
    families = assortment.attributes.families
    in_order = scoring.first is None and places is scoring.values
    cut = _Cut(scoring.relevance, wishes.min_relevance, in_order) if wishes.min_relevance > 0 else None
    pool = _best(scoring, places, eligible, size, families, cut)
    if wanted is None:
        return pool
    own = wanted if eligible is None else wanted & eligible
    pool = np.union1d(pool, _best(scoring, places, own, wishes.k, families, cut))
    # Of two variants the promoted one is shown: first by promotion to choose, then by place.
    pool = _one_a_family(pool[np.lexsort((pool, -places[pool], ~wanted[pool]))], families)
    return pool[np.lexsort((pool, -places[pool]))]


def _best(
    scoring: ItemScores,
    places: NDArray[np.float32],
    mask: NDArray[np.bool_] | None,
    count: int,
    families: NDArray[np.int32] | None,
    cut: _Cut | None,
) -> NDArray[np.int64]:
    """At most `count` codes under the mask, best first, of equal ones the lower code; one a family, none that is cut."""
    size = count
    while True:
        codes = _exact_top(scoring, places, mask, size)
        relevant = codes if cut is None else codes[cut.relevance(codes) >= cut.least]
        kept = _one_a_family(relevant, families)
        through = cut is not None and cut.in_order and len(relevant) < len(codes)
        if len(kept) >= count or len(codes) < size or through:
            return kept[:count]
        size *= 4


def _exact_top(
    scoring: ItemScores, places: NDArray[np.float32], mask: NDArray[np.bool_] | None, count: int
) -> NDArray[np.int64]:
    """`top`, where values that are near ones are made exact first: of the best, more of them than are asked for."""
    if scoring.products is None:
        return top(places, mask, count)
    codes = np.sort(top(places, mask, max(2 * count, RESCORED)))  # in the order in which they lie on disk
    change = scoring.refined(codes)
    if places is not scoring.values and change is not None:
        places[codes] += change
    return codes[np.argsort(-places[codes], kind="stable")][:count]


def top(places: NDArray[np.float32], mask: NDArray[np.bool_] | None, count: int) -> NDArray[np.int64]:
    """The `count` codes with the largest values under the mask, largest first; of equal ones the lower code first."""
    values = places if mask is None else np.where(mask, places, np.float32(-np.inf))
    blocks = len(values) // _BLOCK
    if blocks > count:
        # As many blocks hold a value as large as the count-th largest of their maxima: nothing below it can be wanted.
        maxima = values[: blocks * _BLOCK].reshape(blocks, _BLOCK).max(axis=1)
        least = np.partition(maxima, blocks - count)[blocks - count]
    elif count < len(values):
        least = np.partition(values, len(values) - count)[len(values) - count]
    else:
        least = np.float32(-np.inf)
    codes = np.flatnonzero(values >= least) if mask is None or np.isfinite(least) else np.flatnonzero(mask)
    return codes[np.argsort(-values[codes], kind="stable")][:count]


def _one_a_family(codes: NDArray[np.int64], families: NDArray[np.int32] | None) -> NDArray[np.int64]:
    """Of each parent the first; items without a parent stay."""
    if families is None or not len(codes):
        return codes
    family = families[codes]
    alone = np.flatnonzero(family < 0)
    _, first = np.unique(family, return_index=True)
    keep = np.union1d(alone, first[family[first] >= 0])
    return codes[keep]


def _diversified(
    assortment: ServingCatalog,
    scoring: ItemScores,
    wishes: RankingOptions,
    places: NDArray[np.float32],
    pool: NDArray[np.int64],
) -> NDArray[np.int64]:
    """The pool in the order to show it. What comes last stays there; what is not chosen follows by score."""
    if wishes.diversity <= 0 or len(pool) < 2:
        return pool
    behind = np.isin(pool, scoring.last) if len(scoring.last) else np.zeros(len(pool), bool)
    front = pool[~behind]
    if len(front) < 2:
        return pool
    category = assortment.attributes.words.get("category")
    codes = category.codes[front] if category is not None else None
    chosen = diversify(places[front], assortment.vectors(front), codes, wishes.k, wishes.diversity)
    rest = np.setdiff1d(np.arange(len(front)), chosen)  # ascending, so by score
    return np.concatenate([front[chosen], front[rest], pool[behind]])
