"""Learning the blend: candidates with their features, and weights, against values computed item by item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from personalization.core.csr import CsrMatrix
from personalization.recommendations.blend import TRANSITION, BlendWeights
from personalization.recommendations.history import BasketPace, from_items
from personalization.recommendations.recommender import Recommender
from training.tasks.recommendations.blending import (
    LOGISTIC,
    SOFTMAX,
    RankingExamples,
    blend_weights,
    fit_weights,
    ranking_examples,
)

ITEMS = 5
NEIGHBORS = np.array([[0, 2, 1, 0, 0], [0, 0, 3, 0, 0], [0, 0, 0, 1, 0], [4, 0, 0, 0, 0], [0, 0, 0, 0, 0]], np.float32)


def recommender() -> Recommender:
    row, column = np.nonzero(NEIGHBORS)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=ITEMS))]).astype(np.int64)
    matrix = CsrMatrix(indptr, column.astype(np.int32), NEIGHBORS[row, column], ITEMS)

    def encode(inputs: Mapping[str, Any]) -> np.ndarray:
        total: np.ndarray = inputs["vectors"].sum(axis=1)
        return total.astype(np.float32)

    static = np.array([[5, 4, 3, 2, 1], [0, 0, 0, 0, 7]], np.float32)
    vectors = np.eye(ITEMS, 2, dtype=np.float32)
    return Recommender(
        list("abcde"), vectors, static, {TRANSITION: matrix}, np.zeros(ITEMS, np.float32), BlendWeights(), encode
    )


def test_candidates_are_the_items_without_a_history_and_carry_the_scores_of_all_components() -> None:
    """So few items are all candidates; what the user had is none without repeat buying."""
    histories = from_items([[0, 3], [1]], BasketPace(), 50)
    examples = ranking_examples(recommender(), histories, [np.array([2]), np.array([0, 4])], repeat=False)
    assert examples.names == ("sequence", "popularity", "recent", "transition 0.0", "transition 0.6", "transition 0.9")
    assert examples.offsets.tolist() == [0, 3, 7]
    assert examples.labels.tolist() == [False, True, False, True, False, False, True]  # of items 1, 2, 4 and of 0, 2, 3, 4
    # The first user's embedding is that of item 0, for item 3 has zeros; item 1 follows item 0, one basket back.
    assert examples.features[0].tolist() == pytest.approx([0, 4, 0, 0, 0.6 * 2, 0.9 * 2])
    assert examples.features[4].tolist() == pytest.approx([0, 3, 0, 3, 3, 3])


def test_with_repeat_buying_items_of_the_history_are_candidates_with_their_features() -> None:
    examples = ranking_examples(recommender(), from_items([[0, 3]], BasketPace(), 50), [np.array([3])], repeat=True)
    seen = examples.features[:, examples.names.index("seen")]
    assert seen.tolist() == [1, 0, 0, 1, 0]
    assert examples.labels.tolist() == [False, False, False, True, False]


@pytest.mark.parametrize("objective", [SOFTMAX, LOGISTIC])
def test_a_user_without_candidates_does_not_stop_the_fit(objective: str) -> None:
    """Whoever had every item has none left to choose from."""
    features = np.array([[1, 0], [3, 0], [2, 0]], np.float32)
    labels = np.array([False, True, False])
    with_empty, without = (
        RankingExamples(("sequence", "popularity"), features, np.array(offsets), labels) for offsets in ([0, 3, 3], [0, 3])
    )
    weights = fit_weights(with_empty, objective)
    assert np.isfinite(weights).all()
    if objective == SOFTMAX:
        assert weights == pytest.approx(fit_weights(without, objective))


def test_no_users_give_no_examples() -> None:
    examples = ranking_examples(recommender(), from_items([], BasketPace(), 50), [], repeat=True)
    assert len(examples.features) == len(examples.labels) == 0
    assert examples.offsets.tolist() == [0]


@pytest.mark.parametrize("objective", [SOFTMAX, LOGISTIC])
def test_the_feature_that_decides_gets_the_weight(objective: str) -> None:
    """Users take the candidate with the largest second feature: its weight is large, the others are small."""
    random = np.random.default_rng(2)
    features = random.normal(size=(4000, 3)).astype(np.float32)
    offsets = np.arange(0, 4001, 10)
    labels = np.zeros(4000, bool)
    noisy = features[:, 1] + 0.3 * random.normal(size=4000)
    labels[offsets[:-1] + noisy.reshape(-1, 10).argmax(axis=1)] = True
    weights = fit_weights(RankingExamples(("sequence", "popularity", "together 0.0"), features, offsets, labels), objective)
    assert weights[1] > 2
    assert abs(weights[0]) < 0.3
    assert 0 <= weights[2] < 0.3


def test_without_labels_the_weights_are_the_prior() -> None:
    features = np.array([[1, 0], [3, 0]], np.float32)
    pairs = RankingExamples(("sequence", "popularity"), features, np.array([0, 2]), np.zeros(2, bool))
    assert fit_weights(pairs, SOFTMAX).tolist() == pytest.approx([1.0, 0.0])  # by standard deviations of 1 and 0


def test_rank_weights_are_sums_of_decays() -> None:
    names = ("sequence", "popularity", "recent", "transition 0.0", "transition 0.6", "transition 0.9")
    blend = blend_weights(names, np.array([1.0, 0.0, 0.0, 2.0, 1.0, 0.5]), [TRANSITION])
    assert blend.rank_weights(TRANSITION)[:3] == pytest.approx([3.5, 0.6 + 0.45, 0.36 + 0.405])
    assert BlendWeights.from_json(blend.to_json()) == blend
