"""Baselines of a binary target, trained on the same rows as the network: base rate, logistic regression, dense, LightGBM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from personalization.core.encoder import TableEncoder
from training.fitting import Examples, FitOptions, fit_tabular
from training.networks.heads import BinaryHead
from training.networks.tabular import CATEGORICAL, NUMERIC, TabularConfig, build_tabular, encoder_statistics

Probabilities = NDArray[np.float64]

BASELINES: Final = ("base_rate", "logistic_regression", "dense_64_32_1", "lightgbm", "lightgbm_tuned")
LIGHTGBM_ROUNDS: Final = 2_000  # an upper limit: it stops 50 rounds after its best validation loss
# The defaults, smaller trees, slower with fewer rows and columns a tree, regularised: the validation loss chooses.
LIGHTGBM_SETTINGS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"num_leaves": 7, "learning_rate": 0.05},
    {"num_leaves": 15, "learning_rate": 0.03, "feature_fraction": 0.7, "bagging_fraction": 0.8, "bagging_freq": 1},
    {"num_leaves": 31, "learning_rate": 0.05, "min_child_samples": 100, "lambda_l2": 10.0, "feature_fraction": 0.7},
)


def binary_baselines(
    encoder: TableEncoder,
    train: Examples,
    valid: Examples,
    others: Sequence[Examples],
    *,
    target: str = "label",
    seed: int = 0,
    budget: float | None = None,
    names: Sequence[str] = BASELINES,
) -> dict[str, list[Probabilities]]:
    """Train each baseline on `train`, with early stopping on `valid`; by name its probabilities (N,) of each of `others`.

    target   name of the 0/1 target, (N,)
    budget   seconds for the dense network
    names    which of `BASELINES`

    Where the training rows are all of one class, every baseline is the base rate.
    """
    rate = float(np.average(train.targets[target], weights=train.weight))
    constant = [np.full(len(rows), rate) for rows in others]
    if not 0 < rate < 1:
        return dict.fromkeys(names, constant)
    predictions: dict[str, list[Probabilities]] = {}
    for name in names:
        if name == "base_rate":
            predictions[name] = constant
        elif name == "logistic_regression":
            predictions[name] = logistic_regression(encoder, train, others, target)
        elif name == "dense_64_32_1":
            predictions[name] = dense_64_32_1(encoder, train, valid, others, target, seed, budget)
        else:
            settings = LIGHTGBM_SETTINGS if name == "lightgbm_tuned" else ({},)
            predictions[name] = lightgbm(encoder, train, valid, others, target, seed, settings)
    return predictions


def logistic_regression(
    encoder: TableEncoder, train: Examples, others: Sequence[Examples], target: str = "label"
) -> list[Probabilities]:
    """Ridge logistic regression (C = 1) on standardised numbers, missing indicators and one-hot categories."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(linear_features(encoder), LogisticRegression(max_iter=500))
    model.fit(feature_matrix(train), train.targets[target], logisticregression__sample_weight=train.weight)
    return [model.predict_proba(feature_matrix(rows))[:, 1] if len(rows) else np.zeros(0) for rows in others]


def linear_features(encoder: TableEncoder) -> Any:
    """A scikit-learn transformer of `feature_matrix` for linear models: median fill, standard scaling, missing indicators and
    one-hot categories, as a sparse matrix."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import MissingIndicator, SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numeric = len(encoder.numeric_names)
    codes = [np.arange(column.cardinality) for column in encoder.categorical_columns]
    scaled = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    numbers, categories = slice(numeric), slice(numeric, numeric + len(codes))
    parts: list[tuple[str, Any, slice]] = []
    if numeric:
        parts = [("numbers", scaled, numbers), ("missing", MissingIndicator(features="all"), numbers)]
    if codes:
        parts.append(("categories", OneHotEncoder(categories=codes), categories))
    return ColumnTransformer(parts, sparse_threshold=1.0)


def dense_64_32_1(
    encoder: TableEncoder,
    train: Examples,
    valid: Examples,
    others: Sequence[Examples],
    target: str = "label",
    seed: int = 0,
    budget: float | None = None,
) -> list[Probabilities]:
    """A plain dense network, 64-32-1: scaled numbers and embeddings, no bins, no ensemble, no averaging of weights."""
    config = TabularConfig(members=1, widths=(64, 32), bins=0, embedding=8, dropout=0.0)
    network = build_tabular(
        encoder, encoder_statistics(encoder, dict(train.inputs), config, seed), (BinaryHead(target),), config
    )
    options = FitOptions(seed, patience=8, learning_rate=1e-3, weight_decay=0.0, average=0.0, budget=budget)
    train, valid = (Examples(rows.inputs, {target: rows.targets[target]}, rows.weight) for rows in (train, valid))
    fit_tabular(network, train, valid, options)
    return [
        expit(network.raw(dict(rows.inputs))[target][:, 0].astype(np.float64)) if len(rows) else np.zeros(0) for rows in others
    ]


def lightgbm(
    encoder: TableEncoder,
    train: Examples,
    valid: Examples,
    others: Sequence[Examples],
    target: str = "label",
    seed: int = 0,
    settings: Sequence[dict[str, Any]] = ({},),
) -> list[Probabilities]:
    """LightGBM with native categories, stopped early on the validation loss, which also chooses among several `settings`."""
    import lightgbm as lgb

    numeric_columns = len(encoder.numeric_names)
    categories = list(range(numeric_columns, numeric_columns + len(encoder.categorical_columns)))
    common = {"objective": "binary", "metric": "binary_logloss", "verbosity": -1, "num_threads": 2}
    common |= {"deterministic": True, "force_row_wise": True, "seed": seed}
    boosters = []
    for parameters in ({**common, **chosen} for chosen in settings):
        data, stopping = (
            lgb.Dataset(
                feature_matrix(rows),
                rows.targets[target],
                weight=rows.weight,
                categorical_feature=categories,
                params=parameters,
            )
            for rows in (train, valid)
        )
        stop: list[Any] = [lgb.early_stopping(50, verbose=False)]
        boosters.append(lgb.train(parameters, data, LIGHTGBM_ROUNDS, valid_sets=[stopping], callbacks=stop))
    best = min(boosters, key=lambda booster: float(booster.best_score["valid_0"]["binary_logloss"]))
    return [np.asarray(best.predict(feature_matrix(rows))) if len(rows) else np.zeros(0) for rows in others]


def feature_matrix(rows: Examples) -> NDArray[np.float64]:
    """(N, n + m) numbers and category codes side by side."""
    return np.concatenate(
        [rows.inputs[name] for name in (NUMERIC, CATEGORICAL) if name in rows.inputs], axis=1, dtype=np.float64
    )
