"""Retrieval by 8-bit numbers against plain products."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalization.core.errors import BundleInvalid
from personalization.recommendations.filters import Filters
from personalization.recommendations.product_graph import _model
from personalization.recommendations.ranking import RankingOptions, rank_items, top
from personalization.recommendations.retrieval import StoredRows, make_index, quantised, read_quantised, write_quantised
from tests.unit.recommendations.test_ranking_properties import asked, made_up


def clustered(items: int, size: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    spectrum = 1.0 / np.sqrt(1.0 + np.arange(size))
    centres = random.normal(size=(20, size))
    return ((centres[random.integers(0, 20, items)] + 0.5 * random.normal(size=(items, size))) * spectrum).astype(np.float32)


def test_the_graph_is_a_model() -> None:
    onnx.checker.check_model(onnx.load_from_string(_model(300)), full_check=True)


@pytest.mark.parametrize("size", [3, 64, 128])
def test_weights_stay_where_no_processor_saturates(size: int) -> None:
    vectors = clustered(500, size) * np.float32(7.0)
    weights, scale, sums, norms = quantised(vectors)
    assert np.abs(weights).max() == 63
    assert weights.shape == (size, 500)
    assert np.abs(weights.T * scale - vectors).max() <= scale.max() / 2 + 1e-6
    assert norms == pytest.approx(np.linalg.norm(vectors, axis=1), rel=1e-5)
    assert sums.tolist() == (128 * weights.astype(np.int64).sum(axis=0)).tolist()


def test_coarse_products_are_those_of_integers_and_near_the_exact_ones() -> None:
    vectors = clustered(2_000, 32)
    index = make_index(vectors, np.zeros((0, 32), np.float32), large=0)
    query = vectors[7] - vectors[11]
    weights, scale, *_ = quantised(vectors)
    scaled = query * scale
    step = np.abs(scaled).max() / 127
    by_hand = np.rint(scaled / step).astype(np.int64) @ weights.astype(np.int64) * step
    found = index.products(query)
    assert found == pytest.approx(by_hand, rel=1e-5, abs=1e-6)
    exact = vectors @ query
    assert np.abs(found - exact).max() < 0.03 * np.abs(exact).max()
    assert index.exact(query, np.array([5, 0, 1999])) == pytest.approx(exact[[5, 0, 1999]], rel=1e-5)


def test_all_zeros_are_no_trouble() -> None:
    index = make_index(np.zeros((10, 4), np.float32), np.ones((2, 4), np.float32), large=0)
    assert index.products(np.zeros(4, np.float32)).tolist() == [0.0] * 12
    assert index.products(np.ones(4, np.float32)).tolist() == [0.0] * 10 + [4.0] * 2


def test_a_large_catalogue_gives_the_list_of_a_small_one() -> None:
    """With filters, what is placed last and new scores: the same items in the same order."""
    for seed in range(6):
        here = made_up(seed, 3_000, families=bool(seed % 3))
        large = replace(here)
        large.__dict__["index"] = make_index(here.recommender.vectors, here.new.vectors, large=0)
        for wishes in (
            RankingOptions(20),
            RankingOptions(50, Filters(category=("a",), in_stock=True)),
            RankingOptions(20, diversity=0.5),
            RankingOptions(20, min_relevance=1e-3),
        ):
            exact, near = rank_items(here, asked(here, seed), wishes), rank_items(large, asked(large, seed), wishes)
            assert near.codes.tolist() == exact.codes.tolist()
            assert near.scores == pytest.approx(exact.scores, rel=1e-5)
            assert near.relevance == pytest.approx(exact.relevance, rel=0.05)  # its total is of near scores


def test_what_is_written_is_read_by_mapping(tmp_path: Path) -> None:
    vectors = clustered(70_000, 128)
    names = write_quantised(tmp_path, vectors)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    for written, read in zip(quantised(vectors), read_quantised(tmp_path), strict=True):
        assert np.array_equal(written, read)
    assert write_quantised(tmp_path, vectors[:100]) == []
    np.save(tmp_path / "item_vectors.npy", vectors)
    mapped = np.load(tmp_path / "item_vectors.npy", mmap_mode="r")
    index = make_index(mapped, np.ones((3, 128), np.float32), tmp_path)
    codes = np.array([69_999, 0, 70_002, 5, 5])
    expected = np.stack([vectors[69_999], vectors[0], np.ones(128), vectors[5], vectors[5]])
    assert index.stored is not None
    assert np.array_equal(index.vectors(codes), expected)
    assert np.array_equal(index.vectors(codes[:2]), vectors[codes[:2]])


def test_other_numbers_than_float32_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "item_vectors.npy", np.zeros((2, 3)))
    with pytest.raises(BundleInvalid, match="float32"):
        StoredRows(tmp_path / "item_vectors.npy")


@given(st.integers(0, 50), st.integers(1, 5_000), st.integers(1, 30), st.booleans())
def test_the_best_of_many_are_those_of_a_full_sort(seed: int, size: int, count: int, masked: bool) -> None:
    random = np.random.default_rng(seed)
    values = random.integers(0, 50 * (1 + seed), size).astype(np.float32)
    mask = random.random(size) < 0.3 if masked else None
    codes = np.arange(size) if mask is None else np.flatnonzero(mask)
    expected = codes[np.argsort(-values[codes], kind="stable")][:count]
    assert top(values, mask, count).tolist() == expected.tolist()
