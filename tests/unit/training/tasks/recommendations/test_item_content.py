"""Content features of items and their similarity, by hand and against dense arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from personalization.core.csr import CsrMatrix
from personalization.recommendations.item_content import content_neighbors, content_vectors, item_features
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


def test_columns_become_content_by_kind() -> None:
    table = {
        "category": ["a", "b", "a", None], "tags": ["x|y", "y", None, "x | z"], "price": ["1", "2", "oops", "4"],
        "title": ["Red mug", "red TEAPOT", "", None], "item_flag": ["only", None, None, None],
    }  # fmt: skip
    columns = {column.name: column for column in content_columns(table)}
    assert {name: column.kind for name, column in columns.items()} == {"tags": "list", "price": "number"}
    # `category` has one word on two items, `title` only "red": nothing to tell items apart by; `item_flag` none.
    assert set(columns["tags"].words) == {"x", "y"}
    features = item_features(tuple(columns.values()), table, 4)
    values = dense(features)
    x, y = columns["tags"].words["x"], columns["tags"].words["y"]
    assert values[0, [x, y]] == pytest.approx([2 / np.sqrt(2)] * 2)  # each column's part has length 2
    assert values[1, [x, y]].tolist() == [0, 2]
    assert values[3, [x, y]].tolist() == [2, 0]  # z is on one item alone
    assert (values[2] == 0).all()  # an unreadable number has no feature


def test_similarity_leaves_the_features_unchanged() -> None:
    """A feature with weight 0 is left out of the comparison; the features are used again afterwards."""
    matrix = np.array([[1, 2, 0], [1, 0, 3], [1, 2, 0]], np.float32)
    features = sparse(matrix)
    before = [features.indptr.copy(), features.indices.copy(), features.values.copy()]
    similarity = content_similarity(features, np.array([0.0, 1.0, 1.0], np.float32)).toarray()
    np.testing.assert_allclose(similarity, [[0, 0, 1], [0, 0, 0], [1, 0, 0]], atol=1e-6)
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
