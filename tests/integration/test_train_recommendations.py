"""`train recommendations` from files to a bundle that recommends, on synthetic data of a few dozen users."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from personalization.bundles.bundle import load_bundle
from personalization.recommendations.history import from_items
from personalization.recommendations.recommend import recommend
from personalization.recommendations.recommender import load_recommender
from personalization.recommendations.scoring import evaluation_scores
from training.bundle_writer import METRICS_JSON
from training.cli import main

DAY = 86_400
START = 1_700_000_000
CIRCLE = 12  # items in a circle: each user goes on to the next one


def write(path: Path, header: str, rows: list[tuple[Any, ...]]) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header.split())
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def circle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Bundle and interactions of users whose next item is certain; the items have two categories and a price."""
    directory = tmp_path_factory.mktemp("circle")
    random = np.random.default_rng(0)
    rows = []
    for user in range(120):
        first, count = int(random.integers(CIRCLE)), int(random.integers(1, 7))
        rows += [(f"u{user}", f"i{(first + at) % CIRCLE}", "purchase", START + at * DAY) for at in range(count)]
    interactions = write(directory / "interactions.csv", "user_id item_id event_type timestamp", rows)
    items = [(f"i{item}", "even" if item % 2 == 0 else "odd", 1.0 + item) for item in range(CIRCLE)]
    items.append(("new", "even", 3.0))
    catalogue = write(directory / "items.csv", "item_id category price", items)
    out = directory / "out"
    arguments = ["train", "recommendations", "--interactions", interactions, "--items", catalogue, "--out", out, "--quiet"]
    assert main([str(a) for a in [*arguments, "--split", "leave-one-out", "--epochs", "40"]]) == 0
    return out, interactions


def test_a_certain_next_item_is_learned_and_all_metrics_are_reported(circle: tuple[Path, Path]) -> None:
    metrics = json.loads((circle[0] / METRICS_JSON).read_text())
    assert metrics["test"]["recall_at_5"] > 0.95
    assert metrics["test"]["ndcg_at_5"] > metrics["baselines"]["popularity"]["ndcg_at_5"] + 0.2
    for name in ("recall_at_10", "ndcg_at_20", "mrr_at_20", "coverage", "diversity", "novelty"):
        assert name in metrics["test"]
        assert name in metrics["validation"]
    assert set(metrics["baselines"]) == {
        "popularity", "recent_popularity", "personal_frequency", "global_personal_frequency", "item_knn", "item_knn_markov",
    }  # fmt: skip
    assert metrics["seconds"] > 0
    assert metrics["peak_memory_mb"] > 0


def test_the_bundle_recommends_distinct_items_and_ranks_the_history_last(circle: tuple[Path, Path]) -> None:
    bundle = load_bundle(circle[0])
    (known, unknown, empty) = recommend(bundle, [["i3", "i4"], ["no such item"], []], 4)
    assert known[0]["item_id"] == "i5"
    assert len({item["item_id"] for item in known}) == 4
    assert unknown == empty
    everything = recommend(bundle, [["i3", "i4"]], 100)[0]
    assert [item["item_id"] for item in everything[-2:]] in (["i3", "i4"], ["i4", "i3"])  # items of the history come last
    assert len(everything) == CIRCLE + 1  # with the item without interactions
    assert [item["score"] for item in everything[:-2]] == sorted((i["score"] for i in everything[:-2]), reverse=True)


def test_scores_are_sums_of_their_weighted_components(circle: tuple[Path, Path]) -> None:
    recommender = load_recommender(load_bundle(circle[0]))
    histories = from_items([[3, 4], []], recommender.pace, recommender.window.max_events)
    expected = recommender.blend.sequence * recommender.user_embeddings(histories) @ recommender.vectors.T
    for row, weights in ((0, recommender.blend.static), (1, recommender.blend.cold)):
        for scores, name in zip(recommender.static, ("popularity", "recent"), strict=True):
            expected[row] += weights.get(name, 0.0) * scores
    for name, matrix in recommender.matrices.items():
        dense = np.zeros((len(recommender.items),) * 2)
        for row in range(len(matrix.indptr) - 1):
            at = slice(matrix.indptr[row], matrix.indptr[row + 1])
            dense[row, matrix.indices[at]] = matrix.values[at]
        weights = recommender.blend.rank_weights(name)
        expected[0] += weights[0] * dense[4] + weights[1] * dense[3]
    assert evaluation_scores(recommender, histories) == pytest.approx(expected, abs=1e-4)


def test_the_same_seed_gives_the_same_bytes(circle: tuple[Path, Path], tmp_path: Path) -> None:
    versions = []
    for name in ("one", "two"):
        arguments = ["train", "recommendations", "--interactions", circle[1], "--out", tmp_path / name, "--quiet"]
        assert main([str(a) for a in [*arguments, "--split", "leave-one-out", "--epochs", "2", "--seed", "5"]]) == 0
        versions.append((tmp_path / name / "item_vectors.npy").read_bytes())
    assert versions[0] == versions[1]


@pytest.mark.parametrize("split", ["leave-one-out", "temporal"])
@pytest.mark.parametrize("events", [1, 3])
def test_small_shops_train(tmp_path: Path, split: str, events: int) -> None:
    """Ten users with three interactions, or one each: no metrics in the latter case, but recommendations."""
    random = np.random.default_rng(1)
    rows = [(f"u{u}", f"i{random.integers(6)}", "view", START + u + at * 900) for u in range(10) for at in range(events)]
    path = write(tmp_path / "few.csv", "user_id item_id event_type timestamp", rows)
    arguments = ["train", "recommendations", "--interactions", path, "--out", tmp_path / "out", "--quiet", "--split", split]
    assert main([str(a) for a in [*arguments, "--epochs", "2", "--no-test"]]) == 0
    metrics = json.loads((tmp_path / "out" / METRICS_JSON).read_text())
    assert metrics["test"] is None
    assert (metrics["validation"] is None) == (events == 1)
    lists = recommend(load_bundle(tmp_path / "out"), [["i1"], []], 3)
    assert all(len(items) == 3 for items in lists)


def test_users_who_buy_weekly_get_what_they_buy_weekly(tmp_path: Path) -> None:
    """Each user buys the same two items every week and sometimes another one."""
    random = np.random.default_rng(2)
    rows = []
    for user in range(80):
        for week in range(10):
            order = f"{user}-{week}"
            rows += [(f"u{user}", f"i{item}", "purchase", START + week * 7 * DAY, order) for item in (user % 30, 30 + user % 7)]
            if week % 3 == 1:
                rows.append((f"u{user}", f"i{random.integers(60)}", "purchase", START + week * 7 * DAY, order))
    path = write(tmp_path / "weekly.csv", "user_id item_id event_type timestamp order_id", rows)
    arguments = ["train", "recommendations", "--interactions", path, "--out", tmp_path / "out", "--quiet", "--epochs", "3"]
    assert main([str(a) for a in [*arguments, "--split", "temporal"]]) == 0
    bundle = load_bundle(tmp_path / "out")
    assert bundle.manifest["repeat_buying"]
    metrics = json.loads((tmp_path / "out" / METRICS_JSON).read_text())
    assert metrics["test"]["recall_at_5"] > 0.9
    assert metrics["random_later_basket"] is None or metrics["random_later_basket"]["users"] > 0
    best = recommend(bundle, [["i3", "i33", "i3", "i33", "i50", "i3", "i33"]], 2)[0]
    assert {item["item_id"] for item in best} == {"i3", "i33"}


def test_tuning_is_recorded_and_refit_is_a_second_bundle_without_a_test(circle: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["train", "recommendations", "--interactions", circle[1], "--out", out, "--quiet", "--split", "leave-one-out"]
    assert main([str(a) for a in [*arguments, "--epochs", "2", "--tune", "1", "--refit"]]) == 0
    metrics, refit = (json.loads((directory / METRICS_JSON).read_text()) for directory in (out, out / "refit"))
    trials = metrics["tuning"]
    assert len(trials) == 2
    best = max(trials, key=lambda trial: trial["validation_ndcg_at_10"])
    manifest = load_bundle(out).manifest
    assert manifest["recommendations"]["size"] == best["size"]
    assert manifest["options"]["drop"] == best["drop"]
    assert manifest["baselines_validation"] == metrics["baselines_validation"]
    assert metrics["test"]["users"] > 0
    assert refit["test"] is None
    assert refit["validation"]["users"] > metrics["validation"]["users"]  # the targets are the last baskets
    assert load_bundle(out / "refit").manifest["recommendations"]["size"] == best["size"]


def test_the_base_rate_recommends_by_popularity(circle: tuple[Path, Path], tmp_path: Path) -> None:
    arguments = ["train", "recommendations", "--interactions", circle[1], "--out", tmp_path / "out", "--quiet"]
    assert main([str(a) for a in [*arguments, "--model", "base-rate"]]) == 0
    bundle = load_bundle(tmp_path / "out")
    assert bundle.manifest["model"] == "base-rate"
    lists = recommend(bundle, [[], ["i3"]], CIRCLE)
    popular = [item["item_id"] for item in lists[0]]
    assert popular == bundle.manifest["fallback"]["items"]
    assert [item["item_id"] for item in lists[1]] == [item for item in popular if item != "i3"] + ["i3"]
