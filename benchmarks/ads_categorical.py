"""A table of words alone: 300,000 rows, ten columns of 5,000 words each, where pairs of words matter as much as words do.

    python -m benchmarks.ads_categorical [--rows 300000] [--words 5000]

The table is made up: words follow a power law, each has a weight of its own, and in three pairs of columns each word has a
vector whose products with those of the other column count. So the best possible log loss is known. `train ads --table` runs
in a process of its own, with its defaults; then the deployed handler scores one row and 500 rows in a call.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import report, shop
from personalization.bundles.bundle import load_bundle
from training.evaluation.metrics import log_loss

NAME: Final = "ads_categorical"
COLUMNS: Final = 10
PAIRED: Final = ((0, 1), (2, 3), (4, 5))
MEASURES: Final = ("log_loss", "auc", "calibration_slope", "smooth_ece")
CANDIDATES: Final = (1, 500)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--words", type=int, default=5_000)
    options = parser.parse_args([] if arguments is None else arguments)
    with tempfile.TemporaryDirectory() as name:
        path, out = Path(name) / "table.parquet", Path(name) / "bundle"
        best = write_table(path, options.rows, options.words)
        command = [
            sys.executable, "-m", "training", "train", "ads", "--table", str(path), "--label", "label", "--out", str(out),
        ]  # fmt: skip
        subprocess.run(command, check=True)
        metrics = json.loads((out / "metrics.json").read_text())
        rows: list[dict[str, Any]] = [
            {"model": "this network", **{m: metrics["test"][m] for m in MEASURES}, "minutes": metrics["seconds"] / 60,
             "peak_memory_mb": metrics["peak_memory_mb"]}
        ]  # fmt: skip
        rows += [{"model": name, **{m: scores[m] for m in MEASURES}} for name, scores in metrics["baselines"].items() if scores]
        rows.append({"model": "the truth", "log_loss": best})
        notes = [_scoring(out, options.words)]
    report.publish(NAME, f"{options.rows:,} rows × {COLUMNS} columns of {options.words:,} words", rows, notes)


def write_table(path: Path, rows: int, words: int, seed: int = 0) -> float:
    """Write the table; the log loss of the probabilities that its labels were drawn from."""
    random = np.random.default_rng(seed)
    share = 1 / np.arange(1, words + 1) ** 0.8
    codes = np.stack([random.choice(words, rows, p=share / share.sum()) for _ in range(COLUMNS)], axis=1)
    logit = np.full(rows, -1.5)
    for column in range(COLUMNS):
        logit += random.normal(0, 0.35, words)[codes[:, column]]
    for first, second in PAIRED:
        one, other = random.normal(0, 0.5, (words, 4)), random.normal(0, 0.5, (words, 4))
        logit += (one[codes[:, first]] * other[codes[:, second]]).sum(axis=1)
    probability = 1 / (1 + np.exp(-logit))
    labels = (random.random(rows) < probability).astype(np.int64)
    columns: dict[str, Any] = {f"c{column}": [f"w{code}" for code in codes[:, column]] for column in range(COLUMNS)}
    pq.write_table(pa.table({**columns, "label": labels}), path)
    return log_loss(labels, probability)


def _scoring(directory: Path, words: int) -> str:
    """What 500 rows in a call cost beside one."""
    call = shop.handler("ads", load_bundle(directory, threads=1))
    example = json.loads((Path(__file__).parents[1] / "events" / "rest_post_ads_table.json").read_text())
    random = np.random.default_rng(1)
    found = {}
    for count in CANDIDATES:
        rows = [{f"c{column}": f"w{random.integers(words)}" for column in range(COLUMNS)} for _ in range(count)]
        event = example | {"body": json.dumps({"rows": rows})}
        with redirect_stdout(io.StringIO()):  # the function's metrics
            answer = call(event, None)
        assert answer["statusCode"] == 200, answer
        found[count] = report.percentile(report.repeat(lambda event=event: call(event, None)), 0.5)
    one, many = (found[count] for count in CANDIDATES)
    return f"the handler: {one:.2f} ms for 1 row, {many:.2f} ms for 500 in one call, {many / one:.1f} ×"


if __name__ == "__main__":
    main(sys.argv[1:])
