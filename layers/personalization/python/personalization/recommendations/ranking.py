"""From scores to a list, in one fixed order:

    eligibility → score → relevance cut → one variant a parent → diversity → promotion → k

Filters are a mask before anything is cut, so a filtered list is as full as the catalog allows. Nothing is filled up: a list
is shorter than `k` where fewer items are eligible, or relevant enough.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.recommendations.filters import Filters
from personalization.recommendations.history import purchased_items
from personalization.recommendations.reranking import diversify, promote
from personalization.recommendations.scenarios import ScenarioScores
from personalization.recommendations.scoring import top_items
from personalization.recommendations.serving_catalog import ServingCatalog

# Candidates that diversity chooses from, for each place of the list, and at least.
_POOL: Final = 4
_SMALLEST_POOL: Final = 100


@dataclass(frozen=True, slots=True)
class Promotion:
    """`share` of the list, 0 … 1, is for items that pass `filters`."""

    filters: Filters
    share: float


@dataclass(frozen=True, slots=True)
class RankingOptions:
    """What a caller can ask of a list.

    diversity       0: by score alone, … 1: as different as can be
    min_relevance   items below are left out, and nothing takes their place
    """

    k: int = 20
    filters: Filters = field(default_factory=Filters)
    promotion: Promotion | None = None
    diversity: float = 0.0
    min_relevance: float = 0.0


@dataclass(frozen=True, slots=True)
class RankedItems:
    """A list, best first.

    codes, scores, relevance   (n,), n ≤ k; scores are exact
    eligible                   number of items that could have been in it
    """

    codes: NDArray[np.int64]
    scores: NDArray[np.float32]
    relevance: NDArray[np.float64]
    eligible: int


def rank_items(catalog: ServingCatalog, scores: ScenarioScores, options: RankingOptions) -> RankedItems:
    """The list that scores and options give."""
    eligible = _eligible(catalog, scores, options.filters)
    promoted = None if options.promotion is None else _mask(catalog, scores, options.promotion.filters)
    size = max(_POOL * options.k, _SMALLEST_POOL) if options.diversity > 0 else options.k
    pool = _pool(catalog, scores, eligible, size, options.min_relevance)
    if promoted is not None:
        own = promoted if eligible is None else promoted & eligible
        pool = np.union1d(pool, _pool(catalog, scores, own, options.k, options.min_relevance))
        # Of two variants the promoted one is shown: first by promotion to choose, then by score.
        pool = in_order(catalog, scores, pool)
        pool = _one_a_family(catalog, pool[np.argsort(~promoted[pool], kind="stable")])
        pool = in_order(catalog, scores, pool)
    ordered = _diversified(catalog, scores, options, pool)
    if options.promotion is not None and promoted is not None:
        codes = promote(ordered, promoted[ordered], options.promotion.share, options.k)
    else:
        codes = ordered[: options.k]
    return _ranked(catalog, scores, codes, len(catalog) if eligible is None else int(eligible.sum()))


def rank_given(catalog: ServingCatalog, scores: ScenarioScores, codes: NDArray[np.int64]) -> RankedItems:
    """All of these items, in the order of a list."""
    return _ranked(catalog, scores, in_order(catalog, scores, codes), len(codes))


def in_order(catalog: ServingCatalog, scores: ScenarioScores, codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The codes as `scoring.top_items` orders them: by tier, then the higher score, then the lower code."""
    return codes[np.lexsort((codes, -scores.exact(catalog, codes), -scores.tiers(codes)))]


def _ranked(catalog: ServingCatalog, scores: ScenarioScores, codes: NDArray[np.int64], eligible: int) -> RankedItems:
    values = scores.exact(catalog, codes)
    return RankedItems(codes, values, scores.relevance(codes, values), eligible)


def _mask(catalog: ServingCatalog, scores: ScenarioScores, filters: Filters) -> NDArray[np.bool_]:
    purchased = purchased_items(scores.history) if filters.not_purchased else None
    return filters.mask(catalog.attributes, catalog.code_of_item, purchased)


def _eligible(catalog: ServingCatalog, scores: ScenarioScores, filters: Filters) -> NDArray[np.bool_] | None:
    """(N,) which items may be in the list, `None` where all may."""
    if catalog.available is None and scores.eligible is None and not len(scores.excluded) and not filters.any:
        return None
    passes = _mask(catalog, scores, filters) if filters.any else np.ones(len(catalog), bool)
    for mask in (catalog.available, scores.eligible):
        if mask is not None:
            passes &= mask
    passes[scores.excluded] = False
    return passes


def _pool(
    catalog: ServingCatalog, scores: ScenarioScores, mask: NDArray[np.bool_] | None, count: int, min_relevance: float
) -> NDArray[np.int64]:
    """At most `count` codes under the mask, best first: one variant a parent, and relevant enough."""
    size = count
    while True:
        codes, values = top_items(catalog, scores, size, mask)
        relevant = codes if min_relevance <= 0 else codes[scores.relevance(codes, values) >= min_relevance]
        kept = _one_a_family(catalog, relevant)
        # Within a tier relevance descends with the score. Behind an item of the middle tier that is cut, all are.
        exhausted = len(codes) < size or (scores.boosted is None and len(relevant) < len(codes))
        if len(kept) >= count or exhausted:
            return kept[:count]
        size *= 4


def _one_a_family(catalog: ServingCatalog, codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each parent the first; items without a parent stay."""
    families = catalog.attributes.families
    if families is None or not len(codes):
        return codes
    family = families[codes]
    alone = np.flatnonzero(family < 0)
    _, first = np.unique(family, return_index=True)
    return codes[np.union1d(alone, first[family[first] >= 0])]


def _diversified(
    catalog: ServingCatalog, scores: ScenarioScores, options: RankingOptions, pool: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The pool in the order to show it. Demoted items stay at the end; what is not chosen follows by score."""
    if options.diversity <= 0:
        return pool
    tiers = scores.tiers(pool)
    front, demoted = pool[tiers >= 0], pool[tiers < 0]
    if len(front) < 2:
        return pool
    values = scores.exact(catalog, front)
    if scores.boosted is not None:  # a boosted item leads by more than any difference of scores
        values = values + tiers[tiers >= 0] * (scores.near.max() - scores.near.min() + np.float32(1.0))
    category = catalog.attributes.words.get("category")
    codes = None if category is None else category.codes[front]
    chosen = diversify(values, catalog.vectors(front), codes, options.k, options.diversity)
    rest: NDArray[Any] = np.setdiff1d(np.arange(len(front)), chosen)  # ascending, so by score
    return np.concatenate([front[chosen], front[rest], demoted])
