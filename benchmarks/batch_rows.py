"""Rows a second and peak memory of the batch job's own code, at 100,000 and 2,000,000 rows.

Beside it, in the same run: parsing, `session.run` and writing and nothing else, which no job can beat without another parser
(no rejects, no checks, no dates). Each figure is of a process of its own, on this machine's disk;
S3 is not in it, and state is counted apart.

Rows are the demo's, repeated: user_data.csv for the flat table, the purchase lines for interactions.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import boto3
import numpy as np
from moto import mock_aws

from benchmarks import report, shop
from personalization.batch.output import PartsOutput
from personalization.batch.partitions import Partition
from personalization.batch.scoring import score_file
from personalization.batch.task import JobDependencies, ScoringTask
from personalization.bundles.bundle import Bundle, load_bundle
from personalization.state import StateStore

SIZES: Final = (100_000, 2_000_000)
THREADS: Final = 2
ROUNDS: Final = 3
BLOCK: Final = 8_192


class Timed(NamedTuple):
    """What was done, and the part of the time that counts."""

    rows: int
    seconds: float


def ours(bundle_dir: Path, source: Path, out: Path) -> int:
    bundle = load_bundle(bundle_dir, threads=THREADS)
    with PartsOutput(out) as output:
        return score_file(bundle, ScoringTask(source, output, temp_dir=out)).rows_in


def bound(bundle_dir: Path, source: Path, out: Path) -> int:
    """csv → numbers and codes → `session.run` → text, in blocks; dates are not even looked at."""
    bundle = load_bundle(bundle_dir, threads=THREADS)
    numeric_names, words = bundle.encoder.numeric_names, bundle.encoder.categorical_columns
    codes = [{word: 2 + n for n, word in enumerate(column.vocabulary)} for column in words]
    count = 0
    with source.open(newline="", encoding="utf-8") as stream, (out / "bound.jsonl").open("w") as sink:
        reader = csv.reader(stream)
        place = {name: n for n, name in enumerate(next(reader))}
        numeric = np.zeros((BLOCK, len(numeric_names)), np.float32)
        categorical = np.zeros((BLOCK, len(words)), np.int64)
        while block := list(islice(reader, BLOCK)):
            columns, size = list(zip(*block, strict=True)), len(block)
            for n, name in enumerate(numeric_names):
                if name in place:
                    numeric[:size, n] = [float(cell) if cell else np.nan for cell in columns[place[name]]]
            for n, column in enumerate(words):
                categorical[:size, n] = [codes[n].get(cell, 1) for cell in columns[place[column.name]]]
            inputs: dict[str, Any] = {"numeric": numeric[:size], "categorical": categorical[:size]}
            known = {node.name for node in bundle.session.get_inputs()}
            answers = bundle.session.run(["probability"], {name: inputs[name] for name in known})
            sink.writelines(f'{{"row":{count + n},"probability":{p}}}\n' for n, p in enumerate(answers[0].tolist()))
            count += size
    return count


def with_state(bundle_dir: Path, source: Path, out: Path) -> Timed:
    """As `ours`, and each user's window goes into a table, of an embedded DynamoDB that bounds it: no network, one core."""
    with mock_aws():
        client = boto3.client("dynamodb")
        client.create_table(
            TableName="state",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        )
        state = StateStore(client, "state")
        bundle = load_bundle(bundle_dir, threads=THREADS)
        windows, spent = 0, 0.0

        def write_windows(_bundle: Bundle, users: Partition) -> None:
            nonlocal spent, windows
            begun = time.perf_counter()
            windows += state.write_windows(users.events, users.event_ids, users.order_ids).written
            spent += time.perf_counter() - begun

        with PartsOutput(out) as output:
            score_file(
                bundle, ScoringTask(source, output, temp_dir=out, dependencies=JobDependencies(write_windows=write_windows))
            )
    return Timed(windows, spent)


WAYS: Final = {"ours": ours, "bound": bound, "state": with_state}


def child(way: str, bundle_dir: Path, source: Path) -> None:
    """Run once and print what it took; the bundle's loading is in it, the interpreter's start is not."""
    with TemporaryDirectory(dir=source.parent) as out:
        started = time.perf_counter()
        done = WAYS[way](bundle_dir, source, Path(out))
        seconds = time.perf_counter() - started
    rows, seconds = done if isinstance(done, Timed) else (done, seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": rows, "seconds": seconds, "peak_mb": peak}))


def measure(way: str, bundle_dir: Path, source: Path) -> dict[str, Any]:
    """The fastest of a few runs: what else the machine does only ever slows one down."""
    command = [sys.executable, "-m", "benchmarks.batch_rows", "--child", way, str(bundle_dir), str(source)]
    runs = [json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(ROUNDS)]
    best = min(runs, key=lambda run: float(run["seconds"]))
    return {"rows": best["rows"], "rows/s": best["rows"] / best["seconds"], "peak_mb": max(run["peak_mb"] for run in runs)}


def repeated(lines: list[str], header: str, rows: int, target: Path) -> Path:
    with target.open("w", encoding="utf-8") as sink:
        sink.write(header)
        sink.writelines(islice(cycle(lines), rows))
    return target


def flat_source(rows: int, directory: Path) -> Path:
    header, *lines = shop.tables().flat["profiles"].read_text(encoding="utf-8").splitlines(keepends=True)
    return repeated(lines, header, rows, directory / f"flat-{rows}.csv")


def interactions_source(rows: int, directory: Path) -> Path:
    """The demo's purchase lines; where they do not suffice, the same again of other households."""

    def lines() -> Iterator[str]:
        for turn in range(rows // 1_000_000 + 2):
            with gzip.open(shop.tables().interactions, "rt", encoding="utf-8") as stream:
                next(stream)
                yield from (f"{turn}{line}" if turn else line for line in stream)

    with gzip.open(shop.tables().interactions, "rt", encoding="utf-8") as stream:
        header = next(stream)
    assert header.startswith("user_id,"), "the household's id is told apart by its first letters"
    target = directory / f"interactions-{rows}.csv"
    with target.open("w", encoding="utf-8") as sink:
        sink.write(header)
        sink.writelines(islice(lines(), rows))
    return target


def main() -> None:
    rows: list[dict[str, Any]] = []
    flat, events = shop.demo_bundle("profiles-table").directory, shop.demo_bundle("profiles").directory
    with TemporaryDirectory(dir="build") as name:
        for size in SIZES:
            source = flat_source(size, Path(name))
            mine, floor = measure("ours", flat, source), measure("bound", flat, source)
            rows.append({"what": "flat table", **mine, "share of the bound": mine["rows/s"] / floor["rows/s"]})
            rows.append({"what": "parse + session.run + write", **floor})
        for size in SIZES:
            source = interactions_source(size, Path(name))
            rows.append({"what": "interactions → profiles", **measure("ours", events, source)})
        small = interactions_source(SIZES[0], Path(name))
        rows.append({"what": "state: windows of users, on top", **measure("state", events, small)})
    speed = load_bundle(flat).manifest["rows_per_second_per_core"]
    report.publish(
        "batch_rows",
        f"Batch, {THREADS} threads: rows a second and peak memory",
        rows,
        [f"the flat network alone: {speed:,} rows a second on one core, as its bundle states"],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--child", nargs=3, metavar=("WAY", "BUNDLE", "SOURCE"))
    asked = parser.parse_args().child
    if asked:
        child(asked[0], Path(asked[1]), Path(asked[2]))
    else:
        main()
