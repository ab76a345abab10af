"""Training recommendations on large logs: time, memory, and the best baseline.

    python -m benchmarks.recommendations_scale [--interactions 1000000 20000000] [--seconds 300]

The data is synthetic: items belong to groups, and a few are popular. A user prefers three groups and often goes on to a later
item of the same group. A third of the users have one interaction. Each size is trained in its own process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.report import publish
from personalization.core.time import DAY_MS

NAME: Final = "recommendations_scale"
START_MS: Final = 1_700_000_000_000
GROUP: Final = 40  # items in a group


def main(arguments: list[str] | None = None) -> None:
    """Train on each size and publish."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}")
    parser.add_argument("--interactions", type=int, nargs="+", default=[1_000_000, 20_000_000])
    parser.add_argument("--seconds", type=float, default=300.0, help="of the network's training")
    options = parser.parse_args([] if arguments is None else arguments)
    rows = []
    for size in options.interactions:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "interactions.parquet"
            users, items = write_log(path, size)
            metrics = train(path, Path(directory) / "out", options.seconds)
        best = max(metrics["baselines"].items(), key=lambda entry: entry[1]["ndcg_at_10"])
        rows.append(
            {
                "interactions": size, "users": users, "items": items, "minutes": metrics["seconds"] / 60,
                "peak_memory_mb": metrics["peak_memory_mb"], "ndcg_at_10": metrics["test"]["ndcg_at_10"],
                "recall_at_10": metrics["test"]["recall_at_10"], "best_baseline": best[0],
                "baseline_ndcg_at_10": best[1]["ndcg_at_10"],
            }
        )  # fmt: skip
    publish(NAME, "Training recommendations on large logs", rows, [f"the network trains for at most {options.seconds:.0f} s"])


def write_log(path: Path, size: int, seed: int = 0) -> tuple[int, int]:
    """Write about `size` interactions; the numbers of users and items."""
    random = np.random.default_rng(seed)
    users, groups = size // 12, max(50, size // 12 // 150)
    lengths = np.where(random.random(users) < 1 / 3, 1, 2 + random.geometric(1 / 16, users))
    lengths = np.maximum(1, (lengths * (size / lengths.sum())).round().astype(np.int64))
    user = np.repeat(np.arange(users), lengths)
    total = len(user)
    step = np.arange(total) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    preferred = (groups * random.random((users, 3)) ** 1.5).astype(np.int64)
    group = preferred[user, random.integers(0, 3, total)]
    # The next item is often two positions further in the group, else a popular one.
    position = np.where(
        random.random(total) < 0.6, (2 * step + user) % GROUP, (GROUP * random.random(total) ** 2).astype(np.int64)
    )
    item = group * GROUP + position
    time = START_MS + (step * DAY_MS * 3 + random.integers(0, DAY_MS, total) + random.integers(0, 10**10, users)[user])
    columns = {
        "user_id": pa.array(user).cast(pa.string()),
        "item_id": pa.array(item).cast(pa.string()),
        "timestamp": pa.array(time),
    }
    columns["event_type"] = pa.DictionaryArray.from_arrays(pa.array(np.zeros(total, np.int32)), ["purchase"]).cast(pa.string())
    pq.write_table(pa.table(columns), path)
    return users, groups * GROUP


def train(path: Path, out: Path, seconds: float) -> dict[str, Any]:
    """`metrics.json` of one training."""
    command = [
        sys.executable, "-m", "training", "train", "recommendations", "--interactions", str(path), "--split", "leave-one-out",
        "--out", str(out), "--budget", str(seconds),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return metrics


if __name__ == "__main__":
    main(sys.argv[1:])
