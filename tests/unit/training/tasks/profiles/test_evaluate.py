"""Metrics of the profile targets, base rates and the simple baselines, on rows small enough to count."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras")

from personalization.core.encoder import Column, TableEncoder
from tests.profile_samples import sample_of
from training.fitting import Examples
from training.tasks.profiles.baselines import category_baselines, recency_frequency, spend_baselines
from training.tasks.profiles.evaluate import ProfilesEvaluator
from training.tasks.profiles.samples import Sample
from training.tasks.profiles.targets import ProfileTargets, base_rates, encode_sample

DAYS = (7, 14, 30, 90)
EVENTS = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
ENCODER = TableEncoder((Column("orders", "numeric"),))


def rows(**options: Any) -> Sample:
    return sample_of({"orders": [4.0, 3.0, 2.0, 1.0]}, event=EVENTS, **options)


def targets(**changes: Any) -> ProfileTargets:
    options = {"days": DAYS, "observed": 4, "horizon": 14, "categories": (), "spend_scale": 0.0, "users": 4}
    return ProfileTargets(**(options | changes))


def evaluate_rows(sample: Sample, outputs: dict[str, Any], what: ProfileTargets | None = None) -> dict[str, Any]:
    what = what or targets()
    examples = encode_sample(ENCODER, sample, what)
    both = {name: np.asarray(values, np.float32) for name, values in outputs.items()}
    part = (sample, examples)
    evaluator = ProfilesEvaluator(ENCODER, what, 90, part, part, part, (both, both), seed=0, with_baselines=False)
    return evaluator.evaluate().metrics


WITHIN = [[0.5, 0.9, 0.95, 0.99], [0.4, 0.8, 0.9, 0.95], [0.2, 0.3, 0.6, 0.7], [0.1, 0.4, 0.5, 0.6]]


def test_the_headline_is_buying_within_the_horizon_and_churn_is_not_buying_within_the_churn_horizon() -> None:
    metrics = evaluate_rows(rows(), {"probability_within": WITHIN})
    test = metrics["test"]
    assert test == metrics["targets"]["buys_within_14"]["test"]
    # Bought within 14 days: yes, yes, no, no; said .9, .8, .3, .4: every pair is in order.
    assert test["auc"] == 1.0
    assert test["log_loss"] == pytest.approx(-sum(map(math.log, (0.9, 0.8, 0.7, 0.6))) / 4, rel=1e-5)
    assert (test["rate"], test["mean_probability"]) == (0.5, pytest.approx(0.6))
    churn = metrics["targets"]["churn"]["test"]
    assert churn["rate"] == 0.25
    assert churn["log_loss"] == pytest.approx(-sum(map(math.log, (0.99, 0.95, 0.7, 0.4))) / 4, rel=1e-5)


def test_predicted_and_observed_shares_of_buyers_by_interval() -> None:
    intervals = evaluate_rows(rows(), {"probability_within": WITHIN})["intervals"]
    assert [i["observed"] for i in intervals] == [0.25, 0.5, 0.75, 0.75]
    assert [round(i["predicted"], 4) for i in intervals] == [0.3, 0.6, 0.7375, 0.81]


def test_a_target_that_no_row_covers_has_no_metrics() -> None:
    metrics = evaluate_rows(rows(observed_days=30.0), {"probability_within": WITHIN})
    assert metrics["targets"]["churn"]["test"] is None
    assert "observed for 90 days" in metrics["targets"]["churn"]["note"]
    assert metrics["intervals"][3]["observed"] is None
    assert metrics["test"]["auc"] == 1.0


def test_spend_metrics_are_over_the_horizon() -> None:
    outputs = {"probability_within": WITHIN, "expected_spend": [10.0, 0.0, 4.0, 2.0]}
    result = evaluate_rows(rows(spend=[8.0, 0.0, 0.0, 4.0]), outputs, targets(spend_scale=6.0))["targets"]["expected_spend"][
        "test"
    ]
    assert (result["mae"], result["rmse"]) == (pytest.approx(2.0), pytest.approx(math.sqrt((4 + 0 + 16 + 4) / 4)))
    assert (result["mean"], result["mean_predicted"]) == (3.0, 4.0)


def test_a_predicted_category_is_right_when_the_basket_contains_it() -> None:
    baskets = [[True, True, False, False], [False, False, True, False], [False, False, False, True], [False] * 4]
    predicted = [[0.4, 0.3, 0.2, 0.1], [0.5, 0.3, 0.15, 0.05], [0.4, 0.3, 0.2, 0.1], [0.25] * 4]
    what = targets(categories=("tea", "cups", "pots", "jars"))
    result = evaluate_rows(rows(baskets=baskets), {"probability_within": WITHIN, "next_category": predicted}, what)
    test = result["targets"]["next_category"]["test"]
    assert test["users"] == 3  # the fourth bought nothing
    assert test["accuracy"] == pytest.approx(1 / 3)
    assert test["accuracy_in_3"] == pytest.approx(2 / 3)
    losses = [-(math.log(0.4) + math.log(0.3)) / 2, -math.log(0.15), -math.log(0.1)]
    assert test["log_loss"] == pytest.approx(sum(losses) / 3, rel=1e-5)


def test_base_rates_are_the_shares_of_the_training_rows() -> None:
    baskets = [[True, True], [True, False], [True, False], [False, False]]
    sample = rows(spend=[8.0, 0.0, 0.0, 4.0], baskets=baskets)
    result = base_rates(sample, targets(spend_scale=6.0, categories=("tea", "cups")))
    # One of four in the first interval, one of the three left in the second, one of two in the third, none of one after.
    np.testing.assert_allclose(result["probability_within"], [0.25, 0.5, 0.75, 0.75], atol=1e-6)
    assert result["expected_spend"] == 3.0
    assert result["next_category"].tolist() == [0.75, 0.25]


def test_base_rates_continue_with_the_last_observed_daily_hazard() -> None:
    result = base_rates(rows(), targets(observed=2))
    # Of those left after a week a third bought in the second one; the 16 days after go on like those 7.
    daily = -math.log(1 - 1 / 3) / 7
    expected = [0.25, 0.5, 1 - 0.5 * math.exp(-16 * daily), 1 - 0.5 * math.exp(-76 * daily)]
    np.testing.assert_allclose(result["probability_within"], expected, rtol=1e-5)


def test_targets_need_enough_training_labels() -> None:
    columns = {"orders": np.arange(400.0).tolist()}
    event = np.zeros((400, 4))
    event[:100, 0] = event[100:150, 1] = event[150:155, 2] = 1  # 5 in the third interval are too few to learn from
    sample = sample_of(columns, event=event.tolist(), spend=[20.0] * 100 + [0.0] * 300)
    result = ProfileTargets.from_sample(sample, DAYS, 14, ["tea"])
    assert (result.observed, result.spend_scale, result.categories) == (2, 20.0, ())
    assert result.max_probability_gap == 1 / 402


def test_the_recency_frequency_baseline_separates_active_from_lost_users() -> None:
    recency = np.tile([1.0, 2.0, 50.0, 60.0], 25)
    orders = np.tile([9.0, 7.0, 2.0, 1.0], 25)
    columns = {"recency_purchase_days": recency.tolist(), "orders": orders.tolist(), "tenure_days": [90.0] * 100}
    (predicted,) = recency_frequency(sample_of(columns), np.tile([1, 1, 0, 0], 25), [sample_of(columns)])
    assert predicted[:2].min() > 0.9
    assert predicted[2:4].max() < 0.1


def test_baselines_of_spend_and_category() -> None:
    columns = {"orders": [1.0] * 40, "monetary_91d": [91.0] * 40, "tenure_days": [200.0] * 39 + [45.5]}
    columns["preferred_category"] = ["pots"] + ["jars"] * 39  # type: ignore[assignment,list-item]
    baskets = [[True, False]] * 30 + [[False, True]] * 10
    sample = sample_of(columns, spend=[7.0] * 40, baskets=baskets)
    what = targets(spend_scale=7.0, categories=("tea", "pots"))
    part = (sample, Examples({"numeric": np.ones((40, 1), np.float32)}, {}))
    spend = spend_baselines(part, part, what, seed=0)
    assert spend["mean"].tolist() == [7.0] * 40
    # 91 in 91 days is 14 a fortnight; the last one has been there for 45.5 days only.
    assert spend["spent_lately"][[0, 39]].tolist() == [14.0, 28.0]
    np.testing.assert_allclose(spend["lightgbm"], 7.0, rtol=1e-3)
    category = category_baselines(sample, sample, what)
    np.testing.assert_allclose(category["most_frequent"][0], [0.75, 0.25])
    np.testing.assert_allclose(category["preferred_category"][0], [0.375, 0.625])
    np.testing.assert_allclose(category["preferred_category"][1], [0.75, 0.25])
