"""CDNOW, the 2,357 customers that papers report on: returns and orders in 39 weeks, compared with BG/NBD and Pareto/NBD.

    python -m benchmarks.customer_base [--seeds 3]

All models are fitted to purchases before 1997-10-01. The network trains on shorter label windows inside that time, with the
defaults of the command line. The fitters are those of the package lifetimes, in weeks as in its examples. Customers are ranked
twice, by P(at least one order) and by the expected orders, so that every model is compared on an output that it has.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from statistics import mean
from typing import Any, Final

from training.runtime import prepare

prepare(0)  # before anything imports TensorFlow

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from sklearn.metrics import roc_auc_score  # noqa: E402

from benchmarks.report import publish  # noqa: E402
from training.datasets import cdnow  # noqa: E402
from training.datasets.packages import DataPackageMissing  # noqa: E402
from training.evaluation.metrics import log_loss, regression_metrics  # noqa: E402
from training.fitting import FitOptions  # noqa: E402
from training.tasks.profiles.model import NETWORK, PATIENCE, train_profiles_network  # noqa: E402
from training.tasks.profiles.pareto_nbd import fit_customer_base  # noqa: E402
from training.tasks.profiles.prepare import PreparedProfiles, ProfileData, prepare_profiles  # noqa: E402
from training.tasks.profiles.targets import attribute_dropout, encode_sample  # noqa: E402

NAME: Final = "customer_base"
WEEKS: Final = 39
DAYS: Final = 7 * WEEKS

Floats = NDArray[np.float64]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args([] if arguments is None else arguments)
    with tempfile.TemporaryDirectory() as name:
        try:
            cdnow.write(Path(name), sample=True)
        except DataPackageMissing as error:
            print(f"{NAME} is skipped: {error}")
            return
        path = Path(name) / "interactions.parquet"
        prepared = prepare_profiles(ProfileData((path,), cutoff=date(1997, 10, 1), horizon=DAYS))
    assert prepared.test is not None
    orders = prepared.test.labels.orders[:, prepared.spec.days.index(DAYS)].astype(np.float64)
    rows = [_row(f"this network, seed {seed}", orders, *network(prepared, seed)) for seed in range(options.seeds)]
    if len(rows) > 1:
        rows.append({"model": "this network, mean", **{k: mean(row[k] for row in rows) for k in list(rows[0])[1:]}})
    base = fit_customer_base(prepared.latest.columns, prepared.encoder, 0)
    if base is not None:
        within, expected = base.mixture.expected_orders(prepared.test.columns, [DAYS])
        rows.append(_row("its mixture of customers alone", orders, within[:, 0], expected[:, 0]))
    rows += [_row(name, orders, *predictions) for name, predictions in fitters(prepared.test.columns).items()]
    publish(NAME, f"CDNOW, {len(orders):,} customers, the {WEEKS} weeks from 1997-10-01", rows)


def network(prepared: PreparedProfiles, seed: int) -> tuple[Floats, Floats]:
    """P(at least one order) and expected orders, (N,) each."""
    assert prepared.test is not None
    targets = prepared.targets(seed)
    train, valid, test = (
        encode_sample(prepared.encoder, sample, targets) for sample in (prepared.train, prepared.valid, prepared.test)
    )
    options = FitOptions(seed=seed, patience=PATIENCE)
    model = train_profiles_network(
        prepared.encoder, targets, attribute_dropout(prepared.encoder, train, seed), valid, NETWORK, options
    )
    outputs = model.predict(test)
    within = outputs["probability_within"][:, targets.interval].astype(np.float64)
    return within, outputs["expected_orders"].astype(np.float64)


def fitters(columns: Mapping[str, NDArray[Any]]) -> dict[str, tuple[Floats | None, Floats]]:
    """P(at least one order), if the model has it, and expected orders; empty where the package cannot be imported."""
    try:
        from lifetimes import BetaGeoFitter, ParetoNBDFitter
    except ImportError as error:
        print(f"BG/NBD and Pareto/NBD are left out: {error}; pip install pandas autograd dill, and lifetimes with --no-deps")
        return {}
    repeats = columns["orders"].astype(np.float64) - 1.0
    span = repeats * np.nan_to_num(columns["order_gap_days"].astype(np.float64)) / 7
    age = span + columns["recency_purchase_days"].astype(np.float64) / 7
    predictions: dict[str, tuple[Floats | None, Floats]] = {}
    for name, fitter in (("BG/NBD", BetaGeoFitter()), ("Pareto/NBD", ParetoNBDFitter())):
        fitter.fit(repeats, span, age)
        expected = fitter.conditional_expected_number_of_purchases_up_to_time(WEEKS, repeats, span, age)
        within = None
        if isinstance(fitter, ParetoNBDFitter):
            within = 1.0 - np.asarray(fitter.conditional_probability_of_n_purchases_up_to_time(0, WEEKS, repeats, span, age))
        predictions[name] = within, np.asarray(expected, np.float64)
    return predictions


def _row(name: str, orders: Floats, within: Floats | None, expected: Floats) -> dict[str, Any]:
    amounts = regression_metrics(orders, expected)
    return {
        "model": name,
        "AUC by P(order)": None if within is None else float(roc_auc_score(orders > 0, within)),
        "AUC by expected orders": float(roc_auc_score(orders > 0, expected)),
        "log loss": None if within is None else log_loss(orders > 0, within),
        "correlation": amounts["correlation"],
        "RMSE": amounts["rmse"],
        "predicted ÷ observed": float(expected.mean() / orders.mean()),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
