"""Products of columns: the layers against numpy, and a table that only products explain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from training.networks.crosses import FEW_CODES, MIN_ROWS, CrossLayer, ShrunkEmbedding, supports_crosses  # noqa: E402
from training.networks.statistics import table_statistics  # noqa: E402


def as_numpy(value: Any) -> np.ndarray[Any, Any]:
    return np.asarray(keras.ops.convert_to_numpy(value), dtype=np.float64)


def test_a_cross_is_the_first_features_times_a_product_of_small_matrices() -> None:
    random = np.random.default_rng(0)
    first, crossed = random.normal(size=(5, 6)).astype(np.float32), random.normal(size=(5, 6)).astype(np.float32)
    layer = CrossLayer(rank=2)
    result = as_numpy(layer([first, crossed]))
    layer.bias.assign(np.arange(6, dtype=np.float32))
    result = as_numpy(layer([first, crossed]))
    matrix = as_numpy(layer.down) @ as_numpy(layer.up)
    np.testing.assert_allclose(result, first * (crossed @ matrix + np.arange(6)) + crossed, rtol=1e-4, atol=1e-4)


def test_the_embedding_of_a_rare_word_is_shrunk() -> None:
    layer = ShrunkEmbedding(np.array([0, 50, 950]), 3)
    result = as_numpy(layer(np.array([0, 1, 2])))
    np.testing.assert_allclose(result, as_numpy(layer.table) * np.array([[0.0], [0.5], [0.95]]), rtol=1e-6)


@pytest.mark.parametrize(
    ("words", "rows", "worth"),
    [(FEW_CODES + 1, MIN_ROWS, True), (FEW_CODES, MIN_ROWS, False), (FEW_CODES + 1, MIN_ROWS - 1, False)],
)
def test_only_large_tables_of_many_words_are_crossed(words: int, rows: int, worth: bool) -> None:
    codes = np.arange(200)[:, None] % words
    statistics = table_statistics(None, codes.astype(np.int64), (words,), seed=0)
    assert supports_crosses(statistics, rows) is worth


def test_a_network_with_crosses_learns_a_pair_effect_and_exports(tmp_path: Any) -> None:
    from personalization.core.encoder import Column, TableEncoder
    from training.export import export
    from training.fitting import Examples, FitOptions
    from training.networks.tabular import TabularConfig
    from training.tasks.tabular.classifier import train_classifier

    random = np.random.default_rng(1)
    words, rows = 60, 24_000
    sign = random.choice([-1.0, 1.0], (2, words))
    codes = random.integers(0, words, (rows, 2))
    chance = 1 / (1 + np.exp(-2.0 * sign[0][codes[:, 0]] * sign[1][codes[:, 1]]))  # neither word says anything alone
    labels = (random.random(rows) < chance).astype(np.float32)
    names = tuple(f"w{n}" for n in range(words - 2))
    encoder = TableEncoder((Column("a", "categorical", names), Column("b", "categorical", names)))
    every = Examples({"categorical": codes.astype(np.int64)}, {"label": labels})
    train, valid = every.take(np.arange(20_000)), every.take(np.arange(20_000, rows))
    model = train_classifier(encoder, train, valid, TabularConfig(members=2, widths=(16,)), FitOptions(epochs=12, patience=12))
    predicted = 1 / (1 + np.exp(-model.network.raw(dict(valid.inputs))["label"][:, 0]))
    best = -np.mean(np.log(np.where(valid.targets["label"] > 0, chance[20_000:], 1 - chance[20_000:])))
    result = -np.mean(np.log(np.where(valid.targets["label"] > 0, predicted, 1 - predicted)))
    assert result < best + 0.25 * (np.log(2) - best)
    assert export(model.network.serving, tmp_path / "model.onnx", {"categorical": codes[:64].astype(np.int64)}) < 1e-4
