"""Retrieval by 8-bit products against plain products, and the rule for ties in all lists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalization.core.errors import BundleInvalid
from personalization.recommendations.eligibility import Filters
from personalization.recommendations.history import from_items
from personalization.recommendations.ranking import RankingOptions, rank_items
from personalization.recommendations.recommend import recommend_batch
from personalization.recommendations.retrieval import StoredRows, make_index, top_k
from personalization.recommendations.scenarios import personal
from personalization.recommendations.scoring import demote_seen, evaluation_scores
from personalization.recommendations.serving_catalog import ServingCatalog
from tests.unit.recommendations.test_ranking_properties import random_catalog, random_scores
from training.tasks.recommendations.coarse import quantize, write_coarse


def clustered(items: int, size: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    spectrum = 1.0 / np.sqrt(1.0 + np.arange(size))
    centres = random.normal(size=(20, size))
    return ((centres[random.integers(0, 20, items)] + 0.5 * random.normal(size=(items, size))) * spectrum).astype(np.float32)


def write_bundle(directory: Path, vectors: np.ndarray) -> Path:
    directory.mkdir(exist_ok=True)
    np.save(directory / "item_vectors.npy", vectors)
    write_coarse(directory, vectors, large=0)
    return directory


@pytest.mark.parametrize("size", [3, 64, 128])
def test_weights_stay_where_no_processor_saturates(size: int) -> None:
    vectors = clustered(500, size) * np.float32(7.0)
    weights, scale, sums, norms = quantize(vectors)
    assert np.abs(weights).max() == 63
    assert weights.shape == (size, 500)
    assert np.abs(weights.T * scale - vectors).max() <= scale.max() / 2 + 1e-6
    assert norms == pytest.approx(np.linalg.norm(vectors, axis=1), rel=1e-5)
    assert sums.tolist() == (128 * weights.astype(np.int64).sum(axis=0)).tolist()


def test_coarse_products_are_those_of_integers_and_near_the_exact_ones(tmp_path: Path) -> None:
    vectors = clustered(2_000, 32)
    index = make_index(vectors, np.zeros((0, 32), np.float32), write_bundle(tmp_path, vectors))
    query = vectors[7] - vectors[11]
    weights, scale, *_ = quantize(vectors)
    scaled = query * scale
    step = np.abs(scaled).max() / 127
    by_hand = np.rint(scaled / step).astype(np.int64) @ weights.astype(np.int64) * step
    found = index.products(query[None, :])[0]
    assert found == pytest.approx(by_hand, rel=1e-5, abs=1e-6)
    exact = vectors @ query
    assert np.abs(found - exact).max() < 0.03 * np.abs(exact).max()
    assert index.products(np.stack([query, query]))[1] == pytest.approx(exact, abs=1e-5)  # many users by exact products
    assert index.norms == pytest.approx(np.linalg.norm(vectors, axis=1), rel=1e-5)


def test_embeddings_of_zeros_have_products_of_zero(tmp_path: Path) -> None:
    zeros = np.zeros((10, 4), np.float32)
    index = make_index(zeros, np.ones((2, 4), np.float32), write_bundle(tmp_path, zeros))
    assert index.products(np.zeros((1, 4), np.float32)).tolist() == [[0.0] * 12]
    assert index.products(np.ones((1, 4), np.float32)).tolist() == [[0.0] * 10 + [4.0] * 2]


def test_a_large_catalog_gives_the_list_of_a_small_one(tmp_path: Path) -> None:
    """With filters, demoted items and relevance: the same items in the same order."""
    for seed in range(6):
        catalog = random_catalog(seed, 3_000, families=bool(seed % 3))
        directory = write_bundle(tmp_path / str(seed), catalog.recommender.vectors)
        large = replace(catalog, directory=directory)
        assert large.index.coarse is not None
        for options in (
            RankingOptions(20),
            RankingOptions(50, Filters(category=("a",), in_stock=True)),
            RankingOptions(20, diversity=0.5),
            RankingOptions(20, min_relevance=1e-3),
        ):
            exact = rank_items(catalog, random_scores(catalog, seed), options)
            near = rank_items(large, random_scores(large, seed), options)
            assert near.codes.tolist() == exact.codes.tolist()
            assert near.scores == pytest.approx(exact.scores, rel=1e-5)
            assert near.relevance == pytest.approx(exact.relevance, rel=0.05)  # its total is of near scores


def test_a_large_bundle_without_the_graph_is_multiplied_exactly(tmp_path: Path) -> None:
    """As bundles were written before the graph was a file of theirs."""
    vectors = clustered(300, 8)
    directory = write_bundle(tmp_path, vectors)
    (directory / "coarse_product.onnx").unlink()
    index = make_index(vectors, np.zeros((0, 8), np.float32), directory)
    assert index.products(vectors[:1])[0] == pytest.approx(vectors @ vectors[0], abs=1e-5)


def test_embeddings_are_read_row_by_row_from_the_file(tmp_path: Path) -> None:
    vectors = clustered(700, 128)
    assert write_coarse(tmp_path, vectors) == []  # too few items for it to pay
    mapped = np.load(write_bundle(tmp_path, vectors) / "item_vectors.npy", mmap_mode="r")
    index = make_index(mapped, np.ones((3, 128), np.float32), tmp_path)
    codes = np.array([699, 0, 702, 5, 5])
    assert index.stored is not None
    assert np.array_equal(index.vectors(codes), np.stack([vectors[699], vectors[0], np.ones(128), vectors[5], vectors[5]]))
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
    assert top_k(values, count, mask).tolist() == expected.tolist()


def catalog_with_ties(seed: int, items: int, size: int, repeat: bool) -> ServingCatalog:
    """Every item has about four copies, at random places; a fifth of the items was taken equally often."""
    random = np.random.default_rng(seed)
    original = random.integers(0, max(1, items // 4), items)
    catalog = random_catalog(2 * seed, items, families=False, repeat=repeat)
    recommender = replace(
        catalog.recommender,
        vectors=random.normal(size=(items, size)).astype(np.float32)[original],
        static=catalog.recommender.static[:, original],
    )
    return ServingCatalog.of_model(recommender)


@pytest.mark.parametrize("repeat", [False, True])
@pytest.mark.parametrize(("items", "size"), [(37, 5), (301, 64), (2_003, 64)])
def test_api_batch_and_evaluation_break_ties_alike(items: int, size: int, repeat: bool) -> None:
    """Equal ids, order and scores; of equal items the lower code comes first."""
    for seed in range(5):
        catalog = catalog_with_ties(seed, items, size, repeat)
        random = np.random.default_rng(seed)
        codes = [random.integers(0, items, length).tolist() for length in (1, 4, 9, 3, 7)]
        histories = from_items([*codes, []], catalog.recommender.pace, 50)
        batch = recommend_batch(catalog, histories, 20)
        evaluation = evaluation_scores(catalog.recommender, histories)
        ranking = evaluation if repeat else demote_seen(evaluation, histories)
        for row, (scores, places, in_batch) in enumerate(zip(evaluation, ranking, batch, strict=True)):
            history = histories.take(np.array([row]))
            api = rank_items(catalog, personal(catalog, history), RankingOptions(20))
            judged = top_k(places, 20)
            ids = [catalog.items[code] for code in judged]
            assert [catalog.items[code] for code in api.codes] == [item["item_id"] for item in in_batch] == ids
            assert [round(score, 6) for score in api.scores.tolist()] == [item["score"] for item in in_batch]
            assert api.scores == pytest.approx(scores[judged], rel=1e-5, abs=1e-5)
            seen = np.isin(api.codes, [] if repeat else history.item)
            equal = (np.diff(api.scores) == 0) & (seen[1:] == seen[:-1])
            assert (np.diff(api.codes)[equal] > 0).all()
            assert equal.any()
