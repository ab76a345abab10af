"""Contributions: their sums, and their values against a second way to compute them."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from personalization.recommendations.components import REPEAT
from personalization.recommendations.explain import explain_items
from personalization.recommendations.history import from_items
from personalization.recommendations.recommender import RECENT
from personalization.recommendations.scenarios import bought_together, personal, popular_items, similar
from personalization.recommendations.scoring import user_embeddings
from personalization.recommendations.serving_catalog import ServingCatalog, serving_catalog
from tests.recommendations_bundle import ITEMS, TOGETHER, hand_bundle
from tests.unit.recommendations.test_ranking_properties import random_catalog, random_scores

IDS = list(ITEMS)


@pytest.fixture
def catalog(tmp_path: Path) -> ServingCatalog:
    return serving_catalog(hand_bundle(tmp_path))


def test_contributions_sum_to_the_scores(catalog: ServingCatalog) -> None:
    scores = personal(catalog, from_items([[0, 4, 1, 4, 6]], catalog.recommender.pace, 50))
    codes = np.array([3, 5, 0])
    found = explain_items(catalog, scores, codes, pairs=3)
    assert found.sources.tolist() == [0, 1, 4, 6]
    assert found.totals() == pytest.approx(scores.exact(catalog, codes), rel=1e-5)
    for row, explanation in enumerate(found.to_json(catalog)):
        others = explanation.get("others", {"value": 0.0})["value"]
        total = explanation["base"] + others + sum(each["value"] for each in explanation["contributions"])
        assert total == pytest.approx(float(scores.exact(catalog, codes)[row]), abs=1e-4)


def test_a_single_item_contributes_all_but_popularity(catalog: ServingCatalog) -> None:
    """One player: its share is all but popularity, and nothing was drawn."""
    scores = personal(catalog, from_items([[0]], catalog.recommender.pace, 50))
    mug = IDS.index("mug")
    found = explain_items(catalog, scores, np.array([mug]))
    assert found.contributions[0, 0] == pytest.approx(2.0 * 0.9 + TOGETHER["teapot"]["mug"], rel=1e-5)
    assert found.standard_error[0, 0] == 0.0
    mean = np.mean([row[1] for row in ITEMS.values()])
    assert found.components["popularity"][0] == pytest.approx(0.3 * (3.0 - mean), rel=1e-5)


def test_shapley_values_are_those_of_all_orders(catalog: ServingCatalog) -> None:
    """Three players have six orders: all of them against many drawn ones."""
    history = from_items([[0, 4, 6]], catalog.recommender.pace, 50)
    scores = replace(personal(catalog, history), contributions=())
    codes = np.arange(len(IDS))
    exact = np.zeros((len(codes), 3))
    for order in permutations(range(3)):
        before = np.zeros(len(codes))
        for step in range(3):
            inside = sorted(order[: step + 1])
            part = from_items([[int(history.item[p]) for p in inside]], catalog.recommender.pace, 50)
            worth = catalog.vectors(codes) @ user_embeddings(catalog, part)[0]
            exact[:, order[step]] += (worth - before) / 6
            before = worth
    found = explain_items(catalog, scores, codes, pairs=400)
    # players come by code, and so do these: teapot 0, spade 4, lamp 6
    assert found.contributions == pytest.approx(exact, abs=5 * float(found.standard_error.max()) + 1e-6)
    assert found.contributions.sum(axis=1) == pytest.approx(exact.sum(axis=1), rel=1e-5)
    assert np.corrcoef(found.contributions.ravel(), exact.ravel())[0, 1] > 0.99


def test_more_orders_lower_the_standard_errors_and_a_budget_ends_them() -> None:
    catalog = random_catalog(4, 30, families=False)
    bent = replace(
        catalog.recommender, encode=lambda inputs: np.tanh((inputs["vectors"] * inputs["known"][..., None]).sum(axis=1))
    )
    catalog = replace(catalog, recommender=bent)
    scores = random_scores(catalog, 5, 12)
    codes = np.arange(5)
    few, many = explain_items(catalog, scores, codes, pairs=4), explain_items(catalog, scores, codes, pairs=64)
    assert (few.orders, many.orders) == (8, 128)
    assert 0 < many.standard_error.mean() < few.standard_error.mean()
    assert explain_items(catalog, scores, codes, pairs=64, seed=0).contributions == pytest.approx(many.contributions)
    times = iter(range(100))
    assert explain_items(catalog, scores, codes, budget_seconds=0.5, clock=lambda: float(next(times))).orders == 4


def test_buying_again_is_contributed_by_the_item_itself(tmp_path: Path) -> None:
    catalog = serving_catalog(hand_bundle(tmp_path, repeat_buying=True))
    scores = personal(catalog, from_items([[0, 4, 0]], catalog.recommender.pace, 50))
    codes = np.array([0, 4, 1])
    found = explain_items(catalog, scores, codes)
    assert found.totals() == pytest.approx(scores.exact(catalog, codes), rel=1e-5)
    alone = explain_items(
        catalog, replace(scores, contributions=tuple(p for p in scores.contributions if p.component == REPEAT)), codes
    )
    silent = explain_items(catalog, replace(scores, contributions=()), codes)
    added = alone.contributions - silent.contributions
    assert added[0, 0] > 0
    assert added[1, 1] > 0
    assert added[[0, 1, 2, 2], [1, 0, 0, 1]] == pytest.approx(0.0)


def test_scores_without_a_user_embedding_are_explained_exactly(catalog: ServingCatalog) -> None:
    nobody = from_items([[]], catalog.recommender.pace, 50)
    codes = np.array([1, 3])
    for scores in (
        personal(catalog, nobody),
        popular_items(catalog, nobody, RECENT),
        similar(catalog, nobody, 0),
        bought_together(catalog, nobody, [0, 4]),
    ):
        found = explain_items(catalog, scores, codes)
        assert found.totals() == pytest.approx(scores.exact(catalog, codes), rel=1e-5), scores.scenario
        assert not found.standard_error.any()
