"""Control variates: their Shapley values against an enumeration of all orders, and the noise that they remove."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from personalization.recommendations import control_variates
from personalization.recommendations.explain import explain_items
from personalization.recommendations.history import from_items
from personalization.recommendations.scenarios import personal
from personalization.recommendations.serving_catalog import serving_catalog
from tests.recommendations_bundle import hand_bundle


@pytest.mark.parametrize("power", control_variates.POWERS)
def test_shapley_values_are_those_of_all_orders(power: float) -> None:
    for count in (1, 2, 4, 5):
        alone = np.random.default_rng(count).normal(size=(count, 2))
        expected = np.zeros_like(alone)
        orders = list(permutations(range(count)))
        for order in orders:
            before = np.zeros(2)
            for step, player in enumerate(order):
                newest_first = sorted(order[: step + 1], reverse=True)
                weights = [1 / (1 + rank) ** power for rank in range(step + 1)]
                now = np.average(alone[newest_first], axis=0, weights=weights)
                expected[player] += (now - before) / len(orders)
                before = now
        assert control_variates.shapley_matrix(count, power) @ alone == pytest.approx(expected)


def test_newer_players_of_a_coalition_weigh_more() -> None:
    inside = np.array([[True, False, True, True], [False, False, False, False], [False, True, False, False]])
    expected = np.array([[2 / 11, 0, 3 / 11, 6 / 11], [0, 0, 0, 0], [0, 1, 0, 0]])
    assert control_variates.player_weights(inside, 1.0) == pytest.approx(expected)


@pytest.mark.parametrize("power", [0.0, 2.0])
def test_the_values_of_a_long_history_sum_to_its_worth(power: float) -> None:
    weights = control_variates.player_weights(np.ones((1, 60), bool), power)[0]
    assert control_variates.shapley_matrix(60, power).sum(axis=0) == pytest.approx(weights)


def test_an_embedding_that_is_a_mean_is_explained_without_noise(tmp_path: Path) -> None:
    catalog = serving_catalog(hand_bundle(tmp_path))
    scores = personal(catalog, from_items([[0, 4, 1, 6]], catalog.recommender.pace, 50))
    explained = explain_items(catalog, scores, np.array([3, 5]), pairs=2)
    assert explained.standard_error == pytest.approx(0.0, abs=1e-6)
