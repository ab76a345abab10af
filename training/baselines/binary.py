"""Baselines for a binary target: base rate, logistic regression, a plain dense network, LightGBM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack

from personalization.core.encoder import TableEncoder
from training.fitting import Examples, FitOptions, fit_tabular
from training.networks.heads import BinaryHead
from training.networks.tabular import CATEGORICAL, NUMERIC, TabularConfig, build_tabular, encoder_statistics

Probabilities = NDArray[np.float64]

NAMES: Final = ("base_rate", "logistic_regression", "dense_64_32_1", "lightgbm", "lightgbm_tuned")
LIGHTGBM_ROUNDS: Final = 2_000  # an upper end: it stops 50 rounds after its best validation loss
# Of these the validation loss chooses: as it comes, smaller trees, slower with fewer rows and columns a tree, held back.
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
    names: Sequence[str] = NAMES,
) -> dict[str, list[Probabilities]]:
    """Train each baseline on `train` (where it stops early, by `valid`) and answer its probabilities on `others`.

    target   name of the 0/1 target, (N,)
    budget   seconds for the dense network
    names    which of them

    By name. Where the training rows are all of one class, every baseline is the base rate.
    """
    labels = train.targets[target]
    rate = float(np.average(labels, weights=train.weight))
    constant = [np.full(len(rows), rate) for rows in others]
    if not 0 < rate < 1:
        return dict.fromkeys(names, constant)
    made: dict[str, Callable[[], list[Probabilities]]] = {
        "base_rate": lambda: constant,
        "logistic_regression": lambda: logistic_regression(encoder, train, others, target),
        "dense_64_32_1": lambda: dense_64_32_1(encoder, train, valid, others, target, seed, budget),
        "lightgbm": lambda: lightgbm(encoder, train, valid, others, target, seed),
        "lightgbm_tuned": lambda: lightgbm_tuned(encoder, train, valid, others, target, seed),
    }
    return {name: made[name]() for name in names}


def logistic_regression(
    encoder: TableEncoder, train: Examples, others: Sequence[Examples], target: str = "label"
) -> list[Probabilities]:
    """Ridge logistic regression (C = 1) on standardised numbers, indicators of gaps and one-hot categories."""
    from sklearn.linear_model import LogisticRegression

    design = _Design(encoder, train)
    model = LogisticRegression(max_iter=500)
    model.fit(design.matrix(train), train.targets[target], sample_weight=train.weight)
    return [model.predict_proba(design.matrix(rows))[:, 1] if len(rows) else np.zeros(0) for rows in others]


class _Design:
    """Median fill, standard scaling, indicators, one-hot: learnt from the training rows."""

    def __init__(self, encoder: TableEncoder, train: Examples) -> None:
        self._cardinalities = [column.cardinality for column in encoder.categorical_columns]
        numeric = train.inputs.get(NUMERIC)
        if numeric is not None:
            known = np.where(np.isnan(numeric).all(axis=0), np.float32(0), numeric)
            self._fill = np.nanmedian(known, axis=0)
            filled = np.where(np.isnan(numeric), self._fill, numeric).astype(np.float64)
            self._mean, deviation = filled.mean(axis=0), filled.std(axis=0)
            self._deviation = np.where(deviation > 0, deviation, 1.0)
            self._gaps = np.isnan(numeric).any(axis=0)

    def matrix(self, rows: Examples) -> csr_matrix:
        parts = []
        numeric, codes = rows.inputs.get(NUMERIC), rows.inputs.get(CATEGORICAL)
        if numeric is not None:
            missing = np.isnan(numeric)
            scaled = (np.where(missing, self._fill, numeric).astype(np.float64) - self._mean) / self._deviation
            parts.append(csr_matrix(np.concatenate([scaled, missing[:, self._gaps]], axis=1)))
        if codes is not None:
            offsets = np.cumsum(self._cardinalities) - self._cardinalities
            places = (codes + offsets).reshape(-1)
            bounds = np.arange(0, places.size + 1, codes.shape[1])
            parts.append(csr_matrix((np.ones(places.size), places, bounds), shape=(len(codes), sum(self._cardinalities))))
        return csr_matrix(hstack(parts))


def dense_64_32_1(
    encoder: TableEncoder,
    train: Examples,
    valid: Examples,
    others: Sequence[Examples],
    target: str = "label",
    seed: int = 0,
    budget: float | None = None,
) -> list[Probabilities]:
    """The plain dense network, 64-32-1: scaled numbers and embeddings, no bins, no ensemble, no averaging."""
    config = TabularConfig(members=1, widths=(64, 32), bins=0, embedding=8, dropout=0.0)
    head = BinaryHead(target)
    network = build_tabular(encoder, encoder_statistics(encoder, dict(train.inputs), config, seed), (head,), config)
    options = FitOptions(seed, patience=8, learning_rate=1e-3, weight_decay=0.0, average=0.0, budget=budget)
    fit_tabular(network, _only(train, target), _only(valid, target), options)
    return [_sigmoid(network.raw(dict(rows.inputs))[target][:, 0]) if len(rows) else np.zeros(0) for rows in others]


def lightgbm(
    encoder: TableEncoder,
    train: Examples,
    valid: Examples,
    others: Sequence[Examples],
    target: str = "label",
    seed: int = 0,
) -> list[Probabilities]:
    """LightGBM with its defaults, categories as such, stopped early on the validation loss."""
    return _answers(_boosted(encoder, train, valid, target, seed), others)


def lightgbm_tuned(
    encoder: TableEncoder,
    train: Examples,
    valid: Examples,
    others: Sequence[Examples],
    target: str = "label",
    seed: int = 0,
) -> list[Probabilities]:
    """The one of a few usual settings, its defaults among them, that has the least validation loss."""
    boosters = (_boosted(encoder, train, valid, target, seed, **settings) for settings in LIGHTGBM_SETTINGS)
    return _answers(min(boosters, key=lambda booster: float(booster.best_score["valid_0"]["binary_logloss"])), others)


def _boosted(encoder: TableEncoder, train: Examples, valid: Examples, target: str, seed: int, **parameters: Any) -> Any:
    import lightgbm as lgb

    numeric_columns = len(encoder.numeric_names)
    categories = list(range(numeric_columns, numeric_columns + len(encoder.categorical_columns)))
    settings = {"objective": "binary", "metric": "binary_logloss", "verbosity": -1, "num_threads": 2}
    settings |= {"deterministic": True, "force_row_wise": True, "seed": seed} | parameters

    def data(rows: Examples) -> Any:
        return lgb.Dataset(
            _side_by_side(rows), rows.targets[target], weight=rows.weight, categorical_feature=categories, params=settings
        )

    return lgb.train(
        settings,
        data(train),
        num_boost_round=LIGHTGBM_ROUNDS,
        valid_sets=[data(valid)],
        callbacks=[lgb.early_stopping(50, verbose=False)],
    )


def _answers(booster: Any, others: Sequence[Examples]) -> list[Probabilities]:
    return [np.asarray(booster.predict(_side_by_side(rows))) if len(rows) else np.zeros(0) for rows in others]


def _side_by_side(rows: Examples) -> NDArray[np.float64]:
    parts = [rows.inputs[name].astype(np.float64) for name in (NUMERIC, CATEGORICAL) if name in rows.inputs]
    return np.concatenate(parts, axis=1)


def _only(rows: Examples, target: str) -> Examples:
    return Examples(rows.inputs, {target: rows.targets[target]}, rows.weight)


def _sigmoid(logits: NDArray[np.float32]) -> Probabilities:
    return 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
