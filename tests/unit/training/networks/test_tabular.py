"""The tabular network's layers, each against numpy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from personalization.core.encoder import Column, TableEncoder
from training.runtime import prepare

prepare(0)

from training.networks.heads import BinaryHead, cross_entropy  # noqa: E402
from training.networks.layers import CategoryEmbeddings, EnsembleInput, NumericEncoding  # noqa: E402
from training.networks.statistics import quantile_edges, table_statistics  # noqa: E402
from training.networks.tabular import TabularConfig, build_tabular, encoder_statistics  # noqa: E402

RANDOM = np.random.default_rng(0)


def test_statistics_by_hand() -> None:
    gap = np.nan
    numeric = np.array([[1, 5, 0, gap], [2, 5, 0, gap], [3, 5, 0, gap], [4, gap, 0, gap], [100, 7, 10, gap]], np.float32)
    codes = np.array([[0], [2], [2], [3], [2]])
    result = table_statistics(numeric, codes, (4,), bins=2)
    assert result.fill.tolist() == [3, 5, 0, 0]  # median; the more frequent of two values, twice; nothing known
    assert result.center.tolist() == [3, 5, 0, 0]
    assert result.scale[0] == pytest.approx((4 - 2) / 1.349)  # quartiles 2 and 4
    assert result.scale[1] == pytest.approx((5.5 - 5) / 1.349)
    assert result.scale[2] == pytest.approx(4)  # the quartiles are equal: the standard deviation, √(4·2² + 8²)/√5
    assert result.scale[3] == 1
    assert result.has_missing.tolist() == [False, True, False, True]
    assert [edges.tolist() for edges in result.bin_edges] == [[1, 3, 100], [], [], []]
    assert result.category_counts[0].tolist() == [1, 0, 3, 1]


def test_bin_edges_are_the_distinct_values_or_quantiles_of_many() -> None:
    assert quantile_edges(np.array([3, 1, 2, 2], np.float32), 12).tolist() == [1, 2, 3]
    assert quantile_edges(np.arange(101, dtype=np.float32), 4).tolist() == [0, 25, 50, 75, 100]
    assert quantile_edges(np.array([1, 2, 1], np.float32), 12).tolist() == []
    assert quantile_edges(np.array([0] * 90 + list(range(1, 21)), np.float32), 4).tolist() == [0, 20]  # no empty bins


def piecewise(x: float, edges: list[float]) -> list[float]:
    return [min(max((x - low) / (high - low), 0.0), 1.0) for low, high in pairwise(edges)]


def test_numeric_encoding_against_the_definition() -> None:
    train = np.array([[0, 1], [1, np.nan], [2, 0], [6, 1], [10, 1]], np.float32)
    statistics = table_statistics(train, None, bins=2)
    layer = NumericEncoding(statistics)
    rows = np.array([[3, 0], [np.nan, np.nan], [-50, 1], [1e30, 1]], np.float32)
    out = np.asarray(layer(rows))
    assert layer.source_columns.tolist() == [0, 1, 1, 0, 0]  # two scaled columns, the gap of column 1, two bins of column 0
    filled = np.where(np.isnan(rows), [2, 1], rows).astype(np.float64)
    scaled = np.clip((filled - [2, 1]) / statistics.scale, -1e6, 1e6)
    assert out[:, :2] == pytest.approx(scaled / np.sqrt(1 + (scaled / 3) ** 2), rel=1e-5)
    assert out[:, 2].tolist() == [0, 1, 0, 0]
    assert out[:, 3:] == pytest.approx(np.array([piecewise(x, [0, 2, 10]) for x in filled[:, 0]]), abs=1e-6)
    assert np.isfinite(out).all()


def test_a_column_with_few_codes_is_one_hot_and_shrunk() -> None:
    seen = [np.array([0, 0, 60, 20]), np.array([5] * 12)]
    layer = CategoryEmbeddings(seen, 2)
    out = np.asarray(layer(np.array([[2, 0], [3, 0], [0, 0]])))
    assert layer.source_columns.tolist() == [1, 1, 0, 0, 0, 0]  # the embedding of column 1, the four codes of column 0
    mean = np.array([0, 0, 0.75, 0.25])
    assert out[0, 2:] == pytest.approx(mean + 60 / 80 * (np.array([0, 0, 1, 0]) - mean), abs=1e-6)
    assert out[1, 2:] == pytest.approx(mean + 20 / 40 * (np.array([0, 0, 0, 1]) - mean), abs=1e-6)
    assert out[2, 2:] == pytest.approx(mean, abs=1e-6)  # never seen


def test_an_unseen_code_has_the_mean_embedding() -> None:
    seen = [np.array([0, 10, 30] + [20] * 17)]
    layer = CategoryEmbeddings(seen, 2)
    out = np.asarray(layer(np.arange(20)[:, None]))
    table = np.asarray(layer.tables[0][0])
    mean = np.average(table, axis=0, weights=seen[0])
    assert table.shape == (20, 2)
    assert out[0] == pytest.approx(mean, abs=1e-6)
    for code, count in ((1, 10), (2, 30), (3, 20)):
        assert out[code] == pytest.approx(mean + count / (count + 20) * (table[code] - mean), abs=1e-6)


@pytest.mark.parametrize(("rows", "columns", "bins"), [(12, 2, 3), (900, 5, 10), (9216, 5, 32), (9216, 20, 13), (2500, 150, 3)])
def test_the_number_of_bins_depends_on_rows_and_columns(rows: int, columns: int, bins: int) -> None:
    numeric = RANDOM.normal(size=(rows, columns)).astype(np.float32)
    numeric[:, 0] = np.arange(rows) % 2  # two values need no bins and leave more to the others
    edges = table_statistics(numeric, None).bin_edges
    assert [len(e) for e in edges] == [0] + [bins + 1] * (columns - 1)


def test_members_share_one_matrix_with_a_scaling_each() -> None:
    layer = EnsembleInput(3, 4, np.array([0, 0, 1], np.int32))
    x = RANDOM.normal(size=(5, 3)).astype(np.float32)
    out = np.asarray(layer(x))
    signs, kernel, bias = (np.asarray(w) for w in (layer.signs, layer.kernel, layer.bias))
    for member in range(3):
        expected = (x * signs[:, member]) @ kernel + bias.reshape(3, 4)[member]
        assert out[:, member] == pytest.approx(expected, abs=1e-5)
    assert set(np.unique(signs)) <= {-1.0, 1.0}
    assert (signs[0] == signs[1]).all()  # both belong to column 0


def test_the_merged_prediction_is_the_mean_of_the_members() -> None:
    network, inputs = small_network()
    raw = np.asarray(network.training(inputs, training=False)["label"])
    merged = np.asarray(network.merged(inputs, training=False)["label"])
    assert raw.shape == (40, 8, 1)
    assert merged == pytest.approx(raw.mean(axis=1), abs=1e-5)
    assert np.ptp(raw, axis=1).max() > 0.01  # the members differ
    served = np.asarray(network.serving(inputs, training=False)["probability"])
    assert served == pytest.approx(1 / (1 + np.exp(-merged[:, 0])), abs=1e-6)


def test_only_the_serving_view_is_calibrated() -> None:
    network, inputs = small_network()
    merged = np.asarray(network.merged(inputs, training=False)["label"])[:, 0]
    network.heads[0].calibration.assign(0.5, -1.0)
    served = np.asarray(network.serving(inputs, training=False)["probability"])
    assert served == pytest.approx(1 / (1 + np.exp(-(0.5 * merged - 1.0))), abs=1e-6)
    assert np.asarray(network.merged(inputs, training=False)["label"])[:, 0] == pytest.approx(merged)


def test_the_loss_is_the_mean_of_the_members_own_losses() -> None:
    target, raw = np.array([1.0, 0.0], np.float32), np.array([[[2.0], [-1.0]], [[0.0], [90.0]]], np.float32)
    by_hand = [(np.log1p(np.exp(-2)) + np.log1p(np.exp(1))) / 2, (np.log(2) + 90) / 2]
    assert np.asarray(BinaryHead().loss(target, raw)) == pytest.approx(by_hand, rel=1e-6)
    assert np.asarray(cross_entropy(np.float32(0.3), np.float32(0.7))) == pytest.approx(
        -(0.3 * np.log(1 / (1 + np.exp(-0.7))) + 0.7 * np.log(1 - 1 / (1 + np.exp(-0.7)))), rel=1e-6
    )


def small_network() -> tuple[object, dict[str, np.ndarray]]:
    encoder = TableEncoder((Column("x", "numeric"), Column("c", "categorical", ("a", "b"))))
    inputs = {
        "numeric": np.where(RANDOM.random((40, 1)) < 0.2, np.nan, RANDOM.normal(size=(40, 1))).astype(np.float32),
        "categorical": RANDOM.integers(0, 4, (40, 1)),
    }
    return build_tabular(encoder, encoder_statistics(encoder, inputs), (BinaryHead(),), TabularConfig(members=8)), inputs


def test_a_table_without_columns_is_refused() -> None:
    encoder = TableEncoder(())
    with pytest.raises(ValueError, match="at least one column"):
        build_tabular(encoder, encoder_statistics(encoder, {}))
