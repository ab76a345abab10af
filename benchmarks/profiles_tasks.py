"""The tabular network against gradient boosting: three tasks about customers, the same rows and columns for all models.

    python -m benchmarks.profiles_tasks [--seeds 3]

Complete Journey, cut 2017-10-01: buys within 14 days, does not buy for 90; CDNOW, cut 1997-10-01 (all 23,570 customers): buys
within the 39 weeks that follow, for which no training row has labels, so that each model learns the longest window it can. (A
fourth task, who redeems a coupon, is in ads_coupons.) LightGBM has its defaults, or the best of a few settings on the same
validation rows, and stops early on them, as the network does. Differences are paired: 1,000 resamples of the customers, means
over the seeds.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

from training.runtime import prepare

prepare(0)  # before anything imports TensorFlow

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from sklearn.metrics import roc_auc_score  # noqa: E402

from benchmarks import journey  # noqa: E402
from benchmarks.ads_coupons import interval  # noqa: E402
from benchmarks.report import publish  # noqa: E402
from training.datasets import cdnow  # noqa: E402
from training.datasets.complete_journey import SHOP_TIMEZONE  # noqa: E402
from training.datasets.packages import DataPackageMissing  # noqa: E402
from training.evaluation.bootstrap import ClusterBootstrap, Interval, bootstrap_binary_metrics  # noqa: E402
from training.evaluation.metrics import SortedLabels, calibration_slope, row_log_loss  # noqa: E402
from training.evaluation.smooth_ece import smooth_ece  # noqa: E402
from training.fitting import FitOptions  # noqa: E402
from training.tasks.profiles.baselines import purchase_baselines  # noqa: E402
from training.tasks.profiles.labels import bought_within  # noqa: E402
from training.tasks.profiles.model import NETWORK, PATIENCE, train_profiles_network  # noqa: E402
from training.tasks.profiles.prepare import ProfileData, prepare_profiles  # noqa: E402
from training.tasks.profiles.targets import attribute_dropout, encode_sample  # noqa: E402

NAME: Final = "profiles_tasks"
RESAMPLES: Final = 1_000
OURS: Final = "this network"
RIVALS: Final = ("lightgbm", "lightgbm_tuned", "logistic_regression")
CDNOW: Final = Path(__file__).resolve().parents[1] / ".cache" / "cdnow"

Floats = NDArray[np.float64]


@dataclass
class CustomerTask:
    """labels (N,) of the customers, and the probabilities (N,) of each model, by seed.

    trained_days   label window that the baselines learnt
    """

    name: str
    labels: Floats
    probabilities: dict[str, list[Floats]] = field(default_factory=dict)
    trained_days: int = 0


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args([] if arguments is None else arguments).seeds)
    tasks = train_tasks(complete_journey(), {"buys within 14 days": (14, False), "gone for 90 days": (90, True)}, seeds)
    try:
        tasks += train_tasks(cdnow_customers(), {"CDNOW: buys in 39 weeks": (273, False)}, seeds)
    except DataPackageMissing as error:
        print(f"CDNOW is left out: {error}")
    rows, notes = [], []
    for task in tasks:
        rows += compare(task)
        notes.append(calibration(task))
    publish(NAME, "Customers' next purchases, on test rows", rows, notes)


def complete_journey() -> ProfileData:
    return ProfileData(
        (journey.table("interactions"),), journey.table("items"), cutoff=date(2017, 10, 1), timezone=SHOP_TIMEZONE
    )


def cdnow_customers() -> ProfileData:
    if not (CDNOW / "interactions.parquet").is_file():
        cdnow.write(CDNOW)
    return ProfileData((CDNOW / "interactions.parquet",), cutoff=date(1997, 10, 1), horizon=273)


def train_tasks(data: ProfileData, horizons: dict[str, tuple[int, bool]], seeds: range) -> list[CustomerTask]:
    """Train on one set of events, once for each seed, and predict for some horizons: days, and whether it is not buying."""
    prepared = prepare_profiles(data)
    assert prepared.test is not None
    targets = prepared.targets(0)
    samples = (prepared.train, prepared.valid, prepared.test)
    train, valid, test = (encode_sample(prepared.encoder, rows, targets) for rows in samples)
    tasks = []
    for name, (days, churn) in horizons.items():
        bought, known = bought_within(prepared.test.labels, targets.days, days)
        assert known.all(), name
        tasks.append(CustomerTask(name, (1 - bought if churn else bought).astype(np.float64)))
    for seed in seeds:
        rows = attribute_dropout(prepared.encoder, train, seed)
        options = FitOptions(seed=seed, patience=PATIENCE)
        model = train_profiles_network(prepared.encoder, targets, rows, valid, NETWORK, options)
        within = model.predict(test)["probability_within"].astype(np.float64)
        for task, (days, churn) in zip(tasks, horizons.values(), strict=True):
            baselines, task.trained_days = purchase_baselines(
                prepared.encoder,
                targets,
                (samples[0], train),
                (samples[1], valid),
                (samples[2], test),
                days,
                seed,
                names=RIVALS,
            )
            predictions = {OURS: within[:, targets.days.index(days)], **{name: p[1] for name, p in baselines.items()}}
            for name, p in predictions.items():
                task.probabilities.setdefault(name, []).append(1 - p if churn else p)
    return tasks


def compare(task: CustomerTask) -> list[dict[str, Any]]:
    """A row for each model: means over the seeds, and the lead of the network with its interval."""
    draws = list(ClusterBootstrap.from_groups(len(task.labels), resamples=RESAMPLES, seed=5))
    draws = [times for times in draws if 0 < times @ task.labels < times.sum()]
    means: dict[str, dict[str, Floats]] = {}
    rows: list[dict[str, Any]] = []
    for name, by_seed in task.probabilities.items():
        losses = [row_log_loss(task.labels, p) for p in by_seed]
        rankings = [SortedLabels.by_probability(task.labels, p) for p in by_seed]
        row: dict[str, Any] = {
            "task": task.name,
            "model": name,
            "AUC": float(np.mean([roc_auc_score(task.labels, p) for p in by_seed])),
            "log loss": float(np.mean([loss.mean() for loss in losses])),
            "AUC of the seeds": " ".join(f"{roc_auc_score(task.labels, p):.4f}" for p in by_seed),
        }
        means[name] = {
            "AUC": np.mean([[ranking.auc(times) for times in draws] for ranking in rankings], axis=0),
            "log loss": np.mean([[np.average(loss, weights=times) for times in draws] for loss in losses], axis=0),
        }
        if name != OURS:
            for what in ("AUC", "log loss"):
                row[f"network − it, {what}"] = interval((means[OURS][what] - means[name][what]).tolist())
        rows.append(row)
    return rows


def calibration(task: CustomerTask) -> str:
    """Of the first seed: slope, predicted ÷ observed and smooth ECE, with 95 % intervals."""
    labels, p = task.labels, task.probabilities[OURS][0]
    uncertainty = bootstrap_binary_metrics(
        labels, {"model": p}, 0.5, ClusterBootstrap.from_groups(len(p), resamples=300, seed=6)
    )
    slopes, errors = (uncertainty["test"][name] for name in ("calibration_slope", "smooth_ece"))
    perfect = uncertainty["smooth_ece_if_calibrated"]
    return (
        f"{task.name} ({int(labels.sum()):,} of {len(labels):,}; others learnt {task.trained_days} days): slope "
        f"{calibration_slope(labels, p):.3f} ({_from_to(slopes)}), predicted ÷ observed {p.mean() / labels.mean():.3f}, smooth "
        f"ECE {smooth_ece(labels, p):.4f} ({_from_to(errors)}; perfectly calibrated {_from_to(perfect)})"
    )


def _from_to(ends: Interval) -> str:
    return "–" if ends is None else f"{ends[0]:.4f} … {ends[1]:.4f}"


if __name__ == "__main__":
    main(sys.argv[1:])
