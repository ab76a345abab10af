"""Baselines of a binary target on data whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras")

from personalization.core.encoder import Column, TableEncoder
from training.baselines import binary_baselines, feature_matrix, linear_features, logistic_regression
from training.fitting import Examples

ENCODER = TableEncoder((Column("spend", "numeric"), Column("age", "numeric"), Column("channel", "categorical", ("web", "app"))))


def examples(rows: int, seed: int, missing: bool = False) -> Examples:
    """Spend decides the label, up to noise; age and channel do not matter."""
    random = np.random.default_rng(seed)
    numeric = random.normal(size=(rows, 2)).astype(np.float32)
    label = (random.random(rows) < 1 / (1 + np.exp(-2.0 * numeric[:, 0]))).astype(np.float32)
    if missing:
        numeric[::4, 1] = np.nan
    return Examples({"numeric": numeric, "categorical": random.integers(0, 4, (rows, 1))}, {"label": label})


def test_linear_features_are_scaled_numbers_missing_indicators_and_one_hot_codes() -> None:
    train = Examples({"numeric": np.array([[1, 4], [3, np.nan]], np.float32), "categorical": np.array([[0], [3]])}, {})
    matrix = linear_features(ENCODER).fit_transform(feature_matrix(train)).toarray()
    # One known age is the median, scaled to 0; then an indicator for each number, and the four codes.
    assert matrix.tolist() == [[-1, 0, 0, 0, 1, 0, 0, 0], [1, 0, 0, 1, 0, 0, 0, 1]]


def test_logistic_regression_recovers_the_coefficient_and_accepts_missing_cells_that_training_did_not_have() -> None:
    test = examples(500, seed=1, missing=True)
    (probability,) = logistic_regression(ENCODER, examples(20_000, seed=0), [test])
    logit = np.log(probability / (1 - probability))
    assert np.polyfit(test.inputs["numeric"][:, 0], logit, 1)[0] == pytest.approx(2.0, abs=0.1)


def test_every_baseline_is_the_base_rate_where_training_has_one_class() -> None:
    train = Examples(examples(50, seed=0).inputs, {"label": np.ones(50, np.float32)})
    predictions = binary_baselines(ENCODER, train, train, [examples(3, seed=1)], names=("logistic_regression", "lightgbm"))
    assert {name: p.tolist() for name, (p,) in predictions.items()} == dict.fromkeys(predictions, [1.0] * 3)
