"""What the profile network is measured against: the same features, the same cuts, the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.encoder import TableEncoder
from training.baselines.binary import NAMES, binary_baselines
from training.fitting import Examples
from training.tasks.profiles.examples import Sample
from training.tasks.profiles.labels import bought_within, orders_seen
from training.tasks.profiles.lifetimes import expected_orders
from training.tasks.profiles.model import ProfileTargets

LABEL: Final = "label"
BUDGET: Final = 60.0  # seconds of the dense network
_LEAST_ROWS: Final = 50
_HELD_OUT: Final = 0.2

Answers = dict[str, NDArray[np.float64]]


def purchase_baselines(
    encoder: TableEncoder,
    targets: ProfileTargets,
    train: tuple[Sample, Examples],
    valid: tuple[Sample, Examples],
    judged: tuple[Sample, Examples],
    days: int,
    seed: int,
    names: Sequence[str] = NAMES,
) -> tuple[dict[str, list[NDArray[np.float64]]], int]:
    """P(buys within `days`) by each baseline, on the validation and the judged rows; and the days it was trained for.

    Training rows are those whose windows were long enough. Where too few were, the baselines learn the longest of the
    network's intervals that enough rows saw. Where no validation row saw it, a fifth of the users is held out instead: the
    dense network and LightGBM need rows to stop by.
    """
    learnt = _learnable(train[0], targets, days)
    rows, known = bought_within(train[0].labels, targets.days, learnt)
    valid_rows, valid_known = bought_within(valid[0].labels, targets.days, learnt)
    if valid_known.any():
        stop = _labelled(valid[1], valid_rows, valid_known)
        fit_rows = known
    else:
        held_out = np.random.default_rng(seed).random(int(train[0].user.max()) + 1)[train[0].user] < _HELD_OUT
        stop, fit_rows = _labelled(train[1], rows, known & held_out), known & ~held_out
    fitting = _labelled(train[1], rows, fit_rows)
    others = [valid[1], judged[1]]
    found = binary_baselines(encoder, fitting, stop, others, target=LABEL, seed=seed, budget=BUDGET, names=names)
    found["recency_frequency"] = recency_frequency(train[0].take(fit_rows), fitting.targets[LABEL], [valid[0], judged[0]])
    return found, learnt


def recency_frequency(train: Sample, labels: NDArray[Any], others: Sequence[Sample]) -> list[NDArray[np.float64]]:
    """Logistic regression on the logarithms of recency and frequency, their squares and their product."""
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) < 2:
        return [np.full(len(rows), float(np.mean(labels))) for rows in others]
    first = _recency_frequency(train)
    mean, deviation = first.mean(axis=0), np.maximum(first.std(axis=0), 1e-9)
    model = LogisticRegression(max_iter=500).fit((first - mean) / deviation, labels)
    return [model.predict_proba((_recency_frequency(rows) - mean) / deviation)[:, 1] for rows in others]


def _recency_frequency(rows: Sample) -> NDArray[np.float64]:
    """Days since the last purchase (who never bought: since the first event, doubled) and number of orders."""
    recency = rows.columns["recency_purchase_days"].astype(np.float64)
    recency = np.where(np.isnan(recency), 2 * rows.columns["tenure_days"], recency)
    r, f = np.log1p(np.nan_to_num(recency)), np.log1p(rows.columns["orders"].astype(np.float64))
    return np.stack([r, f, r * r, f * f, r * f], axis=1)


def spend_baselines(
    train: tuple[Sample, Examples], judged: tuple[Sample, Examples], targets: ProfileTargets, seed: int
) -> Answers:
    """Expected spend up to the horizon: the mean, what was spent lately, LightGBM (Tweedie)."""
    import lightgbm as lgb

    sample, examples = train
    exposure = np.minimum(1.0, sample.labels.seen_days / targets.horizon).astype(np.float64)
    actual = np.maximum(sample.labels.spend.astype(np.float64), 0.0)
    recent = judged[0].columns["monetary_91d"].astype(np.float64)
    days = np.clip(judged[0].columns["tenure_days"].astype(np.float64), 1.0, 91.0)
    settings = {"objective": "tweedie", "verbosity": -1, "num_threads": 2, "deterministic": True, "seed": seed}
    data = lgb.Dataset(_matrix(examples), actual / exposure, weight=exposure, params=settings)
    booster = lgb.train(settings, data, num_boost_round=100)
    return {
        "mean": np.full(len(judged[0]), actual.sum() / exposure.sum()),
        "spent_lately": np.maximum(recent, 0.0) * targets.horizon / days,
        "lightgbm": np.asarray(booster.predict(_matrix(judged[1]))),
    }


def orders_baselines(train: Sample, judged: Sample, targets: ProfileTargets) -> Answers:
    """Expected orders up to the horizon: as many a day as training saw, as many as lately, and the mixture alone (which is
    the Pareto/NBD model with another distribution of customers)."""
    seen = orders_seen(train.labels, targets.days)
    days = np.append(np.asarray(targets.days, np.float64), 0.0)[seen[:, 1].astype(int)]
    lately = judged.columns["orders_91d"].astype(np.float64)
    tenure = np.clip(judged.columns["tenure_days"].astype(np.float64), 1.0, 91.0)
    found = {
        "mean": np.full(len(judged), seen[:, 0].sum() / max(days.sum(), 1.0) * targets.horizon),
        "ordered_lately": lately * targets.horizon / tenure,
    }
    if targets.lifetimes is not None:
        found["buy_till_they_leave"] = expected_orders(judged.columns, targets.lifetimes.mixture, [targets.horizon])[1][:, 0]
    return found


def category_baselines(train: Sample, judged: Sample, targets: ProfileTargets) -> dict[str, NDArray[np.float64]]:
    """Scores (N, C) of the next basket's categories: how frequent each is, and the user's preferred one first."""
    popular = train.baskets.sum(axis=0, dtype=np.float64)
    popular = np.tile(popular / max(popular.sum(), 1.0), (len(judged), 1))
    place = {word: index for index, word in enumerate(targets.categories)}
    preferred = popular.copy()
    for row, word in enumerate(judged.columns["preferred_category"].tolist()):
        if word in place:
            preferred[row, place[word]] += 1.0
    return {"most_frequent": popular, "preferred_category": preferred / preferred.sum(axis=1, keepdims=True)}


def _learnable(train: Sample, targets: ProfileTargets, days: int) -> int:
    """`days`, or the longest of the intervals before it that enough training rows saw with both outcomes."""
    for candidate in sorted((d for d in targets.days if d <= days), reverse=True):
        rows, known = bought_within(train.labels, targets.days, candidate)
        if known.sum() >= _LEAST_ROWS and 0 < rows[known].sum() < known.sum():
            return candidate
    return days if len(train) and bought_within(train.labels, targets.days, days)[1].any() else targets.days[0]


def _matrix(examples: Examples) -> NDArray[np.float64]:
    return np.concatenate([values.astype(np.float64) for values in examples.inputs.values()], axis=1)


def _labelled(examples: Examples, labels: NDArray[np.float32], rows: NDArray[np.bool_]) -> Examples:
    chosen = np.flatnonzero(rows)
    return Examples({name: values[chosen] for name, values in examples.inputs.items()}, {LABEL: labels[chosen]})
