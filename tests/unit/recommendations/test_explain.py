"""Contributions: their sums, and their values against a second way to compute them."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from personalization.recommendations import control_variates, from_items
from personalization.recommendations.explain import explain_items
from personalization.recommendations.scenarios import RECENT, bought_together, demand, personal, similar
from personalization.recommendations.scorers import user_embedding
from personalization.recommendations.serving_catalog import ServingCatalog, serving_catalog
from tests.recommending import ITEMS, TOGETHER, hand_bundle
from tests.unit.recommendations.test_ranking_properties import asked, made_up

IDS = list(ITEMS)


@pytest.fixture
def here(tmp_path: Path) -> ServingCatalog:
    return serving_catalog(hand_bundle(tmp_path))


def test_contributions_sum_to_the_scores(here: ServingCatalog) -> None:
    scoring = personal(here, from_items([[0, 4, 1, 4, 6]], here.recommender.pace, 50))
    codes = np.array([3, 5, 0])
    found = explain_items(here, scoring, codes, pairs=3)
    assert found.players.tolist() == [0, 1, 4, 6]
    assert found.totals() == pytest.approx(scoring.values[codes], rel=1e-5)
    for row, told in enumerate(found.described(here)):
        others = told.get("others", {"value": 0.0})["value"]
        total = told["base"] + others + sum(each["value"] for each in told["contributions"])
        assert total == pytest.approx(float(scoring.values[codes[row]]), abs=1e-4)


def test_a_single_item_has_all_of_it(here: ServingCatalog) -> None:
    """One player: its share is all but popularity, and nothing was drawn."""
    scoring = personal(here, from_items([[0]], here.recommender.pace, 50))
    mug = IDS.index("mug")
    found = explain_items(here, scoring, np.array([mug]))
    assert found.contributions[0, 0] == pytest.approx(2.0 * 0.9 + TOGETHER["teapot"]["mug"], rel=1e-5)
    assert found.standard_error[0, 0] == 0.0
    mean = np.mean([row[1] for row in ITEMS.values()])
    assert found.components["popularity"][0] == pytest.approx(0.3 * (3.0 - mean), rel=1e-5)


def test_shapley_values_are_those_of_all_orders(here: ServingCatalog) -> None:
    """Three players have six orders: all of them against many drawn ones."""
    history = from_items([[0, 4, 6]], here.recommender.pace, 50)
    scoring = replace(personal(here, history), parts=())
    codes = np.arange(len(IDS))
    exact = np.zeros((len(codes), 3))
    for order in permutations(range(3)):
        before = np.zeros(len(codes))
        for step in range(3):
            inside = sorted(order[: step + 1])
            part = from_items([[int(history.item[p]) for p in inside]], here.recommender.pace, 50)
            worth = here.vectors(codes) @ user_embedding(here, part)[0]
            exact[:, order[step]] += (worth - before) / 6
            before = worth
    found = explain_items(here, scoring, codes, pairs=400)
    # players come by code, and so do these: teapot 0, spade 4, lamp 6
    assert found.contributions == pytest.approx(exact, abs=5 * float(found.standard_error.max()) + 1e-6)
    assert found.contributions.sum(axis=1) == pytest.approx(exact.sum(axis=1), rel=1e-5)
    assert np.corrcoef(found.contributions.ravel(), exact.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("power", control_variates.POWERS)
def test_surrogates_have_their_values_in_closed_form(power: float) -> None:
    """Of all orders of four and five players, a mean in which the newer weigh more."""
    for count in (1, 2, 4, 5):
        alone = np.random.default_rng(count).normal(size=(count, 2))
        by_hand = np.zeros_like(alone)
        every = list(permutations(range(count)))
        for order in every:
            before = np.zeros(2)
            for step, player in enumerate(order):
                newest_first = sorted(order[: step + 1], reverse=True)
                weights = [1 / (1 + rank) ** power for rank in range(step + 1)]
                now = np.average(alone[newest_first], axis=0, weights=weights)
                by_hand[player] += (now - before) / len(every)
                before = now
        assert control_variates.values(count, power) @ alone == pytest.approx(by_hand)


def test_shares_are_of_those_inside_and_by_who_is_newer() -> None:
    inside = np.array([[True, False, True, True], [False, False, False, False], [False, True, False, False]])
    assert control_variates.shares(inside, 1.0) == pytest.approx(
        np.array([[2 / 11, 0, 3 / 11, 6 / 11], [0, 0, 0, 0], [0, 1, 0, 0]])
    )


@pytest.mark.parametrize("power", [0.0, 2.0])
def test_a_long_game_shares_out_all_of_its_worth(power: float) -> None:
    everybody = control_variates.shares(np.ones((1, 60), bool), power)[0]
    assert control_variates.values(60, power).sum(axis=0) == pytest.approx(everybody)


def test_a_network_that_listens_to_the_newest_leaves_little_to_draw() -> None:
    """Its user vector is the newest item's: a steep surrogate takes nearly all of the noise, a plain mean would not."""
    here = made_up(4, 30, families=False)
    newest = replace(here.recommender, encode=lambda inputs: inputs["vectors"][:, -1])
    here = replace(here, recommender=newest)
    scoring = replace(asked(here, 5, 12), parts=())
    with_it = explain_items(here, scoring, np.arange(5), pairs=20)
    spread = np.abs(with_it.contributions).mean()
    assert with_it.standard_error.mean() < 0.03 * spread
    assert with_it.totals() == pytest.approx(scoring.values[:5], rel=1e-4, abs=1e-4)


def test_a_network_that_is_a_mean_leaves_nothing_to_draw(here: ServingCatalog) -> None:
    scoring = personal(here, from_items([[0, 4, 1, 6]], here.recommender.pace, 50))
    assert explain_items(here, scoring, np.array([3, 5]), pairs=2).standard_error == pytest.approx(0.0, abs=1e-6)


def test_more_orders_less_noise_and_a_budget_ends_them() -> None:
    here = made_up(4, 30, families=False)
    bent = replace(
        here.recommender, encode=lambda inputs: np.tanh((inputs["vectors"] * inputs["known"][..., None]).sum(axis=1))
    )
    here = replace(here, recommender=bent)
    scoring = asked(here, 5, 12)
    codes = np.arange(5)
    few, many = explain_items(here, scoring, codes, pairs=4), explain_items(here, scoring, codes, pairs=64)
    assert (few.orders, many.orders) == (8, 128)
    assert 0 < many.standard_error.mean() < few.standard_error.mean()
    assert explain_items(here, scoring, codes, pairs=64, seed=0).contributions == pytest.approx(many.contributions)
    times = iter(range(100))
    assert explain_items(here, scoring, codes, budget_seconds=0.5, clock=lambda: float(next(times))).orders == 4


def test_buying_again_is_the_item_s_own(tmp_path: Path) -> None:
    here = serving_catalog(hand_bundle(tmp_path, repeat_buying=True))
    scoring = personal(here, from_items([[0, 4, 0]], here.recommender.pace, 50))
    codes = np.array([0, 4, 1])
    found = explain_items(here, scoring, codes)
    assert found.totals() == pytest.approx(scoring.values[codes], rel=1e-5)
    alone = explain_items(here, replace(scoring, parts=tuple(p for p in scoring.parts if p.component == "repeat")), codes)
    silent = explain_items(here, replace(scoring, parts=()), codes)
    added = alone.contributions - silent.contributions
    assert added[0, 0] > 0
    assert added[1, 1] > 0
    assert added[[0, 1, 2, 2], [1, 0, 0, 1]] == pytest.approx(0.0)


def test_what_needs_no_drawing_sums_too(here: ServingCatalog) -> None:
    nobody = from_items([[]], here.recommender.pace, 50)
    codes = np.array([1, 3])
    for scoring in (
        personal(here, nobody),
        demand(here, nobody, RECENT),
        similar(here, nobody, 0),
        bought_together(here, nobody, [0, 4]),
    ):
        found = explain_items(here, scoring, codes)
        assert found.totals() == pytest.approx(scoring.values[codes], rel=1e-5), scoring.scenario
        assert not found.standard_error.any()
