"""Items that came after training, ranked among all others: recall of new items, and the loss of the others.

    python -m benchmarks.cold_items --data DIR [--items 0.1] [--seeds 3] [--bundles DIR]

A tenth of Amazon Beauty's items is taken out of the interactions and of the items file before training, and added to the item
catalog afterwards. The target is each user's last item, all items ranked; the items before it, new ones included, are the
history. content-kNN compares the same content features (cosine, rare words weigh more, the newest item of the history weighs
most). Each seed draws other items and trains anew: two thousand targets tell recalls of .05 apart to a tenth. DIR (or
$BEAUTY_DATA) holds interactions.csv.gz and items.csv.gz. With --bundles, trainings that are there are used again.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import scipy.sparse as sp
from numpy.typing import NDArray

from benchmarks.report import publish
from personalization.bundles.bundle import Bundle, load_bundle
from personalization.catalog import empty_catalog
from personalization.catalog.rows import parse_items
from personalization.core.time import DAY_SECONDS
from personalization.recommendations.cold_start_items import CONTENT_JSON
from personalization.recommendations.history import from_items
from personalization.recommendations.item_content import ContentColumn, item_features
from personalization.recommendations.recommend import recommend_batch
from personalization.recommendations.serving_catalog import ServingCatalog, serving_catalog
from training.tasks.recommendations.training_items import inverse_frequency

NAME: Final = "cold_items"
_DECAY: Final = 0.8  # of an item's weight in content-kNN for each newer one
_LIST: Final = 10


@dataclass(frozen=True)
class ColdItemData:
    """histories: items of each user, oldest first; table: columns of the items file; cold: items that come after training."""

    histories: list[list[str]]
    items: list[str]
    table: dict[str, list[str]]
    cold: set[str]


def main(arguments: list[str] | None = None) -> None:
    """Train without the cold items, add them to the catalog, rank, and publish."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}")
    parser.add_argument("--data", type=Path, default=os.environ.get("BEAUTY_DATA"), metavar="DIR")
    parser.add_argument("--items", type=float, default=0.1, help="share of the items that come later")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--bundles", type=Path, metavar="DIR", help="where trained bundles are kept, and used if they are there"
    )
    options = parser.parse_args([] if arguments is None else arguments)
    if options.data is None or not (Path(options.data) / "interactions.csv.gz").is_file():
        print("cold_items is skipped: --data DIR (or $BEAUTY_DATA) must hold interactions.csv.gz and items.csv.gz")
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        for seed in range(options.seeds):
            data = read(Path(options.data), options.items, seed)
            directory = (options.bundles or Path(name)) / f"seed-{seed}"
            if not (directory / "metrics.json").is_file():
                train(data, directory, seed)
            rows += [{"seed": seed, **row} for row in compare(data, load_bundle(directory))]
    publish(NAME, f"Items that came after training, a share of {options.items:g}, ranked among all", rows + means(rows))


def means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each method over the seeds."""
    found = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        numbers = {key: float(np.mean([row[key] for row in own])) for key in own[0] if key not in ("seed", "method")}
        found.append({"seed": "mean", "method": method, **numbers})
    return found


def compare(data: ColdItemData, bundle: Bundle) -> list[dict[str, Any]]:
    """A row for each method; `loss` is that of the NDCG@10 of known items when the new ones join the catalog."""
    row_of = {item: row for row, item in enumerate(data.items)}
    cold = [item for item in data.items if item in data.cold]
    columns: dict[str, list[Any]] = {name: [cells[row_of[item]] for item in cold] for name, cells in data.table.items()}
    part = parse_items({"item_id": cold, **columns}, len(cold), UTC).part
    before, after = serving_catalog(bundle), serving_catalog(bundle, empty_catalog().with_part(part))
    cases = [(history[:-1], history[-1]) for history in data.histories if len(history) > 1]
    new = [case for case in cases if case[1] in data.cold]
    old = [case for case in cases if case[1] not in data.cold]
    knn = content_knn(data, bundle)
    old_before, old_after = _metrics(_lists(before, old), old), _metrics(_lists(after, old), old)
    counts = {"targets": len(new), "others": len(old)}
    return [
        {
            "method": "ours",
            **counts,
            **_row("cold", _metrics(_lists(after, new), new)),
            **_row("warm", old_after),
            "loss": 1 - old_after[1] / old_before[1],
        },
        {"method": "ours, without the new items", **counts, **_row("warm", old_before)},
        {
            "method": "content-kNN",
            **counts,
            **_row("cold", _metrics(knn(new), new)),
            **_row("warm", _metrics(knn(old), old)),
        },
    ]


def read(directory: Path, share: float, seed: int) -> ColdItemData:
    histories: defaultdict[str, list[str]] = defaultdict(list)
    with gzip.open(directory / "interactions.csv.gz", "rt", encoding="utf-8", newline="") as stream:
        for row in sorted(csv.DictReader(stream), key=lambda row: int(row["timestamp"])):
            histories[row["user_id"]].append(row["item_id"])
    with gzip.open(directory / "items.csv.gz", "rt", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    items = [row["item_id"] for row in rows]
    table = {name: [row[name] for row in rows] for name in rows[0] if name != "item_id"}
    chosen = np.random.default_rng(seed).random(len(items)) < share
    return ColdItemData(
        list(histories.values()), items, table, {item for item, cold in zip(items, chosen, strict=True) if cold}
    )


def train(data: ColdItemData, directory: Path, seed: int) -> None:
    """A training through the command line, on files that the cold items are not in."""
    with tempfile.TemporaryDirectory() as name:
        interactions, items = Path(name) / "interactions.csv", Path(name) / "items.csv"
        with interactions.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(("user_id", "item_id", "event_type", "timestamp"))
            for user, history in enumerate(data.histories):
                known = [item for item in history if item not in data.cold]
                writer.writerows((user, item, "purchase", 1_400_000_000 + DAY_SECONDS * n) for n, item in enumerate(known))
        with items.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(("item_id", *data.table))
            for row, item in enumerate(data.items):
                if item not in data.cold:
                    writer.writerow((item, *(content[row] for content in data.table.values())))
        command = [
            sys.executable, "-m", "training", "train", "recommendations", "--interactions", str(interactions), "--items",
            str(items), "--split", "leave-one-out", "--seed", str(seed), "--out", str(directory),
        ]  # fmt: skip
        subprocess.run(command, check=True)


def content_knn(data: ColdItemData, bundle: Bundle) -> Any:
    """Cases → lists of item ids, from the content alone."""
    columns = [ContentColumn.from_json(c) for c in orjson.loads(bundle.file(CONTENT_JSON).read_bytes())["columns"]]
    features = item_features(columns, data.table, len(data.items))
    size = sum(column.size for column in columns)
    matrix = sp.csr_matrix((features.values, features.indices, features.indptr), (len(data.items), size))
    matrix = matrix @ sp.diags(inverse_frequency(features, size))
    length = np.sqrt(np.maximum(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel(), 1e-12))
    unit = (sp.diags(1 / length) @ matrix).tocsr()
    place = {item: row for row, item in enumerate(data.items)}

    def ranked(cases: Sequence[tuple[list[str], str]]) -> list[list[str]]:
        found = []
        for start in range(0, len(cases), 500):
            some = cases[start : start + 500]
            rows = [row for row, (history, _) in enumerate(some) for _ in history]
            seen = [place[item] for history, _ in some for item in history]
            weights = [_DECAY ** (len(history) - 1 - n) for history, _ in some for n in range(len(history))]
            users = sp.csr_matrix((weights, (rows, seen)), (len(some), len(data.items)))
            scores: NDArray[np.float64] = ((users @ unit) @ unit.T).toarray()
            scores[rows, seen] -= 1e9
            best = np.argsort(-scores, axis=1, kind="stable")[:, :_LIST]
            found += [[data.items[code] for code in codes] for codes in best.tolist()]
        return found

    return ranked


def _lists(catalog: ServingCatalog, cases: Sequence[tuple[list[str], str]]) -> list[list[str]]:
    codes = [catalog.lookup(history)[0] for history, _ in cases]
    histories = from_items(codes, catalog.recommender.pace, catalog.recommender.window.max_events)
    return [[item["item_id"] for item in found] for found in recommend_batch(catalog, histories, _LIST)]


def _metrics(lists: Sequence[Sequence[str]], cases: Sequence[tuple[list[str], str]]) -> tuple[float, float]:
    """Recall@10 and NDCG@10 of one target a case."""
    ranks = [list(items).index(target) if target in items else None for items, (_, target) in zip(lists, cases, strict=True)]
    gains = [0.0 if rank is None else 1.0 / np.log2(rank + 2.0) for rank in ranks]
    return float(np.mean([rank is not None for rank in ranks])), float(np.mean(gains))


def _row(kind: str, values: tuple[float, float]) -> dict[str, float]:
    return {f"{kind} R@10": values[0], f"{kind} N@10": values[1]}


if __name__ == "__main__":
    main(sys.argv[1:])
