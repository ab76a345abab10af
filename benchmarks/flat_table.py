"""Flat tables with the faults that shops' tables have, trained without options: metrics, warnings and column decisions.

    python -m benchmarks.flat_table [--rows 12000 500000]

The table is synthetic, so that the best possible AUC is known: numbers with missing cells and words in them, categories, 900
cities, dates, a constant column, an empty one, a row number, free text, duplicate rows, and (in a run of its own) a column that
leaks the label. Headers and words are Chinese, lines end in CRLF, and the file begins with a byte order mark.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from benchmarks.report import publish
from personalization.bundles.bundle import load_bundle

NAME: Final = "flat_table"
LABEL: Final = "标签"
LEAK: Final = "泄露"
_HEADER: Final = ("编号", "年龄", "消费金额", "渠道", "城市", "注册日期", "常数", "空", "备注")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[12_000, 500_000])
    sizes = parser.parse_args([] if arguments is None else arguments).rows
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for count, leak in [*((size, False) for size in sizes), (min(sizes), True)]:
        with tempfile.TemporaryDirectory() as name:
            row, decisions = train_table(Path(name), count, leak)
        rows.append(row)
        notes = notes or decisions
    publish(NAME, "Flat tables never seen before", rows, notes)


def train_table(directory: Path, count: int, leak: bool) -> tuple[dict[str, Any], list[str]]:
    """A row of the results, and the decision on each column."""
    source, out = directory / "table.csv", directory / "out"
    best = write(source, count, leak, np.random.default_rng(0))
    subprocess.run(
        [sys.executable, "-m", "training", "train", "profiles", "--table", str(source), "--label", LABEL, "--out", str(out)],
        check=True,
    )
    metrics, manifest = orjson.loads((out / "metrics.json").read_bytes()), load_bundle(out).manifest
    warned = any(repr(LEAK) in warning and "gives the label away" in warning for warning in manifest["warnings"])
    row = {
        "rows": count,
        "leak": "warned of" if warned else "not warned of" if leak else "none",
        "AUC": metrics["test"]["auc"],
        "LightGBM tuned": metrics["baselines"]["lightgbm_tuned"]["auc"],
        "logistic regression": metrics["baselines"]["logistic_regression"]["auc"],
        "best possible": best,
        "rows unaccounted for": metrics["rows"]["read"] - sum(metrics["rows"][p] for p in ("train", "validation", "test")),
        "copies reported": metrics["rows"]["duplicates"],
        "minutes": metrics["seconds"] / 60,
        "peak_memory_mb": metrics["peak_memory_mb"],
    }
    return row, [f"{d['column']}: {d['action']}, {d['reason']}" for d in manifest["decisions"]]


def write(path: Path, count: int, leak: bool, random: np.random.Generator) -> float:
    """Write the table; the AUC of the probabilities that its labels were drawn with."""
    age, spend = random.integers(18, 80, count), random.lognormal(3.0, 1.0, count)
    channel = random.choice(["网页", "应用", "邮件", ""], count, p=[0.5, 0.3, 0.15, 0.05])
    city = np.minimum(random.geometric(0.01, count), 899)
    day = np.datetime64("2025-01-01") + random.integers(0, 365, count)
    logit = -1.0 + 0.02 * (age - 45) + 0.5 * np.log(spend / 20) + 0.3 * np.sin(age / 5)
    logit += 0.8 * (channel == "应用") - 0.4 * (channel == "邮件")
    label = random.random(count) < expit(logit)
    missing, words, text = random.random(count) < 0.1, random.random(count) < 0.001, random.integers(0, 10**9, count)
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\r\n")
        writer.writerow((*_HEADER, *([LEAK] if leak else []), LABEL))
        for n in range(count):
            twin = n - 1 if n % 1_000 == 999 else n  # the same row again, number and all
            cells = [
                twin + 1,
                "" if missing[twin] else age[twin],
                "不详" if words[twin] else f"{spend[twin]:.2f}",
                channel[twin],
            ]
            cells += [f"城市{city[twin]}", day[twin], "是", "", f"文字{text[twin]}"]
            writer.writerow((*cells, *([2 * label[twin] + twin % 2] if leak else []), "是" if label[twin] else "否"))
    return float(roc_auc_score(label, expit(logit)))


if __name__ == "__main__":
    main(sys.argv[1:])
