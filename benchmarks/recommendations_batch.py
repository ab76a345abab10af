"""Users a second that a dropped file of histories becomes lists at, on one core and by the batch handler's own code."""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import report
from benchmarks.recommendations_handler import made_up_bundle
from personalization.batch.output import StreamOutput
from personalization.batch.scoring import score_file
from personalization.batch.task import ScoringTask


def main(users: int = 10_000, items: int = 12_000) -> None:
    random = np.random.default_rng(0)
    rows = []
    with TemporaryDirectory() as name, threadpool_limits(1):
        bundle = made_up_bundle(Path(name), items)
        for length in (5, 20, 50):
            path = Path(name) / "users.jsonl"
            with path.open("w") as out:
                for user in range(users):
                    history = [f"item-{n}" for n in random.integers(0, items, length).tolist()]
                    out.write(json.dumps({"user_id": f"u{user}", "history": history}) + "\n")
            start = time.perf_counter()
            row_counts = score_file(bundle, ScoringTask(path, StreamOutput(io.BytesIO())))
            seconds = time.perf_counter() - start
            rows.append(
                {"history": length, "users": row_counts.rows_used, "seconds": seconds, "users_a_second": users / seconds}
            )
    report.publish("recommendations_batch", f"Lists of 20 of {items:,} items for users with histories, one core", rows)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
