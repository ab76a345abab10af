"""Training speed of the sequence network: targets per second beside RecBole's SASRec (PyTorch), with the same sizes and rows.

    python -m venv build/recbole
    build/recbole/bin/pip install torch==2.13.0 'numpy<1.24' 'scipy<1.12' 'pandas<2' 'scikit-learn<1.4' recbole==1.2.1
    python -m benchmarks.recommendations_speed --data DIR [--recbole build/recbole/bin/python] [--epochs 3]

RecBole needs an older numpy than ours and therefore its own virtual environment. Without --recbole its row is left out.
Both have two blocks, two heads, embeddings of 64 numbers, 50 items of history and a softmax over all items. Both train on the
same sequences: those of Amazon Beauty without each user's last two items. RecBole trains on every prefix of a sequence as a
separate row, ours on all positions of a sequence at once. In both a target is one item to predict. The first epoch of each
turn is a warm-up and not counted. The two take turns, so that other load on the machine affects both.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.report import publish

NAME: Final = "recommendations_speed"
BATCH: Final = 2048  # of RecBole's rows, its default
# Runs inside RecBole's environment: prints targets and seconds of each epoch.
_RECBOLE: Final = """
import sys, time, torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.sequential_recommender import SASRec
from recbole.trainer import Trainer
data, epochs, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sys.argv = sys.argv[:1]
config = Config(model="SASRec", dataset="beauty", config_dict={
    "data_path": data, "USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "TIME_FIELD": "timestamp",
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "MAX_ITEM_LIST_LENGTH": 50, "train_neg_sample_args": None,
    "loss_type": "CE", "hidden_size": 64, "inner_size": 256, "n_layers": 2, "n_heads": 2, "train_batch_size": batch,
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": None},
    "use_gpu": False, "show_progress": False, "state": "ERROR", "checkpoint_dir": data, "reproducibility": False})
dataset = create_dataset(config)
train, _, _ = data_preparation(config, dataset)
model = SASRec(config, train.dataset)
trainer = Trainer(config, model)
for epoch in range(epochs):
    start = time.perf_counter()
    trainer._train_epoch(train, epoch)
    print("epoch", len(train.dataset), time.perf_counter() - start, torch.get_num_threads(), flush=True)
"""


def main(arguments: list[str] | None = None) -> None:
    """Train both for some epochs in turns and publish."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}")
    parser.add_argument("--data", type=Path, default=os.environ.get("BEAUTY_DATA"), metavar="DIR")
    parser.add_argument(
        "--recbole", type=lambda text: Path(text).absolute(), default=os.environ.get("RECBOLE_PYTHON"), metavar="PYTHON"
    )
    parser.add_argument("--epochs", type=int, default=3, help="of each turn; the first one is a warm-up")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)  # one turn of ours, in its own process
    options = parser.parse_args([] if arguments is None else arguments)
    if options.ours is not None:
        _ours(options.ours, options.epochs)
        return
    if options.data is None or not (Path(options.data) / "interactions.csv.gz").is_file():
        print("recommendations_speed is skipped: expected interactions.csv.gz in --data DIR (or $BEAUTY_DATA)")
        return
    with tempfile.TemporaryDirectory() as name:
        write_atomic(Path(options.data), Path(name) / "beauty")
        commands = {"ours (Keras, TensorFlow)": [sys.executable, "-m", f"benchmarks.{NAME}", "--ours", str(options.data)]}
        commands["ours (Keras, TensorFlow)"] += ["--epochs", str(options.epochs)]
        if options.recbole is None:
            print("RecBole is left out: expected the python of its environment as --recbole (or $RECBOLE_PYTHON)")
        else:
            commands["RecBole SASRec (PyTorch)"] = [
                str(options.recbole), "-c", _RECBOLE, name, str(options.epochs), str(BATCH)
            ]  # fmt: skip
        timings: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        for _ in range(options.turns):
            for method, command in commands.items():
                # RecBole writes logs to the working directory.
                timings[method] += _epochs(command, name if command[0] == str(options.recbole) else None)[1:]
    rows = []
    for method, epochs in timings.items():
        targets, seconds = epochs[0][0], median(duration for _, duration in epochs)
        rows.append({"method": method, "targets": targets, "seconds an epoch": seconds, "targets/s": targets / seconds})
    notes = []
    if len(rows) > 1:
        notes.append(f"ours is {float(str(rows[0]['targets/s'])) / float(str(rows[1]['targets/s'])):.1f} × as fast")
    publish(NAME, "Training of a sequence network, an epoch of Amazon Beauty", rows, notes)


def write_atomic(source: Path, target: Path) -> None:
    """The interactions in RecBole's format."""
    target.mkdir()
    with (
        gzip.open(source / "interactions.csv.gz", "rt", encoding="utf-8", newline="") as stream,
        (target / "beauty.inter").open("w", encoding="utf-8") as out,
    ):
        out.write("user_id:token\titem_id:token\ttimestamp:float\n")
        out.writelines(f"{row['user_id']}\t{row['item_id']}\t{row['timestamp']}\n" for row in csv.DictReader(stream))


def _epochs(command: list[str], directory: str | None = None) -> list[tuple[int, float]]:
    """Targets and seconds of each epoch that a process prints."""
    output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=directory).stdout
    lines = [line.split() for line in output.splitlines() if line.startswith("epoch ")]
    return [(int(line[1]), float(line[2])) for line in lines]


def _ours(data: Path, epochs: int) -> None:
    """Train on all but each user's last two items, and print targets and seconds of each epoch."""
    import numpy as np

    from training.fitting import FitOptions
    from training.networks.sequence import SequenceConfig, build_sequence
    from training.tasks.recommendations.item_embeddings import new_embeddings
    from training.tasks.recommendations.prepare import RecommendationData, prepare_recommendations
    from training.tasks.recommendations.sequence_training import LEARNING_RATE, fit_sequence_network
    from training.tasks.recommendations.sequence_windows import sequence_windows
    from training.tasks.recommendations.splits import LEAVE_ONE_OUT
    from training.tasks.recommendations.training_items import TrainingItems

    log = prepare_recommendations(RecommendationData((data / "interactions.csv.gz",), split=LEAVE_ONE_OUT)).log
    from_end = np.repeat(log.offsets[1:], np.diff(log.offsets)) - np.arange(len(log))
    config = SequenceConfig()
    windows = sequence_windows(log.take(from_end > 2), config.longest)
    embeddings = new_embeddings(np.ones(log.num_items, bool), config, TrainingItems([]), 0)
    started: Any = time.perf_counter()

    def print_epoch() -> float:
        nonlocal started
        now = time.perf_counter()
        print("epoch", windows.num_targets, now - started, flush=True)
        started = time.perf_counter()
        return 0.0

    options = FitOptions(epochs=epochs, patience=epochs + 1, learning_rate=LEARNING_RATE)
    fit_sequence_network(build_sequence(config), embeddings, windows, print_epoch, options)


if __name__ == "__main__":
    main(sys.argv[1:])
