"""From scores to a list, in a fixed order of steps:

    eligibility → score → relevance cut → one variant for each parent → diversity → promotion → k

Eligibility is a mask before anything is cut, so a filtered list is as full as the catalog allows. A list is never padded: it
is shorter than `k` where fewer items are eligible, or relevant enough. Equal scores are ordered by item code, as in
`retrieval.top_k`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.recommendations.eligibility import Filters, eligible_items, filter_mask
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
    """Options of a list.

    diversity       0: by score alone, … 1: as diverse as possible
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
    """At most `options.k` eligible items in the order of the steps above."""
    eligible = eligible_items(catalog, scores, options.filters)
    promoted = None if options.promotion is None else filter_mask(catalog, scores, options.promotion.filters)
    size = max(_POOL * options.k, _SMALLEST_POOL) if options.diversity > 0 else options.k
    pool = _pool(catalog, scores, eligible, size, options.min_relevance)
    if promoted is not None:
        own = promoted if eligible is None else promoted & eligible
        pool = np.union1d(pool, _pool(catalog, scores, own, options.k, options.min_relevance))
        # Of two variants the promoted one is shown: first by promotion to choose, then by score.
        pool = in_order(catalog, scores, pool)
        pool = _one_per_group(catalog, pool[np.argsort(~promoted[pool], kind="stable")])
        pool = in_order(catalog, scores, pool)
    ordered = _diversified(catalog, scores, options, pool)
    if options.promotion is not None and promoted is not None:
        codes = promote(ordered, promoted[ordered], options.promotion.share, options.k)
    else:
        codes = ordered[: options.k]
    return _ranked(catalog, scores, codes, len(catalog) if eligible is None else int(eligible.sum()))


def rank_given(catalog: ServingCatalog, scores: ScenarioScores, codes: NDArray[np.int64]) -> RankedItems:
    """All of these items, ordered by tier, then the higher score, then the lower code."""
    return _ranked(catalog, scores, in_order(catalog, scores, codes), len(codes))


def in_order(catalog: ServingCatalog, scores: ScenarioScores, codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The codes as `scoring.top_items` orders them: by tier, then the higher score, then the lower code."""
    return codes[np.lexsort((codes, -scores.exact(catalog, codes), -scores.tiers(codes)))]


def _ranked(catalog: ServingCatalog, scores: ScenarioScores, codes: NDArray[np.int64], eligible: int) -> RankedItems:
    values = scores.exact(catalog, codes)
    return RankedItems(codes, values, scores.relevance(codes, values), eligible)


def _pool(
    catalog: ServingCatalog, scores: ScenarioScores, mask: NDArray[np.bool_] | None, count: int, min_relevance: float
) -> NDArray[np.int64]:
    """At most `count` codes under the mask, best first: one variant a parent, and relevant enough."""
    size = count
    while True:
        codes, values = top_items(catalog, scores, size, mask)
        relevant = codes if min_relevance <= 0 else codes[scores.relevance(codes, values) >= min_relevance]
        kept = _one_per_group(catalog, relevant)
        # Within a tier relevance descends with the score. Behind an item of the middle tier that is cut, all are.
        exhausted = len(codes) < size or (scores.boosted is None and len(relevant) < len(codes))
        if len(kept) >= count or exhausted:
            return kept[:count]
        size *= 4


def _one_per_group(catalog: ServingCatalog, codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each parent the first; items without a parent stay."""
    groups = catalog.attributes.item_groups
    if groups is None or not len(codes):
        return codes
    group = groups[codes]
    alone = np.flatnonzero(group < 0)
    _, first = np.unique(group, return_index=True)
    return codes[np.union1d(alone, first[group[first] >= 0])]


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
        values = values + tiers[tiers >= 0] * (scores.approximate.max() - scores.approximate.min() + np.float32(1.0))
    category = catalog.attributes.words.get("category")
    codes = None if category is None else category.codes[front]
    chosen = diversify(values, catalog.vectors(front), codes, options.k, options.diversity)
    rest: NDArray[Any] = np.setdiff1d(np.arange(len(front)), chosen)  # ascending, so by score
    return np.concatenate([front[chosen], front[rest], demoted])
