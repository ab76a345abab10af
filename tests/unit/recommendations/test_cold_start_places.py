"""New items at the end of a list: how many, where, and the same for one list and for many."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from personalization.recommendations import from_items
from personalization.recommendations.cold_start_items import ColdStartItems
from personalization.recommendations.cold_start_places import SHARE, insert_cold_items, num_admitted
from personalization.recommendations.filters import Filters
from personalization.recommendations.ranking import RankingOptions, rank_items
from personalization.recommendations.recommend_batch import recommend_batch
from personalization.recommendations.scenarios import personal
from personalization.recommendations.serving_catalog import ServingCatalog
from tests.unit.recommendations.test_ranking_properties import made_up

GONE = -np.inf


def f32(*rows: list[float]) -> Any:
    return np.array(rows, np.float32)


def test_a_new_item_takes_a_place_from_the_end_where_it_comes_near_enough() -> None:
    old = f32([9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    assert SHARE == 0.4
    assert num_admitted(old, f32([0.5, 0.4, 0.3]), 0.0).tolist() == [1]  # .5 against 0; .4 against 1 is too little
    assert num_admitted(old, f32([0.5, 0.4, 0.3]), 0.6).tolist() == [2]
    assert num_admitted(old, f32([0.5, 0.4, 0.3]), 2.0).tolist() == [3]
    assert num_admitted(old, f32([9.0] * 10), 50.0).tolist() == [4]  # of ten places no more, however good they are
    assert num_admitted(old, f32([-1.0, -2.0]), 0.5).tolist() == [0]
    assert num_admitted(old, f32([9.0, GONE, GONE]), 0.0).tolist() == [1]


def test_a_list_without_enough_others_is_filled() -> None:
    assert num_admitted(f32([3, 2, GONE, GONE, GONE]), f32([-9, -10, -11, -12]), -5.0).tolist() == [3]
    assert num_admitted(f32([3, 2, GONE, GONE, GONE]), f32([-9, GONE, GONE, GONE]), -5.0).tolist() == [1]


@given(
    st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 30), st.integers(1, 25), st.sampled_from([-2.0, 0.0, 0.7, 3.0])
)
def test_places_say_the_list_that_is_put_together_by_hand(seed: int, old: int, new: int, k: int, margin: float) -> None:
    random = np.random.default_rng(seed)
    scores = random.normal(0, 1, (6, old + new)).astype(np.float32)
    scores[random.random(scores.shape) < 0.2] = GONE
    places = scores.copy()
    insert_cold_items(places, old, k, margin)
    for score, place in zip(scores, places, strict=True):
        assert (place[:old] == score[:old]).all()
        known = [code for code in np.argsort(-score[:old], kind="stable") if score[code] > GONE]
        fresh = [code + old for code in np.argsort(-score[old:], kind="stable") if score[code + old] > GONE]
        entering: list[int] = []
        for code in fresh[:k]:
            at = k - 1 - len(entering)
            free = at >= len(known)
            if not free and not (
                len(entering) < int(SHARE * k + 1e-9) and score[code] + np.float32(margin) >= score[known[at]]
            ):
                break
            entering.append(code)
        expected = known[: k - len(entering)] + entering
        found = [code for code in np.argsort(-place, kind="stable") if place[code] > GONE]
        assert found[: len(expected)] == expected
        assert sorted(found) == sorted(known + fresh)  # the others follow, and nobody is lost


def with_new(seed: int, new: int, margin: float | None) -> ServingCatalog:
    """A shop whose catalogue has `new` items that its model does not know, and no variants."""
    here = made_up(2 * seed, 40 + new, families=False)
    recommender, known = here.recommender, 40
    old = replace(
        recommender, items=recommender.items[:known], vectors=recommender.vectors[:known],
        static=recommender.static[:, :known], repurchase=recommender.repurchase[:known],
        mix=replace(recommender.mix, margin=margin),
    )  # fmt: skip
    static = here.static.copy()
    static[:, known:] = 0
    new_ones = ColdStartItems(recommender.vectors[known:], None)
    return replace(here, recommender=old, static=static, new=new_ones)


@given(st.integers(0, 300), st.integers(1, 12), st.integers(1, 20), st.sampled_from([0.0, 1.0, 4.0]))
def test_one_list_and_many_lists_agree(seed: int, new: int, k: int, margin: float) -> None:
    here = with_new(seed, new, margin)
    random = np.random.default_rng(seed)
    histories = [random.integers(0, len(here), 4).tolist() for _ in range(3)]
    many = recommend_batch(here, from_items(histories, here.recommender.pace, 50), k)
    for history, found in zip(histories, many, strict=True):
        one = rank_items(here, personal(here, from_items([history], here.recommender.pace, 50)), RankingOptions(k=k))
        assert [here.items[code] for code in one.codes] == [item["item_id"] for item in found]
        fresh = [code >= 40 for code in one.codes.tolist()]
        assert sum(fresh) <= max(int(SHARE * k + 1e-9), k - 36)
        assert fresh == sorted(fresh)  # all of them at the end


def test_without_a_margin_new_items_are_ranked_by_their_score() -> None:
    here = with_new(3, 10, None)
    scoring = personal(here, from_items([[1, 2, 3]], here.recommender.pace, 50))
    codes = rank_items(here, scoring, RankingOptions(k=20)).codes
    assert (np.diff(scoring.values[codes]) <= 0).all()


def test_a_filter_for_new_items_alone_gives_a_full_list_by_score() -> None:
    here = with_new(4, 10, -50.0)
    scoring = personal(here, from_items([[1, 2, 3]], here.recommender.pace, 50))
    ids = tuple(here.items[40:])
    found = rank_items(here, scoring, RankingOptions(k=6, filters=Filters(include_ids=ids)))
    assert len(found.codes) == 6
    assert (found.codes >= 40).all()
    assert (np.diff(found.scores) <= 0).all()
