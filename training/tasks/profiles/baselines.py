"""Baselines of the profile targets: the same features, the same cuts, the same rows as the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.encoder import TableEncoder
from training.baselines import BASELINES, binary_baselines, feature_matrix
from training.fitting import Examples
from training.tasks.profiles.labels import bought_within, horizon_share
from training.tasks.profiles.samples import Sample
from training.tasks.profiles.targets import ProfileTargets, mean_orders

LABEL: Final = "label"
DENSE_SECONDS: Final = 60.0  # training time limit of the dense network
_RECENT_DAYS: Final = 91.0
_MIN_ROWS: Final = 50
_HELD_OUT_SHARE: Final = 0.2

Rows = tuple[Sample, Examples]
Predictions = dict[str, NDArray[np.float64]]


def purchase_baselines(
    encoder: TableEncoder,
    targets: ProfileTargets,
    train: Rows,
    valid: Rows,
    test: Rows,
    days: int,
    seed: int,
    names: Sequence[str] = BASELINES,
) -> tuple[dict[str, list[NDArray[np.float64]]], int]:
    """P(buys within `days`) of each baseline, on the validation and the test rows; and the days that it was trained for.

    Only training rows whose label windows cover the days are used. Where too few do, the baselines learn the longest interval
    that enough rows cover. Where no validation row covers it, a fifth of the training users is held out for early stopping.
    """
    trained_days = _longest_learnable(train[0], targets, days)
    labels, observed = bought_within(train[0].labels, targets.days, trained_days)
    valid_labels, valid_observed = bought_within(valid[0].labels, targets.days, trained_days)
    if valid_observed.any():
        fit_rows, stopping = observed, _labelled(valid[1], valid_labels, valid_observed)
    else:
        held_out = np.random.default_rng(seed).random(int(train[0].user.max()) + 1)[train[0].user] < _HELD_OUT_SHARE
        fit_rows, stopping = observed & ~held_out, _labelled(train[1], labels, observed & held_out)
    fitting, others = _labelled(train[1], labels, fit_rows), [valid[1], test[1]]
    predictions = binary_baselines(
        encoder, fitting, stopping, others, target=LABEL, seed=seed, budget=DENSE_SECONDS, names=names
    )
    predictions["recency_frequency"] = recency_frequency(train[0].take(fit_rows), fitting.targets[LABEL], [valid[0], test[0]])
    return predictions, trained_days


def recency_frequency(train: Sample, labels: NDArray[Any], others: Sequence[Sample]) -> list[NDArray[np.float64]]:
    """Logistic regression on the logarithms of recency and frequency, their squares and their product."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(labels)) < 2:
        return [np.full(len(rows), float(np.mean(labels))) for rows in others]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(_recency_frequency(train), labels)
    return [model.predict_proba(_recency_frequency(rows))[:, 1] for rows in others]


def _recency_frequency(rows: Sample) -> NDArray[np.float64]:
    """Days since the last purchase (without one: since the first event, doubled) and number of orders."""
    recency = rows.columns["recency_purchase_days"].astype(np.float64)
    recency = np.where(np.isnan(recency), 2 * rows.columns["tenure_days"], recency)
    r, f = np.log1p(np.nan_to_num(recency)), np.log1p(rows.columns["orders"].astype(np.float64))
    return np.stack([r, f, r * r, f * f, r * f], axis=1)


def spend_baselines(train: Rows, test: Rows, targets: ProfileTargets, seed: int) -> Predictions:
    """Expected spend up to the horizon: the mean, the recent spend, and LightGBM with Tweedie loss."""
    import lightgbm as lgb

    sample, examples = train
    exposure = horizon_share(sample.labels, targets.horizon).astype(np.float64)
    actual = np.maximum(sample.labels.spend.astype(np.float64), 0.0)
    parameters = {"objective": "tweedie", "verbosity": -1, "num_threads": 2, "deterministic": True, "seed": seed}
    data = lgb.Dataset(feature_matrix(examples), actual / exposure, weight=exposure, params=parameters)
    booster = lgb.train(parameters, data, num_boost_round=100)
    return {
        "mean": np.full(len(test[0]), actual.sum() / exposure.sum()),
        "spent_lately": _recent_rate(test[0], "monetary_91d") * targets.horizon,
        "lightgbm": np.asarray(booster.predict(feature_matrix(test[1]))),
    }


def orders_baselines(train: Sample, test: Sample, targets: ProfileTargets) -> Predictions:
    """Expected orders up to the horizon: the mean, the recent rate, and the Pareto/NBD mixture alone."""
    predictions = {
        "mean": np.full(len(test), mean_orders(train, targets)),
        "ordered_lately": _recent_rate(test, "orders_91d") * targets.horizon,
    }
    if targets.customer_base is not None:
        orders = targets.customer_base.mixture.expected_orders(test.columns, [targets.horizon])[1]
        predictions["buy_till_they_leave"] = orders[:, 0]
    return predictions


def _recent_rate(rows: Sample, column: str) -> NDArray[np.float64]:
    """(N,) a day, of a sum over the last 91 days, or over the user's tenure where that is shorter."""
    days = np.clip(rows.columns["tenure_days"].astype(np.float64), 1.0, _RECENT_DAYS)
    return np.asarray(np.maximum(rows.columns[column].astype(np.float64), 0.0) / days)


def category_baselines(train: Sample, test: Sample, targets: ProfileTargets) -> Predictions:
    """Scores (N, C) of the next basket's categories: by frequency, and the user's preferred one first."""
    counts = train.baskets.sum(axis=0, dtype=np.float64)
    popular = np.tile(counts / max(counts.sum(), 1.0), (len(test), 1))
    index_of = {category: index for index, category in enumerate(targets.categories)}
    preferred = popular.copy()
    for row, category in enumerate(test.columns["preferred_category"].tolist()):
        if category in index_of:
            preferred[row, index_of[category]] += 1.0
    return {"most_frequent": popular, "preferred_category": preferred / preferred.sum(axis=1, keepdims=True)}


def _longest_learnable(train: Sample, targets: ProfileTargets, days: int) -> int:
    """`days`, or the longest interval before it that enough training rows cover, with both classes among them."""
    for candidate in sorted((d for d in targets.days if d <= days), reverse=True):
        labels, observed = bought_within(train.labels, targets.days, candidate)
        if observed.sum() >= _MIN_ROWS and 0 < labels[observed].sum() < observed.sum():
            return candidate
    return days if bought_within(train.labels, targets.days, days)[1].any() else targets.days[0]


def _labelled(examples: Examples, labels: NDArray[np.float32], rows: NDArray[np.bool_]) -> Examples:
    return Examples({name: values[rows] for name, values in examples.inputs.items()}, {LABEL: labels[rows]})
