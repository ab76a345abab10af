"""Amazon Beauty (5-core), leave-one-out, all items ranked: our recommendations, the baselines, and published results.

    python -m benchmarks.recommendations_beauty --data DIR [--seeds 3]

The data set is not part of this repository: DIR (or $BEAUTY_DATA) holds interactions.csv.gz and items.csv.gz. Each seed is
trained by the command line in its own process, with the default settings. Nothing is fitted on the test baskets. Validation
baskets only stop the training. Published results are of the same rows and protocol.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final

from benchmarks.report import publish

NAME: Final = "recommendations_beauty"
MEASURES: Final = (
    "recall_at_5",
    "recall_at_10",
    "recall_at_20",
    "ndcg_at_5",
    "ndcg_at_10",
    "ndcg_at_20",
    "mrr_at_20",
    "coverage",
)
# recall@10 and NDCG@10, as reported by the authors or by later comparisons on these rows.
PUBLISHED: Final = {
    "GRU4Rec": (0.0283, 0.0137),
    "SASRec (2020)": (0.0605, 0.0318),
    "S3-Rec": (0.0647, 0.0327),
    "TIGER": (0.0648, 0.0384),
    "ActionPiece": (0.0775, 0.0424),
    "HSTU": (0.0788, 0.0439),
    "SASRec, sampled softmax": (0.0921, 0.0531),
    "eSASRec": (0.0928, 0.0523),
    "BSARec": (0.1008, 0.0611),
    "WEARec (best of ~75 on test)": (0.1041, 0.0614),
}


def main(arguments: list[str] | None = None) -> None:
    """Train with each seed; publish mean and spread beside the baselines."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}")
    parser.add_argument("--data", type=Path, default=os.environ.get("BEAUTY_DATA"), metavar="DIR")
    parser.add_argument("--seeds", type=int, default=3, metavar="N")
    options = parser.parse_args([] if arguments is None else arguments)
    if options.data is None or not (Path(options.data) / "interactions.csv.gz").is_file():
        print(
            "recommendations_beauty is skipped: expected interactions.csv.gz and items.csv.gz in --data DIR (or $BEAUTY_DATA)"
        )
        return
    runs = [train(Path(options.data), seed) for seed in range(options.seeds)]
    rows = [_row(f"ours, seed {seed}", run["test"], run) for seed, run in enumerate(runs)]
    rows.append({"method": f"ours, mean of {len(runs)}", **_over(runs, mean)})
    if len(runs) > 1:
        rows.append({"method": "ours, standard deviation", **_over(runs, stdev)})
    alone = {name: mean(run["sequence_alone"][name] for run in runs) for name in MEASURES}
    rows.append({"method": "sequence network alone, mean", **alone})
    rows += [_row(name, values) for name, values in runs[0]["baselines"].items()]
    rows += [{"method": name, "recall_at_10": r, "ndcg_at_10": n} for name, (r, n) in PUBLISHED.items()]
    validation = ", ".join(f"{run['validation']['recall_at_10']:.4f}/{run['validation']['ndcg_at_10']:.4f}" for run in runs)
    publish(
        NAME,
        "Amazon Beauty, leave-one-out, test",
        rows,
        [f"validation, recall@10/NDCG@10 by seed: {validation}", "one standard error of recall@10 over users is about .0020"],
    )


def train(data: Path, seed: int) -> dict[str, Any]:
    """`metrics.json` of one training."""
    with tempfile.TemporaryDirectory() as directory:
        command = [
            sys.executable, "-m", "training", "train", "recommendations", "--interactions", str(data / "interactions.csv.gz"),
            "--items", str(data / "items.csv.gz"), "--split", "leave-one-out", "--seed", str(seed), "--out", directory,
        ]  # fmt: skip
        subprocess.run(command, check=True)
        metrics: dict[str, Any] = json.loads((Path(directory) / "metrics.json").read_text())
        return metrics


def _row(name: str, values: dict[str, float], run: dict[str, Any] | None = None) -> dict[str, Any]:
    spent = {"minutes": run["seconds"] / 60, "peak_memory_mb": run["peak_memory_mb"]} if run else {}
    return {"method": name, **{measure: values[measure] for measure in MEASURES}, **spent}


def _over(runs: list[dict[str, Any]], statistic: Any) -> dict[str, float]:
    return {name: statistic([run["test"][name] for run in runs]) for name in MEASURES}


if __name__ == "__main__":
    main(sys.argv[1:])
