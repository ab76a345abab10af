"""Bootstrap intervals: against metrics of repeated rows, and against known standard errors."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.bootstrap import (
    ClusterBootstrap,
    bootstrap_binary_metrics,
    bootstrap_regression_metrics,
    percentile_interval,
)
from training.evaluation.metrics import SortedLabels, binary_metrics

RANDOM = np.random.default_rng(0)
P = RANDOM.beta(1, 3, 400).round(2)  # with ties
Y = (RANDOM.random(400) < P).astype(float)


def test_a_resample_has_the_metrics_of_repeated_rows() -> None:
    bootstrap = ClusterBootstrap.from_groups(len(Y), resamples=40, seed=3)
    result = bootstrap_binary_metrics(Y, {"model": P}, 0.3, bootstrap)
    written_out = [binary_metrics(np.repeat(Y, times.astype(int)), np.repeat(P, times.astype(int)), 0.3) for times in bootstrap]
    for name in written_out[0]:
        low, high = np.quantile([float(one[name] or 0.0) for one in written_out], [0.025, 0.975])
        assert result["test"][name] == pytest.approx((low, high), rel=1e-6), name


def test_the_interval_of_a_mean_agrees_with_its_standard_error() -> None:
    low, high = bootstrap_binary_metrics(Y, {"model": P}, 0.3, ClusterBootstrap.from_groups(len(Y), resamples=600))["test"][
        "log_loss"
    ]
    losses = -(Y * np.log(np.clip(P, 1e-7, 1)) + (1 - Y) * np.log(1 - P))
    expected = 2 * 1.96 * losses.std() / np.sqrt(len(Y))
    assert high - low == pytest.approx(expected, rel=0.15)
    assert low < losses.mean() < high


def test_rows_of_a_user_are_drawn_together() -> None:
    """Five copies of every row hold no more information than the table."""
    users = np.repeat(np.arange(len(Y)), 5)
    alone = bootstrap_binary_metrics(Y, {"model": P}, 0.3, ClusterBootstrap.from_groups(len(Y), seed=1))
    together = bootstrap_binary_metrics(
        np.repeat(Y, 5), {"model": np.repeat(P, 5)}, 0.3, ClusterBootstrap.from_groups(len(users), users, seed=1)
    )
    apart = bootstrap_binary_metrics(
        np.repeat(Y, 5), {"model": np.repeat(P, 5)}, 0.3, ClusterBootstrap.from_groups(len(users), seed=1)
    )
    assert together["users"] == len(Y)
    assert together["test"]["auc"] == pytest.approx(alone["test"]["auc"], abs=1e-9)
    widths = [high - low for low, high in (together["test"]["auc"], apart["test"]["auc"])]
    assert widths[1] < 0.6 * widths[0]


def test_a_paired_difference_has_a_narrower_interval_and_is_positive_for_the_better_model() -> None:
    worse = np.clip(P + RANDOM.normal(0, 0.3, len(P)), 0.01, 0.99)
    result = bootstrap_binary_metrics(Y, {"model": P, "other": worse, "same": P}, 0.3, ClusterBootstrap.from_groups(len(Y)))
    others = bootstrap_binary_metrics(Y, {"model": worse}, 0.3, ClusterBootstrap.from_groups(len(Y)))["test"]
    for metric in ("auc", "log_loss"):
        low, high = result["ahead_of"]["other"][metric]
        own, its = result["test"][metric], others[metric]
        assert 0 < low < high < low + np.hypot(own[1] - own[0], its[1] - its[0])
        assert result["ahead_of"]["same"][metric] == pytest.approx((0, 0), abs=1e-12)


def test_weights_count_rows() -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    weight = RANDOM.integers(0, 4, len(Y)).astype(float)
    ranked = SortedLabels.by_probability(Y, P)
    assert ranked.auc(weight) == pytest.approx(roc_auc_score(Y, P, sample_weight=weight))
    assert ranked.average_precision(weight) == pytest.approx(average_precision_score(Y, P, sample_weight=weight))
    heavy = bootstrap_binary_metrics(Y, {"model": P}, 0.3, ClusterBootstrap.from_groups(len(Y)), weight + 1)
    repeated = np.repeat(np.arange(len(Y)), (weight + 1).astype(int))
    users = ClusterBootstrap.from_groups(len(repeated), repeated)
    assert heavy["test"] == {
        name: pytest.approx(pair, abs=1e-6)
        for name, pair in bootstrap_binary_metrics(Y[repeated], {"model": P[repeated]}, 0.3, users)["test"].items()
    }


def test_a_metric_missing_in_most_resamples_has_no_interval() -> None:
    one_class = bootstrap_binary_metrics(np.zeros(50), {"model": np.full(50, 0.2)}, 0.5, ClusterBootstrap.from_groups(50))
    assert one_class["test"]["auc"] is None
    assert one_class["test"]["predicted_to_observed"] is None
    assert one_class["test"]["log_loss"] == pytest.approx((-np.log(0.8),) * 2)
    assert bootstrap_binary_metrics(np.zeros(0), {"model": np.zeros(0)}, 0.5, ClusterBootstrap.from_groups(0)) == {}
    assert percentile_interval([np.nan] * 2 + [1.0] * 8) is None
    assert percentile_interval([1.0] * 5) == (1.0, 1.0)


def test_intervals_of_regression_metrics() -> None:
    actual = RANDOM.gamma(1.0, 10.0, 500)
    predicted = actual + RANDOM.normal(0, 5, 500)
    result = bootstrap_regression_metrics(actual, predicted, ClusterBootstrap.from_groups(500))["test"]
    for name, value in {
        "mae": np.abs(actual - predicted).mean(),
        "rmse": np.sqrt(np.square(actual - predicted).mean()),
        "correlation": np.corrcoef(actual, predicted)[0, 1],
    }.items():
        low, high = result[name]
        assert low < value < high < 1.3 * low, name
    assert bootstrap_regression_metrics(actual, np.zeros(500), ClusterBootstrap.from_groups(500))["test"]["correlation"] is None
