"""Filters, promotion and diversity over random catalogs."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from personalization.core.categorical import CategoricalColumn
from personalization.recommendations.blend import BlendWeights
from personalization.recommendations.eligibility import Filters
from personalization.recommendations.history import from_items
from personalization.recommendations.item_attributes import ItemAttributes
from personalization.recommendations.ranking import Promotion, RankingOptions, rank_items
from personalization.recommendations.recommender import Recommender
from personalization.recommendations.reranking import diversify, promote
from personalization.recommendations.scenarios import ScenarioScores, personal
from personalization.recommendations.serving_catalog import ServingCatalog

CATEGORIES, BRANDS = ["a", "b", "c", "d"], ["x", "y"]
SIZE = 4


def random_catalog(seed: int, items: int, *, families: bool = True, repeat: bool = False) -> ServingCatalog:
    """Items with vectors, categories, brands, prices, parents and stock, some of each unknown."""
    random = np.random.default_rng(seed)
    ids = [f"i{n}" for n in range(items)]
    vectors = random.normal(size=(items, SIZE)).astype(np.float32)
    recommender = Recommender(
        items=ids,
        vectors=vectors,
        static=np.log1p(random.integers(0, 50, (2, items))).astype(np.float32),
        matrices={},
        repurchase=np.zeros(items, np.float32),
        blend=BlendWeights(1.0, {"popularity": 0.2}, {"popularity": 1.0}),
        encode=lambda inputs: (inputs["vectors"] * inputs["known"][..., None]).sum(axis=1),
        repeat_buying=repeat,
    )

    def codes(count: int) -> np.ndarray[Any, Any]:
        return random.integers(-1, count, items).astype(np.int32)

    words = {"category": CategoricalColumn(codes(4), CATEGORIES), "brand": CategoricalColumn(codes(2), BRANDS)}
    if families:
        words["parent_id"] = CategoricalColumn(codes(max(2, items // 3)), [f"p{n}" for n in range(items)])
    price = np.where(random.random(items) < 0.2, np.nan, random.integers(1, 100, items)).astype(np.float32)
    created = random.integers(0, 1000, items).astype(np.int64)
    attributes = ItemAttributes(items, words, price, created, random.integers(-1, 2, items).astype(np.int8))
    available = random.random(items) > 0.1 if seed % 2 else None
    return replace(ServingCatalog.of_model(recommender, attributes), available=available)


def random_scores(catalog: ServingCatalog, seed: int, length: int = 5) -> ScenarioScores:
    random = np.random.default_rng(seed)
    history = random.integers(0, len(catalog), length).tolist() if length else []
    return personal(catalog, from_items([history], catalog.recommender.pace, 50))


words = st.lists(st.sampled_from(CATEGORIES), min_size=1, max_size=3).map(tuple)
some_filters = st.builds(
    Filters,
    category=st.none() | words,
    brand=st.none() | st.just(("x",)),
    price_min=st.none() | st.integers(1, 60),
    price_max=st.none() | st.integers(30, 100),
    in_stock=st.none() | st.booleans(),
    created_after=st.none() | st.integers(0, 900),
    not_purchased=st.booleans(),
    exclude_ids=st.lists(st.integers(0, 40).map("i{}".format), max_size=5).map(tuple),
    include_ids=st.none() | st.lists(st.integers(0, 40).map("i{}".format), max_size=30).map(tuple),
)
catalogues = st.builds(random_catalog, st.integers(0, 1000), st.integers(2, 40), families=st.booleans(), repeat=st.booleans())


def passes(catalog: ServingCatalog, filters: Filters, code: int, history: set[int]) -> bool:
    """The filters once more, one item and one condition at a time."""
    of, item = catalog.attributes, catalog.items[code]
    price, stock = float(of.price[code]), int(of.in_stock[code])
    return (
        (filters.category is None or of.word("category", code) in filters.category)
        and (filters.brand is None or of.word("brand", code) in filters.brand)
        and (filters.price_min is None or price >= filters.price_min)
        and (filters.price_max is None or price <= filters.price_max)
        and (filters.in_stock is None or (stock != 0) == filters.in_stock)
        and (filters.created_after is None or int(of.created_at[code]) > filters.created_after)
        and not (filters.not_purchased and code in history)
        and (filters.include_ids is None or item in filters.include_ids)
        and item not in filters.exclude_ids
        and (catalog.available is None or bool(catalog.available[code]))
    )


def item_groups(catalog: ServingCatalog, codes: list[int]) -> int:
    """Number of different parents, items without one being their own."""
    parents = catalog.attributes.item_groups
    return len({("own", code) if parents is None or parents[code] < 0 else int(parents[code]) for code in codes})


@given(catalogues, some_filters, st.integers(1, 50), st.integers(0, 9), st.sampled_from([0.0, 0.4, 1.0]))
def test_no_filtered_item_appears_and_the_list_is_full(
    catalog: ServingCatalog, filters: Filters, k: int, seed: int, diversity: float
) -> None:
    scores = random_scores(catalog, seed)
    history = set(scores.history.item.tolist())
    found = rank_items(catalog, scores, RankingOptions(k, filters, diversity=diversity)).codes.tolist()
    allowed = [code for code in range(len(catalog)) if passes(catalog, filters, code, history)]
    assert set(found) <= set(allowed)
    assert len(found) == len(set(found)) == item_groups(catalog, found) == min(k, item_groups(catalog, allowed))


@given(catalogues, some_filters, some_filters, st.integers(1, 20), st.floats(0, 1), st.sampled_from([0.0, 0.7]))
def test_the_promoted_share_is_met(
    catalog: ServingCatalog, filters: Filters, promoted: Filters, k: int, share: float, diversity: float
) -> None:
    scores = random_scores(catalog, 3)
    history = set(scores.history.item.tolist())
    found = rank_items(catalog, scores, RankingOptions(k, filters, Promotion(promoted, share), diversity)).codes.tolist()
    allowed = [code for code in range(len(catalog)) if passes(catalog, filters, code, history)]
    own = [code for code in allowed if passes(catalog, promoted, code, history)]
    shown = [code for code in found if passes(catalog, promoted, code, history)]
    assert set(found) <= set(allowed)
    assert len(found) == item_groups(catalog, found) == min(k, item_groups(catalog, allowed))
    assert len(shown) >= min(ceil(share * len(found) - 1e-9), item_groups(catalog, own))


@given(catalogues, st.integers(1, 40), st.integers(0, 9))
def test_without_diversity_the_order_is_that_of_the_scores(catalog: ServingCatalog, k: int, seed: int) -> None:
    scores = random_scores(catalog, seed)
    found = rank_items(catalog, scores, RankingOptions(k))
    seen = np.isin(found.codes, scores.demoted)
    assert (np.diff(seen.astype(int)) >= 0).all()
    for part in (found.scores[~seen], found.scores[seen]):
        assert (np.diff(part) <= 0).all()
    best = max(code for code in range(len(catalog)) if catalog.available is None or catalog.available[code])  # some item
    assert len(found.codes)
    assert found.scores[0] >= scores.exact(catalog, np.array([best]))[0] or best in scores.demoted


@given(catalogues, st.integers(1, 40), st.floats(0, 1), st.sampled_from([0.0, 0.5]))
def test_nothing_below_the_wanted_relevance_appears_and_nothing_above_is_lost(
    catalog: ServingCatalog, k: int, least: float, diversity: float
) -> None:
    scores = random_scores(catalog, 1)
    found = rank_items(catalog, scores, RankingOptions(k, min_relevance=least, diversity=diversity))
    every = np.arange(len(catalog)) if catalog.available is None else np.flatnonzero(catalog.available)
    enough = every[scores.relevance(every, scores.exact(catalog, every)) >= least]
    assert (found.relevance >= least).all()
    assert len(found.codes) == min(k, item_groups(catalog, enough.tolist()))


def test_categories_spread_as_diversity_grows() -> None:
    spread = {0.0: 0, 0.1: 0, 0.2: 0, 1.0: 0}
    for seed in range(40):
        catalog = random_catalog(seed, 60, families=False)
        for diversity in spread:
            codes = rank_items(
                catalog,
                random_scores(catalog, seed),
                RankingOptions(5, Filters(category=tuple(CATEGORIES)), diversity=diversity),
            ).codes
            spread[diversity] += len({catalog.attributes.word("category", code) for code in codes})
    numbers = list(spread.values())
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == len(numbers)
    assert spread[1.0] == 40 * len(CATEGORIES)  # five places, four categories: each is there


@given(st.integers(0, 100), st.integers(2, 30), st.integers(1, 30))
def test_full_diversity_takes_every_category_before_any_twice(seed: int, items: int, count: int) -> None:
    random = np.random.default_rng(seed)
    categories = random.integers(0, 5, items).astype(np.int32)
    scores = np.sort(random.normal(size=items).astype(np.float32))[::-1]
    order = diversify(scores, random.normal(size=(items, 3)).astype(np.float32), categories, count, 1.0)
    assert order[0] == 0
    distinct = min(len(set(categories.tolist())), count, items)
    assert len(set(categories[order[:distinct]].tolist())) == distinct
    assert len(set(order.tolist())) == min(count, items)


def test_diversity_by_hand() -> None:
    """Two copies of one vector and another: the copy waits."""
    vectors = np.array([[1, 0], [2, 0], [0, 1]], np.float32)
    scores = np.array([3, 2.9, 1], np.float32)
    assert diversify(scores, vectors, None, 3, 0.0).tolist() == [0, 1, 2]
    # second place: .5 · .95 − .5 · 1 = −.025 for the copy, .5 · 0 − .5 · 0 = 0 for the other
    assert diversify(scores, vectors, None, 3, 0.5).tolist() == [0, 2, 1]
    assert diversify(scores, vectors, None, 3, 0.4).tolist() == [0, 1, 2]  # .6 · .95 − .4 = .17 against 0


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, [0, 1, 2, 3]), (0.25, [0, 1, 2, 4]), (0.5, [0, 4, 1, 5]), (1.0, [4, 5, 0, 1]), (0.3, [0, 1, 4, 5])],
)
def test_promotion_by_hand(share: float, expected: list[int]) -> None:
    """Of six, the last two are promoted; a list of four."""
    promoted = np.array([0, 0, 0, 0, 1, 1], bool)
    assert promote(np.arange(6), promoted, share, 4).tolist() == expected


@given(catalogues)
def test_of_two_variants_the_promoted_one_is_shown(catalog: ServingCatalog) -> None:
    parents = catalog.attributes.item_groups
    assume(parents is not None and catalog.available is None)
    scores = replace(random_scores(catalog, 2), demoted=np.zeros(0, np.int64))
    promoted = Filters(brand=("x",))
    found = rank_items(catalog, scores, RankingOptions(len(catalog), Filters(), Promotion(promoted, 1.0))).codes.tolist()
    for code in found:
        if catalog.attributes.word("brand", code) != "x" and parents[code] >= 0:
            siblings = np.flatnonzero(parents == parents[code])
            assert not any(catalog.attributes.word("brand", int(sibling)) == "x" for sibling in siblings)
