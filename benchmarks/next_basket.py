"""Complete Journey, the first basket after 2017-10-01, all items ranked: our recommendations beside next-basket methods.

    python -m benchmarks.next_basket [--seeds 1]

Each seed is trained by the command line with the default settings. The rivals are the baselines of metrics.json and TIFU-KNN
(Hu et al. 2020) with cornac's user vectors of everything before the cut. cornac's score adds the mean over neighbors *and*
items, which is one number, so that neighbors change no rank. The score of the paper, with the mean over neighbors alone, is
shown beside it. All methods get the interactions before the test cut, as the history of our model does.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from statistics import mean
from typing import Any, Final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from benchmarks.report import publish
from benchmarks.shop import tables
from local.tour.data import TIMEZONE
from personalization.features.history_window import HistoryWindow
from personalization.recommendations.history import InteractionHistory
from training.tasks.recommendations.evaluation import RankingEvaluator
from training.tasks.recommendations.prepare import PreparedRecommendations, RecommendationData, prepare_recommendations

NAME: Final = "next_basket"
CUT: Final = "2017-10-01"
MEASURES: Final = ("recall_at_10", "ndcg_at_10", "recall_at_20", "ndcg_at_20", "coverage")
NUM_NEIGHBORS: Final = 300  # this and the other settings are those of cornac and the paper
ALPHA: Final = 0.7


def main(arguments: list[str] | None = None) -> None:
    """Train with each seed and publish beside the rivals."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}")
    parser.add_argument("--seeds", type=int, default=1, metavar="N")
    options = parser.parse_args([] if arguments is None else arguments)
    runs = [train(seed) for seed in range(options.seeds)]
    rows: list[dict[str, Any]] = [_row(f"ours, seed {seed}", run["test"], run) for seed, run in enumerate(runs)]
    if len(runs) > 1:
        rows.append({"method": "ours, mean", **{name: mean(run["test"][name] for run in runs) for name in MEASURES}})
    rows += [_row(name, values) for name, values in runs[0]["baselines"].items()]
    rows += [_row(name, values) for name, values in tifu_knn().items()]
    later = runs[0].get("random_later_basket")
    notes = (
        [f"ours on a random later basket: recall@10 {later['recall_at_10']:.4f}, NDCG@10 {later['ndcg_at_10']:.4f}"]
        if later
        else []
    )
    publish(NAME, f"Complete Journey, first basket after {CUT}", rows, notes)


def train(seed: int) -> dict[str, Any]:
    """`metrics.json` of one training."""
    shop = tables()
    with tempfile.TemporaryDirectory() as directory:
        command = [
            sys.executable, "-m", "training", "train", "recommendations", "--interactions", str(shop.interactions), "--items",
            str(shop.items), "--cutoff", CUT, "--timezone", TIMEZONE, "--seed", str(seed), "--out", directory,
        ]  # fmt: skip
        subprocess.run(command, check=True)
        metrics: dict[str, Any] = json.loads((Path(directory) / "metrics.json").read_text())
        return metrics


def tifu_knn() -> dict[str, dict[str, float]]:
    """Metrics of TIFU-KNN on the same targets, with cornac's score and with that of the paper."""
    try:
        from cornac.models.tifuknn.recom_tifuknn import TIFUKNN
    except ImportError:
        print("TIFU-KNN is left out: cornac is not installed")
        return {}
    shop = tables()
    prepared = prepare_recommendations(
        RecommendationData((shop.interactions,), shop.items, cutoff=date.fromisoformat(CUT), timezone=TIMEZONE)
    )

    class Vectors(TIFUKNN):
        total_items = prepared.log.num_items  # cornac reads it from the data set of `fit`, which is not called

    model = Vectors(n_neighbors=NUM_NEIGHBORS, alpha=ALPHA)
    targets = prepared.split.test
    assert targets is not None
    unlimited = HistoryWindow(1_000_000, 1_000_000)
    vectors = sp.vstack(
        [_vector(model, targets.take(np.array([row])).histories(prepared.log, unlimited)) for row in range(len(targets))],
        "csr",
    )
    return {
        "TIFU-KNN, cornac's score": _metrics(prepared, vectors),
        "TIFU-KNN, the paper's score": _metrics(prepared, ALPHA * vectors + (1 - ALPHA) * _neighbor_mean(vectors)),
    }


def _vector(model: Any, history: InteractionHistory) -> sp.csr_matrix:
    """(1, items) cornac's vector of a user, from the baskets of the history, oldest first."""
    baskets = [history.item[history.basket == number].tolist() for number in np.unique(history.basket)[::-1]]
    # Only of the items of the history: the others are 0, and computing 90,000 of them for each basket takes minutes.
    own = np.unique(history.item)
    code = dict(zip(own.tolist(), range(len(own)), strict=True))
    whole, model.total_items = model.total_items, len(own)
    dense = model._compute_user_vector([[code[item] for item in basket] for basket in baskets])
    model.total_items = whole
    return sp.csr_matrix((dense.astype(np.float32), (np.zeros(len(own), int), own)), (1, whole))


def _neighbor_mean(vectors: sp.csr_matrix) -> sp.csr_matrix:
    """The mean vector of each user's nearest neighbors (Euclidean), without the user."""
    square = np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel()
    distance = square[:, None] + square[None, :] - 2 * (vectors @ vectors.T).toarray()
    np.fill_diagonal(distance, np.inf)
    count = min(NUM_NEIGHBORS, len(square) - 1)
    neighbors: NDArray[np.int64] = np.argpartition(distance, count - 1, axis=1)[:, :count]
    rows = np.repeat(np.arange(len(square)), count)
    mean_of = sp.csr_matrix((np.full(neighbors.size, 1 / count, np.float32), (rows, neighbors.ravel())), distance.shape)
    return (mean_of @ vectors).tocsr()


def _metrics(prepared: PreparedRecommendations, scores: sp.csr_matrix) -> dict[str, float]:
    """Metrics on the test baskets, which are in the order of the rows of `scores`."""
    log, split = prepared.log, prepared.split
    assert split.test is not None
    start = 0

    def next_block(histories: InteractionHistory) -> NDArray[np.float32]:
        nonlocal start
        some = scores[start : start + len(histories)].toarray().astype(np.float32)
        start += len(histories)
        return some

    no_embeddings = np.zeros((log.num_items, 1), np.float32)
    evaluator = RankingEvaluator(log, HistoryWindow(), prepared.statistics.popularity, no_embeddings, repeat_buying=True)
    return evaluator.metrics(next_block, split.test) or {}


def _row(name: str, values: dict[str, float], run: dict[str, Any] | None = None) -> dict[str, Any]:
    spent = {"minutes": run["seconds"] / 60, "peak_memory_mb": run["peak_memory_mb"]} if run else {}
    return {"method": name, **{measure: values[measure] for measure in MEASURES}, **spent}


if __name__ == "__main__":
    main(sys.argv[1:])
