"""Complete Journey, the first basket after 2017-10-01, all items ranked: our recommendations beside what repeat buying needs.

    python -m benchmarks.next_basket [--seeds 1]

Each seed is a training of its own through the command line, with its defaults. The simple methods are those of
metrics.json, and TIFU-KNN (Hu et al. 2020) by cornac: its vectors of users are cornac's, all that lies before the question
in them. cornac's own score adds the mean over neighbours *and* items, one number, so that neighbours change no rank; the
paper's mean over neighbours is shown beside it. Both are given what was known before the test cut, as our model's history is.
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
from personalization.features.window import Window
from personalization.recommendations.history import InteractionHistory
from training.tasks.recommendations.evaluation import RankingEvaluator
from training.tasks.recommendations.prepare import PreparedRecommendations, RecommendationData, prepare_recommendations

NAME: Final = "next_basket"
CUT: Final = "2017-10-01"
MEASURES: Final = ("recall_at_10", "ndcg_at_10", "recall_at_20", "ndcg_at_20", "coverage")
NEIGHBOURS: Final = 300  # as cornac and the paper have it, and so are the other settings
ALPHA: Final = 0.7


def main(arguments: list[str] | None = None) -> None:
    """Train with some seeds, and publish beside the rivals."""
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
    found = tables()
    with tempfile.TemporaryDirectory() as directory:
        command = [
            sys.executable, "-m", "training", "train", "recommendations", "--interactions", str(found.interactions), "--items",
            str(found.items), "--cutoff", CUT, "--timezone", TIMEZONE, "--seed", str(seed), "--out", directory,
        ]  # fmt: skip
        subprocess.run(command, check=True)
        metrics: dict[str, Any] = json.loads((Path(directory) / "metrics.json").read_text())
        return metrics


def tifu_knn() -> dict[str, dict[str, float]]:
    """TIFU-KNN's metrics on the same questions, with cornac's score and with the paper's."""
    try:
        from cornac.models.tifuknn.recom_tifuknn import TIFUKNN
    except ImportError:
        print("TIFU-KNN is left out: cornac is not installed")
        return {}
    found = tables()
    prepared = prepare_recommendations(
        RecommendationData((found.interactions,), found.items, cutoff=date.fromisoformat(CUT), timezone=TIMEZONE)
    )

    class Vectors(TIFUKNN):  # type: ignore[misc]
        total_items = prepared.log.num_items  # else it asks the data set that it was fitted to

    model = Vectors(n_neighbors=NEIGHBOURS, alpha=ALPHA)
    targets = prepared.split.test
    assert targets is not None
    everything = Window(1_000_000, 1_000_000)
    known = sp.vstack(
        [_vector(model, targets.take(np.array([row])).histories(prepared.log, everything)) for row in range(len(targets))],
        "csr",
    )
    return {
        "TIFU-KNN, cornac's score": _judged(prepared, known),
        "TIFU-KNN, the paper's score": _judged(prepared, ALPHA * known + (1 - ALPHA) * _neighbours(known)),
    }


def _vector(model: Any, history: InteractionHistory) -> sp.csr_matrix:
    """(1, items) the user's vector, by cornac from the baskets of the history, oldest first."""
    baskets = [history.item[history.basket == number].tolist() for number in np.unique(history.basket)[::-1]]
    # Of the items that the user had; the others are 0 whatever the method, and 90,000 of them for each basket take minutes.
    own = np.unique(history.item)
    code = dict(zip(own.tolist(), range(len(own)), strict=True))
    whole, model.total_items = model.total_items, len(own)
    dense = model._compute_user_vector([[code[item] for item in basket] for basket in baskets])
    model.total_items = whole
    return sp.csr_matrix((dense.astype(np.float32), (np.zeros(len(own), int), own)), (1, whole))


def _neighbours(vectors: sp.csr_matrix) -> sp.csr_matrix:
    """The mean vector of each user's nearest (Euclidean), the user left out."""
    square = np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel()
    distance = square[:, None] + square[None, :] - 2 * (vectors @ vectors.T).toarray()
    np.fill_diagonal(distance, np.inf)
    count = min(NEIGHBOURS, len(square) - 1)
    near: NDArray[np.int64] = np.argpartition(distance, count - 1, axis=1)[:, :count]
    rows = np.repeat(np.arange(len(square)), count)
    mean_of = sp.csr_matrix((np.full(near.size, 1 / count, np.float32), (rows, near.ravel())), distance.shape)
    return (mean_of @ vectors).tocsr()


def _judged(prepared: PreparedRecommendations, scores: sp.csr_matrix) -> dict[str, float]:
    """By the code that judges everybody else; its questions come in the order of the scores' rows."""
    log, split = prepared.log, prepared.split
    assert split.test is not None
    place = 0

    def block(histories: InteractionHistory) -> NDArray[np.float32]:
        nonlocal place
        some = scores[place : place + len(histories)].toarray().astype(np.float32)
        place += len(histories)
        return some

    no_embeddings = np.zeros((log.num_items, 1), np.float32)
    evaluator = RankingEvaluator(log, Window(), prepared.statistics.popularity, no_embeddings, repeat_buying=True)
    return evaluator.metrics(block, split.test) or {}


def _row(name: str, values: dict[str, float], run: dict[str, Any] | None = None) -> dict[str, Any]:
    spent = {"minutes": run["seconds"] / 60, "peak_memory_mb": run["peak_memory_mb"]} if run else {}
    return {"method": name, **{measure: values[measure] for measure in MEASURES}, **spent}


if __name__ == "__main__":
    main(sys.argv[1:])
