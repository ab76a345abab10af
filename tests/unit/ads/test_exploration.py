"""Propensities: closed forms against enumeration, and what is logged against what happens."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalization.ads.exploration import (
    Exploration,
    action_probabilities,
    greedy_probabilities,
    random_generator,
    seed_of,
)
from personalization.ads.pacing import Pace
from personalization.ads.valuation import Slot
from tests.ad_factory import auction_of, candidates_of, valuation_of


@given(
    scores=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    codes=st.lists(st.integers(0, 3), min_size=6, max_size=6),
    parts=st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=4, max_size=4),
)
def test_greedy_probabilities_are_sums_over_who_may_take_part(scores: list[int], codes: list[int], parts: list[float]) -> None:
    expected = np.zeros(len(scores))
    for present in product([False, True], repeat=4):
        weight = np.prod([part if takes_part else 1 - part for part, takes_part in zip(parts, present, strict=True)])
        entered = [n for n in range(len(scores)) if present[codes[n]]]
        if entered:
            expected[max(entered, key=lambda n: (scores[n], -n))] += weight
    found = greedy_probabilities(np.array(scores, float), np.array(codes[: len(scores)], np.int32), np.array(parts))
    assert found == pytest.approx(expected)


def test_the_policies_by_hand() -> None:
    scores, all_of_them = np.array([[1.0, 2.0, 0.5]]), np.ones((1, 3), dtype=bool)
    two = np.array([[True, False, True]])
    assert action_probabilities(scores, all_of_them, Exploration()).tolist() == [[0, 1, 0]]
    assert action_probabilities(scores, two, Exploration()).tolist() == [[1, 0, 0]]
    assert action_probabilities(scores, all_of_them, Exploration("epsilon", 0.3))[0] == pytest.approx([0.1, 0.8, 0.1])
    assert action_probabilities(scores, two, Exploration("epsilon", 0.3))[0] == pytest.approx([0.85, 0, 0.15])
    weights = np.exp([(1.0 - 2.0) / 0.5, 0.0, (0.5 - 2.0) / 0.5])  # a quarter of the best score is .5
    softmax = action_probabilities(scores, all_of_them, Exploration("softmax", temperature=0.25))[0]
    assert softmax == pytest.approx(weights / weights.sum())
    assert action_probabilities(scores, np.zeros((1, 3), dtype=bool), Exploration("softmax", 0.1)).tolist() == [[0, 0, 0]]


def test_thompson_of_two_ads_against_the_integral_of_their_posteriors() -> None:
    """P(Beta(3, 7) > Beta(2, 8)) by a sum over a fine grid."""
    ads = candidates_of({"bid": 1.0}, {"bid": 1.0})
    policy = Exploration("thompson", draws=5_000, strength=10.0)
    result = auction_of(ads, valuation_of(ads, [0.3, 0.2]), exploration=policy)
    x = (np.arange(20_000) + 0.5) / 20_000
    density = [x**2 * (1 - x) ** 6, x * (1 - x) ** 7]
    density = [one / one.sum() for one in density]
    better = float((density[0] * np.cumsum(density[1])).sum())
    assert result.probabilities[0][0] == pytest.approx(better, abs=4 * np.sqrt(0.25 / 5_000))
    assert result.draws == 5_000


def test_evidence_narrows_what_thompson_tries() -> None:
    policy = Exploration("thompson", draws=2_000)
    shy, sure = (candidates_of({"bid": 1.0}, {"bid": 1.0, "evidence": seen}) for seen in (0, 1_000_000))
    tried = [auction_of(ads, valuation_of(ads, [0.1, 0.08]), exploration=policy).probabilities[0][1] for ads in (shy, sure)]
    assert tried[0] > tried[1] > 0


@pytest.mark.parametrize(
    "policy",
    [
        Exploration(),
        Exploration("epsilon", 0.3),
        Exploration("softmax", temperature=0.5, draws=100),
        Exploration("thompson", draws=100, strength=20.0),
        Exploration("thompson", 0.2, draws=100, strength=20.0),
    ],
    ids=lambda policy: f"{policy.mode}-{policy.epsilon}",
)
@pytest.mark.parametrize("throttled", [False, True])
def test_what_is_logged_is_what_happens(policy: Exploration, throttled: bool) -> None:
    """Over 4,000 decisions: how often an ad is chosen, against the sum of what was logged; slot by slot, and weighted by its
    inverse (every ad's weights add up to the number of decisions, the first condition of any off-policy estimate)."""
    ads = candidates_of(
        {"bid": 1.0, "campaign_id": "p"}, {"bid": 1.2, "campaign_id": "q"}, {"bid": 0.9, "campaign_id": "p"}, {"bid": 1.1}
    )
    paces = {"p": Pace(participation=0.6), "q": Pace(participation=0.5)} if throttled else {}
    valuation, slots, rounds = valuation_of(ads, 0.2), [Slot("s"), Slot("t")], 4_000
    happened, logged, variance = np.zeros((2, 4)), np.zeros((2, 4)), np.zeros((2, 4))
    inverse, spread = np.zeros(4), np.zeros(4)
    for n in range(rounds):
        result = auction_of(ads, valuation, slots, f"d{n}", paces=paces, exploration=policy)
        for slot, p in result.probabilities.items():
            logged[slot] += p
            variance[slot] += p * (1 - p)
        for win in result.wins:
            happened[win.slot, win.candidate] += 1
        first = next((win for win in result.wins if win.slot == 0), None)
        p = result.probabilities[0]
        inverse += p > 0  # what the mean of the weights is to be: 1 for each decision in which the ad had a chance
        spread += np.where(p > 0, 1 / np.maximum(p, 1e-12) - 1, 0)
        if first is not None:
            inverse[first.candidate] -= 1 / first.propensity
    assert np.abs(happened - logged).max() <= 4.5 * np.sqrt(variance.max())
    assert (np.abs(happened - logged) <= 4.5 * np.sqrt(variance) + 1e-9).all()
    assert (np.abs(inverse) <= 4.5 * np.sqrt(spread) + 1e-9).all()
    assert happened.sum() > rounds


def test_the_seed_is_the_ids() -> None:
    assert seed_of("d1") != seed_of("d2")
    assert random_generator("d1").random() == np.random.Generator(np.random.PCG64(seed_of("d1"))).random()
