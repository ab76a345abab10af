"""MovieLens 100k as clicks (a rating of 4 or 5), by time: this network beside the usual click models, same columns and rows.

    python -m benchmarks.ads_movielens [--seeds 3]

An impression is a rating; the user's age, gender, occupation, the film's genres and year, the hour and weekday and what the
user clicked before describe it, as `train ads` makes columns of them. The last 15 % of the time are test, the 15 % before them
validation, by which every model stops and nothing else is chosen. The factorisation machine (Rendle 2010) is second order
over the same codes, each number in 16 bins, with L2 chosen on validation. The data lies in the package recbole.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from training.runtime import prepare

prepare(0)  # before anything imports TensorFlow

import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import ops  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from scipy.special import expit  # noqa: E402
from sklearn.metrics import roc_auc_score  # noqa: E402

from benchmarks.ads_coupons import interval, resamples  # noqa: E402
from benchmarks.report import publish  # noqa: E402
from training.baselines import lightgbm, logistic_regression  # noqa: E402
from training.datasets.packages import DataPackageMissing, package_directory  # noqa: E402
from training.evaluation.metrics import calibration_slope, row_log_loss  # noqa: E402
from training.evaluation.smooth_ece import smooth_ece  # noqa: E402
from training.fitting import Examples, FitOptions  # noqa: E402
from training.networks.tabular import TabularConfig  # noqa: E402
from training.tasks.ads.model import PATIENCE, TARGET, train_ads_network  # noqa: E402
from training.tasks.ads.prepare import AdData, PreparedAds, prepare_ads  # noqa: E402

NAME: Final = "ads_movielens"
RESAMPLES: Final = 500
BINS: Final = 16
PENALTIES: Final = (1e-6, 1e-5, 1e-4)

Floats = NDArray[np.float64]
Parts = tuple[Examples, Examples, Examples]  # train, validation, test; with a target `label`


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args([] if arguments is None else arguments)
    try:
        source = package_directory("recbole", "recbole") / "dataset_example" / "ml-100k"
    except DataPackageMissing as error:
        print(f"{NAME} is skipped: {error}")
        return
    with tempfile.TemporaryDirectory() as name:
        prepared = prepare_ads(_tables(source, Path(name)))
    parts = _parts(prepared)
    labels = parts[2].targets["label"].astype(np.float64)
    answers = {name: [model(prepared, parts, seed) for seed in range(options.seeds)] for name, model in MODELS.items()}
    drawn = resamples(prepared.test.log.user, RESAMPLES)
    rows: list[dict[str, Any]] = [{"model": name} for name in MODELS]
    measures: Mapping[str, Callable[[Floats, Floats], float]] = {
        "AUC": lambda y, p: float(roc_auc_score(y, p)),
        "log loss": lambda y, p: float(row_log_loss(y, p).mean()),
    }
    for what, measure in measures.items():
        means = {
            name: np.array([np.mean([measure(labels[some], p[some]) for p in found]) for some in drawn])
            for name, found in answers.items()
        }
        for row in rows:
            found = answers[row["model"]]
            row[what] = float(np.mean([measure(labels, p) for p in found]))
            if row["model"] != "this network":
                row[f"network − it, {what}"] = interval((means["this network"] - means[row["model"]]).tolist())
    for row in rows:
        row["slope"] = float(np.mean([calibration_slope(labels, p) for p in answers[row["model"]]]))
        row["smooth ECE"] = float(np.mean([smooth_ece(labels, p) for p in answers[row["model"]]]))
    publish(
        NAME,
        f"MovieLens 100k as clicks, {len(parts[0]):,} rows to train on, {len(labels):,} to judge by",
        rows,
        [f"means of {options.seeds} seeds; intervals: 95 %, {RESAMPLES} resamples of users, paired"],
    )


def _tables(source: Path, target: Path) -> AdData:
    """The package's files as our tables."""

    def read(kind: str) -> list[dict[str, str]]:
        with (source / f"ml-100k.{kind}").open(encoding="utf-8", newline="") as stream:
            return [{key.split(":")[0]: cell for key, cell in row.items()} for row in csv.DictReader(stream, delimiter="\t")]

    def write(name: str, rows: list[dict[str, Any]]) -> Path:
        path = target / f"{name}.csv"
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path

    impressions = [
        {
            "user_id": row["user_id"],
            "ad_id": row["item_id"],
            "timestamp": int(float(row["timestamp"])),
            "click": int(float(row["rating"]) >= 4),
        }
        for row in read("inter")
    ]
    films = [
        {
            "ad_id": row["item_id"],
            "campaign_id": "films",
            "genres": row["class"].strip().replace(" ", "|"),
            "year": row["release_year"],
        }
        for row in read("item")
    ]
    users = [{name: row[name] for name in ("user_id", "age", "gender", "occupation")} for row in read("user")]
    return AdData(write("impressions", impressions), write("ads", films), write("users", users))


def _parts(prepared: PreparedAds) -> Parts:
    encoded = [prepared.encode(part) for part in (prepared.train, prepared.valid, prepared.test)]
    train, valid, test = (Examples(e.inputs, dict(e.targets) | {"label": e.targets[TARGET][:, 0]}) for e in encoded)
    return train, valid, test


def network(prepared: PreparedAds, parts: Parts, seed: int) -> Floats:
    options = FitOptions(seed=seed, patience=PATIENCE)
    model = train_ads_network(prepared.encoder, prepared.tasks, parts[0], parts[1], TabularConfig(), options)
    raw = model.network.raw(dict(parts[2].inputs))[TARGET][:, 0].astype(np.float64)
    return np.asarray(expit(model.slope["click"] * raw + model.intercept["click"]))


def factorisation_machine(prepared: PreparedAds, parts: Parts, seed: int) -> Floats:
    """The penalty with the least validation loss, stopped by it."""
    edges = [np.unique(np.nanquantile(column, np.linspace(0, 1, BINS + 1)[1:-1])) for column in parts[0].inputs["numeric"].T]
    sizes = [len(edge) + 2 for edge in edges] + [column.cardinality for column in prepared.encoder.categorical_columns]
    codes = [_codes(part, edges, sizes) for part in parts]
    best: tuple[float, Floats] | None = None
    for penalty in PENALTIES:
        keras.utils.set_random_seed(seed)
        inputs = keras.Input((len(sizes),), dtype="int32")
        model = keras.Model(inputs, Pairs(sum(sizes), penalty)(inputs))
        model.compile(keras.optimizers.Adam(1e-3), keras.losses.BinaryCrossentropy(from_logits=True))
        stop = keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True)
        held = (codes[1], parts[1].targets["label"])
        told = model.fit(
            codes[0], parts[0].targets["label"], batch_size=512, epochs=40, validation_data=held, callbacks=[stop], verbose=0
        )
        loss = min(told.history["val_loss"])
        if best is None or loss < best[0]:
            best = loss, expit(model.predict(codes[2], batch_size=8192, verbose=0)[:, 0].astype(np.float64))
    assert best is not None
    return best[1]


def _codes(part: Examples, edges: list[NDArray[np.float32]], sizes: list[int]) -> NDArray[np.int32]:
    """(N, columns): a number for each column's bin or word, all different; the last of a number's is for gaps."""
    numbers = part.inputs["numeric"]
    bins = [
        np.where(np.isnan(numbers[:, place]), len(edge) + 1, np.searchsorted(edge, numbers[:, place]))
        for place, edge in enumerate(edges)
    ]
    first = np.cumsum([0, *sizes[:-1]])
    return (np.column_stack([*bins, part.inputs["categorical"]]) + first).astype(np.int32)


class Pairs(keras.layers.Layer):
    """Codes (N, F) → (N, 1): a bias, a weight for each code, and products of all pairs of their vectors."""

    SIZE: Final = 16

    def __init__(self, codes: int, penalty: float) -> None:
        super().__init__()
        small = keras.initializers.RandomNormal(stddev=0.01)
        held = keras.regularizers.L2(penalty)
        self.vectors = self.add_weight(shape=(codes, self.SIZE), initializer=small, regularizer=held, name="vectors")
        self.weights_of = self.add_weight(shape=(codes, 1), initializer="zeros", regularizer=held, name="weights_of")
        self.bias = self.add_weight(shape=(1,), initializer="zeros", name="bias")

    def call(self, codes: Any) -> Any:
        vectors = ops.take(self.vectors, codes, axis=0)
        together = ops.square(ops.sum(vectors, axis=1)) - ops.sum(ops.square(vectors), axis=1)
        alone = ops.sum(ops.take(self.weights_of, codes, axis=0), axis=1)
        return self.bias + alone + 0.5 * ops.sum(together, axis=-1, keepdims=True)


MODELS: Final[Mapping[str, Callable[[PreparedAds, Parts, int], Floats]]] = {
    "this network": network,
    "LightGBM": lambda prepared, parts, seed: lightgbm(prepared.encoder, parts[0], parts[1], [parts[2]], seed=seed)[0],
    "logistic regression": lambda prepared, parts, seed: logistic_regression(prepared.encoder, parts[0], [parts[2]])[0],
    "factorisation machine": factorisation_machine,
}


if __name__ == "__main__":
    main(sys.argv[1:])
