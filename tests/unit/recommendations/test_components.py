"""Components of a score, by hand and against dense arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from personalization.core.csr import CsrMatrix
from personalization.recommendations.blend import COOCCURRENCE, TRANSITION, BlendWeights, log_total
from personalization.recommendations.components import (
    RANKS,
    REPEAT_FEATURES,
    decay_weights,
    encoder_inputs,
    neighbor_contributions,
    repeat_features,
)
from personalization.recommendations.history import BasketPace, InteractionHistory, from_items
from personalization.recommendations.item_content import ContentColumn


def sparse(matrix: np.ndarray) -> CsrMatrix:
    row, column = np.nonzero(matrix)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(matrix)))]).astype(np.int64)
    return CsrMatrix(indptr, column.astype(np.int32), matrix[row, column].astype(np.float32), matrix.shape[1])


def test_neighbours_against_a_dense_product() -> None:
    random = np.random.default_rng(0)
    matrix = random.random((7, 7)) * (random.random((7, 7)) < 0.4)
    histories = from_items([[0, 3, 3], [], [6]], BasketPace(), 50)
    weights = decay_weights(0.6)
    scores = np.zeros((3, 7), np.float32)
    neighbor_contributions(histories, sparse(matrix), weights, COOCCURRENCE).add_to(scores)
    assert scores[0] == pytest.approx(matrix[0] * 0.36 + matrix[3] * 0.6 + matrix[3], rel=1e-5)
    assert scores[1].tolist() == [0] * 7
    assert scores[2] == pytest.approx(matrix[6], rel=1e-5)


def test_items_beyond_a_matrix_have_no_neighbours() -> None:
    histories = from_items([[9, 0]], BasketPace(), 50)
    found = neighbor_contributions(histories, sparse(np.array([[0.0, 1.0], [0.0, 0.0]])), decay_weights(0.9), TRANSITION)
    assert (found.user.tolist(), found.source.tolist(), found.item.tolist(), found.value.tolist()) == ([0], [1], [1], [1.0])


def test_baskets_further_back_than_the_weights_count_nothing() -> None:
    histories = from_items([[0] + [1] * RANKS], BasketPace(), 500)
    scores = np.zeros((1, 2), np.float32)
    neighbor_contributions(histories, sparse(np.array([[1.0, 0.0], [0.0, 0.0]])), decay_weights(0.9), TRANSITION).add_to(scores)
    assert scores[0, 0] == 0


def test_repeat_features_by_hand() -> None:
    # Baskets of one user, oldest first: {0}, {0, 1}, {2}, {0}; 30, 20, 10 and 4 days ago.
    histories = InteractionHistory(
        np.array([0, 0, 1, 2, 0], np.int32), np.array([0, 5]), np.array([3, 2, 2, 1, 0], np.int32),
        np.array([30, 20, 20, 10, 4], np.float32), np.full(5, 3, np.int8),
    )  # fmt: skip
    user, item, features = repeat_features(histories, np.array([-1.0, -2.0, -3.0], np.float32))
    assert user.tolist() == [0, 0, 0]
    assert item.tolist() == [0, 1, 2]
    found = dict(zip(REPEAT_FEATURES, features.T.tolist(), strict=True))
    assert found["count"] == pytest.approx(np.log1p([3, 1, 1]), abs=1e-6)
    assert found["share"] == pytest.approx([3 / 4, 1 / 4, 1 / 4])
    assert found["newest"] == [1, 0, 0]
    assert found["recency_days"][1] == pytest.approx(np.log1p(2 ** (-20 / 30)), abs=1e-6)
    assert found["recency_baskets"][0] == pytest.approx(1 + 0.85**2 + 0.85**3, abs=1e-6)
    late = np.log((4 + 0.5) / (13 + 0.5))  # 4 days since the last, 13 between on average
    assert found["due"] == pytest.approx([np.exp(-(late**2)), 0, 0], abs=1e-6)
    assert found["overdue"] == [0, 0, 0]
    assert found["repurchase"] == [-1, -2, -3]


def test_an_item_twice_in_a_basket_counts_once() -> None:
    twice = InteractionHistory(
        np.array([1, 1], np.int32), np.array([0, 2]), np.zeros(2, np.int32), np.zeros(2, np.float32), np.zeros(2, np.int8)
    )
    _, _, features = repeat_features(twice, np.zeros(2, np.float32))
    assert features[0, REPEAT_FEATURES.index("count")] == pytest.approx(np.log(2))


def test_encoder_inputs_hold_the_newest_items_at_the_right() -> None:
    vectors = np.arange(10, dtype=np.float32).reshape(5, 2)
    inputs = encoder_inputs(from_items([[1, 2, 3], [4], []], BasketPace(), 50), vectors, 2)
    assert inputs["known"].tolist() == [[1, 1], [0, 1], [0, 0]]
    assert inputs["vectors"].tolist() == [[[4, 5], [6, 7]], [[0, 0], [8, 9]], [[0, 0], [0, 0]]]


def test_columns_survive_json() -> None:
    column = ContentColumn("brand", "word", {"acme": 3, "bolt": 4}, (), 3)
    assert ContentColumn.from_json(column.to_json()) == column
    number = ContentColumn("price", "number", {}, (1.0, 2.5), 5)
    assert ContentColumn.from_json(number.to_json()).features(["0", "1", "3", ""]) == [[5], [6], [7], []]


def test_relevance_is_a_probability() -> None:
    scores = np.array([[2.0, 1.0, -np.inf]], np.float32)
    total = log_total(scores)
    assert total == pytest.approx([np.log(np.e**2 + np.e)])
    probability = BlendWeights(slope=1.0, intercept=0.0).relevance(scores[0], float(total[0]))
    softmax = np.exp(2) / (np.exp(2) + np.e)
    assert probability[0] == pytest.approx(1 / (1 + 1 / softmax))
    assert probability[2] == 0
