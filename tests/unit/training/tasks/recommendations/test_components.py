"""Components of a score, content of items, and the mix, by hand and against dense arithmetic."""

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
from personalization.recommendations.item_content import ContentColumn, content_neighbors, content_vectors, item_features
from training.tasks.recommendations import blending
from training.tasks.recommendations.blending import RankingExamples
from training.tasks.recommendations.item_statistics import content_similarity
from training.tasks.recommendations.training_items import content_columns, inverse_frequency


def dense(matrix: CsrMatrix) -> np.ndarray:
    out = np.zeros((len(matrix), matrix.columns), np.float32)
    for row in range(len(matrix)):
        for at in range(matrix.indptr[row], matrix.indptr[row + 1]):
            out[row, matrix.indices[at]] = matrix.values[at]
    return out


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


def test_kinds_of_content() -> None:
    table = {
        "category": ["a", "b", "a", None], "tags": ["x|y", "y", None, "x | z"], "price": ["1", "2", "oops", "4"],
        "title": ["Red mug", "red TEAPOT", "", None], "item_flag": ["only", None, None, None],
    }  # fmt: skip
    columns = {column.name: column for column in content_columns(table)}
    assert {name: column.kind for name, column in columns.items()} == {"tags": "list", "price": "number"}
    # `category` has one word on two items, `title` only "red": nothing to tell items apart by; `item_flag` none.
    assert set(columns["tags"].words) == {"x", "y"}
    features = item_features(tuple(columns.values()), table, 4)
    found = dense(features)
    x, y = columns["tags"].words["x"], columns["tags"].words["y"]
    assert found[0, [x, y]] == pytest.approx([2 / np.sqrt(2)] * 2)  # each column's part has length 2
    assert found[1, [x, y]].tolist() == [0, 2]
    assert found[3, [x, y]].tolist() == [2, 0]  # z is on one item alone
    assert (found[2] == 0).all()  # a number that is none says nothing


def test_columns_survive_json() -> None:
    column = ContentColumn("brand", "word", {"acme": 3, "bolt": 4}, (), 3)
    assert ContentColumn.from_json(column.to_json()) == column
    number = ContentColumn("price", "number", {}, (1.0, 2.5), 5)
    assert ContentColumn.from_json(number.to_json()).features(["0", "1", "3", ""]) == [[5], [6], [7], []]


def test_comparing_items_leaves_their_features_alone() -> None:
    """What every item has weighs nothing and is left out of the comparison; the features are used again afterwards."""
    matrix = np.array([[1, 2, 0], [1, 0, 3], [1, 2, 0]], np.float32)
    features = sparse(matrix)
    before = [features.indptr.copy(), features.indices.copy(), features.values.copy()]
    alike = content_similarity(features, np.array([0.0, 1.0, 1.0], np.float32)).toarray()
    np.testing.assert_allclose(alike, [[0, 0, 1], [0, 0, 0], [1, 0, 0]], atol=1e-6)
    for now, then in zip((features.indptr, features.indices, features.values), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_content_embeddings_and_neighbours_against_dense_arithmetic() -> None:
    random = np.random.default_rng(1)
    matrix = random.random((6, 5)) * (random.random((6, 5)) < 0.5)
    matrix[:, 0] += 0.1
    table = random.normal(size=(5, 3)).astype(np.float32)
    assert content_vectors(sparse(matrix), table) == pytest.approx((matrix @ table), rel=1e-4, abs=1e-5)
    weight = inverse_frequency(sparse(matrix), 5) + 0.1
    rows = matrix * weight
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert dense(content_neighbors(sparse(matrix), sparse(matrix), weight, 6)) == pytest.approx(rows @ rows.T, abs=1e-5)
    in_training = content_similarity(sparse(matrix), weight).toarray()
    assert in_training == pytest.approx(rows @ rows.T - np.eye(6), abs=1e-5)  # an item is no neighbour of itself


@pytest.mark.parametrize("objective", [blending.SOFTMAX, blending.LOGISTIC])
def test_the_mix_finds_what_speaks_for_items(objective: str) -> None:
    """Users take the candidate with the largest second feature: its weight must win, the others stay small."""
    random = np.random.default_rng(2)
    features = random.normal(size=(4000, 3)).astype(np.float32)
    offsets = np.arange(0, 4001, 10)
    labels = np.zeros(4000, bool)
    noisy = features[:, 1] + 0.3 * random.normal(size=4000)
    labels[offsets[:-1] + noisy.reshape(-1, 10).argmax(axis=1)] = True
    weights = blending.fit_weights(
        RankingExamples(("sequence", "popularity", "together 0.0"), features, offsets, labels), objective
    )
    assert weights[1] > 2
    assert abs(weights[0]) < 0.3
    assert 0 <= weights[2] < 0.3


def test_without_data_the_mix_is_what_is_believed_beforehand() -> None:
    features = np.array([[1, 0], [3, 0]], np.float32)
    pairs = RankingExamples(("sequence", "popularity"), features, np.array([0, 2]), np.zeros(2, bool))
    assert blending.fit_weights(pairs, blending.SOFTMAX).tolist() == pytest.approx(
        [1.0, 0.0]
    )  # by standard deviations of 1 and 0


def test_rank_weights_are_sums_of_decays() -> None:
    names = ("sequence", "popularity", "recent", "transition 0.0", "transition 0.6", "transition 0.9")
    mix = blending.blend_weights(names, np.array([1.0, 0.0, 0.0, 2.0, 1.0, 0.5]), [TRANSITION])
    assert mix.rank_weights(TRANSITION)[:3] == pytest.approx([3.5, 0.6 + 0.45, 0.36 + 0.405])
    assert BlendWeights.from_json(mix.to_json()) == mix


def test_relevance_is_a_probability() -> None:
    scores = np.array([[2.0, 1.0, -np.inf]], np.float32)
    total = log_total(scores)
    assert total == pytest.approx([np.log(np.e**2 + np.e)])
    probability = BlendWeights(slope=1.0, intercept=0.0).relevance(scores[0], float(total[0]))
    softmax = np.exp(2) / (np.exp(2) + np.e)
    assert probability[0] == pytest.approx(1 / (1 + 1 / softmax))
    assert probability[2] == 0
