"""The heads of the profile network against numpy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from training.networks.hazard import HazardCurve, probability_within  # noqa: E402
from training.tasks.profiles.heads import CategoryHead, HazardHead, OrdersHead, SpendHead  # noqa: E402

DAYS = (7, 14, 30, 90)


def as_numpy(value: Any) -> np.ndarray[Any, Any]:
    return np.asarray(keras.ops.convert_to_numpy(value), dtype=np.float64)


def hazard_loss(log_hazards: list[float], exposure: list[float], event: list[int]) -> float:
    """One row, one member, as a sum that is written out."""
    total = 0.0
    for eta, seen, happened in zip(log_hazards, exposure, event, strict=True):
        survival = math.exp(-seen * math.exp(eta))
        total += -math.log(1 - survival) if happened else -math.log(survival)
    return total


@pytest.mark.parametrize(
    ("exposure", "event"),
    [
        ([1, 1, 1, 1], [0, 0, 0, 0]),
        ([1, 1, 0, 0], [0, 1, 0, 0]),
        ([1, 1, 0.25, 0], [0, 0, 0, 0]),
        ([1, 1, 0.25, 0], [0, 0, 1, 0]),
        ([0, 0, 0, 0], [0, 0, 0, 0]),
    ],
)
def test_the_hazard_loss_is_the_likelihood_of_the_observed_time(exposure: list[float], event: list[int]) -> None:
    head = HazardHead(DAYS)
    log_hazards = [-0.5, 0.3, -1.2, 0.1]
    target = np.array([exposure + event], np.float32)
    loss = as_numpy(head.loss(target, np.array([[log_hazards]], np.float32)))
    np.testing.assert_allclose(loss, [hazard_loss(log_hazards, exposure, event)], rtol=1e-5)


def test_the_loss_is_the_mean_over_members() -> None:
    head = HazardHead((7,))
    target = np.array([[1.0, 1.0]], np.float32)
    raw = np.array([[[-1.0], [0.5]]], np.float32)
    expected = (hazard_loss([-1.0], [1], [1]) + hazard_loss([0.5], [1], [1])) / 2
    np.testing.assert_allclose(as_numpy(head.loss(target, raw)), [expected], rtol=1e-5)


def test_gradients_stay_finite_for_rows_without_exposure_and_for_extreme_hazards() -> None:
    import tensorflow as tf

    head = HazardHead((7, 14))
    target = tf.constant([[0, 0, 0, 0], [1, 0, 1, 0], [1, 1, 0, 0]], tf.float32)
    for extreme in (-40.0, 0.0, 40.0):
        raw = tf.Variable(np.full((3, 1, 2), extreme, np.float32))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(head.loss(target, raw))
        assert math.isfinite(float(loss))
        assert np.isfinite(as_numpy(tape.gradient(loss, raw))).all()


def test_probabilities_rise_with_the_days_and_stay_below_one() -> None:
    log_hazards = np.random.default_rng(0).normal(scale=6, size=(200, 4)).astype(np.float32)
    within = as_numpy(probability_within(log_hazards, HazardCurve(np.zeros(0, np.float32), max_probability_gap=0.01)))
    assert (np.diff(within, axis=1) >= 0).all()
    assert within.min() >= 0
    assert within.max() == pytest.approx(0.99, abs=1e-6)


def test_the_probability_within_two_intervals_multiplies_their_survival() -> None:
    within = as_numpy(probability_within(np.log([[0.2, 0.5]]).astype(np.float32), HazardCurve(np.zeros(0, np.float32))))
    np.testing.assert_allclose(within, [[1 - math.exp(-0.2), 1 - math.exp(-0.2) * math.exp(-0.5)]], rtol=1e-6)


def test_unobserved_intervals_continue_with_the_last_daily_hazard() -> None:
    head = HazardHead(DAYS, observed=2)
    assert head.size == 2
    log_hazards = np.log([[0.14, 0.07]]).astype(np.float32)  # 0.02 a day in the first week, 0.01 a day in the second
    within = as_numpy(probability_within(log_hazards, head.curve))
    risk = [0.14, 0.21, 0.21 + 16 * 0.01, 0.21 + 76 * 0.01]
    np.testing.assert_allclose(within, [[1 - math.exp(-r) for r in risk]], rtol=1e-5)


def build(heads: list[Any]) -> Any:
    """A network of heads on two hidden units of one member, served for one input."""
    hidden = keras.Input((1, 2), name="hidden")
    raw = {head.name: head.raw(hidden) for head in heads}
    served = {}
    for head in heads:
        served |= head.outputs(head.merged(hidden))
    return keras.Model(hidden, raw), keras.Model(hidden, served)


def test_expected_spend_is_the_probability_of_buying_times_what_a_buyer_spends() -> None:
    hazard = HazardHead(DAYS)
    spend = SpendHead(hazard, interval=1, scale=50.0)
    raw_model, served_model = build([hazard, spend])
    hidden = np.array([[[0.4, -0.3]], [[1.5, 0.2]]], np.float32)
    raw = {name: as_numpy(value) for name, value in raw_model(hidden).items()}
    served = {name: as_numpy(value) for name, value in served_model(hidden).items()}
    within = 1 - np.exp(-np.exp(raw["purchase"][:, 0, :2]).sum(axis=1))
    np.testing.assert_allclose(served["probability_within"][:, 1], within, rtol=1e-5)
    np.testing.assert_allclose(served["expected_spend"], within * 50.0 * np.exp(raw["spend"][:, 0, 0]), rtol=1e-5)
    spend.level.assign(100.0)
    np.testing.assert_allclose(as_numpy(served_model(hidden)["expected_spend"]), 2 * served["expected_spend"], rtol=1e-5)


def test_the_spend_loss_is_lowest_at_the_mean_of_a_partly_observed_horizon() -> None:
    hazard = HazardHead((7, 14))
    spend = SpendHead(hazard, interval=1, scale=10.0)
    log_hazards = [0.0, 0.0]
    bought = 1 - math.exp(-2.0)
    # Half of the horizon was seen, with nothing in two rows and 30 in the third: the mean of a whole one is 20.
    target = np.array([[0, 0.5], [0, 0.5], [30, 0.5]], np.float32)

    def loss(mean: float) -> float:
        given = math.log(mean / 10.0 / bought)
        return float(as_numpy(spend.loss(target, np.array([[[given, *log_hazards]]] * 3, np.float32))).sum())

    means = np.linspace(12, 28, 161)
    assert means[np.argmin([loss(mean) for mean in means])] == pytest.approx(20.0, abs=0.11)


def test_expected_orders_are_the_probability_of_buying_times_one_and_more() -> None:
    hazard = HazardHead(DAYS, observed=3)
    orders = OrdersHead(hazard, interval=1)
    raw_model, served_model = build([hazard, orders])
    hidden = np.array([[[0.4, -0.3]], [[1.5, 0.2]]], np.float32)
    raw = {name: as_numpy(value) for name, value in raw_model(hidden).items()}
    served = {name: as_numpy(value) for name, value in served_model(hidden).items()}
    assert raw["orders"].shape == (2, 1, 4 + 3)
    more = np.exp(raw["orders"][:, 0, 1])
    np.testing.assert_allclose(served["expected_orders"], served["probability_within"][:, 1] * (1 + more), rtol=1e-5)


def test_the_orders_loss_is_lowest_at_the_mean_of_the_longest_observed_interval() -> None:
    orders = OrdersHead(HazardHead((7, 14)), interval=1)
    log_hazards = [0.0, -0.5]
    within = 1 - math.exp(-1.0)  # up to the end of the first interval
    target = np.array([[0, 0], [1, 0], [5, 0], [9, -1]], np.float32)  # the last was not seen for a week: it does not count

    def loss(mean: float) -> float:
        more = math.log(mean / within - 1)
        return float(as_numpy(orders.loss(target, np.array([[[more, more, *log_hazards]]] * 4, np.float32))).sum())

    means = np.linspace(1.0, 4.0, 301)
    assert means[np.argmin([loss(mean) for mean in means])] == pytest.approx(2.0, abs=0.011)


def test_a_net_return_counts_as_nothing_spent() -> None:
    spend = SpendHead(HazardHead((7,)), interval=0, scale=10.0)
    raw = np.zeros((1, 1, 2), np.float32)
    returned, nothing = (as_numpy(spend.loss(np.array([[value, 1.0]], np.float32), raw)) for value in (-5.0, 0.0))
    assert returned == nothing


def test_the_category_loss_is_the_cross_entropy_and_rows_without_a_basket_have_none() -> None:
    head = CategoryHead(3)
    logits = [0.2, -1.0, 0.7]
    total = sum(math.exp(logit) for logit in logits)
    target = np.array([[0.5, 0, 0.5], [0, 0, 0]], np.float32)
    loss = as_numpy(head.loss(target, np.array([[logits], [logits]], np.float32)))
    expected = -0.5 * math.log(math.exp(0.2) / total) - 0.5 * math.log(math.exp(0.7) / total)
    np.testing.assert_allclose(loss, [expected, 0.0], rtol=1e-5)


def test_the_preferred_category_has_a_direct_path_to_each_next_category() -> None:
    head = CategoryHead(2, preferred=0, codes=3)
    codes = keras.Input((1,), name="categorical", dtype="int64")
    hidden = keras.Input((1, 2), name="hidden")
    head.connect({"categorical": codes})
    model = keras.Model([codes, hidden], {"raw": head.raw(hidden), "merged": head.merged(hidden)})
    table = next(layer for layer in model.layers if layer.name == "category_shortcut")
    inputs = [np.array([[2], [0]]), np.zeros((2, 1, 2), np.float32)]
    table.embeddings.assign(np.array([[0, 0], [1, 2], [3, 4]], np.float32))
    result = model(inputs)
    assert as_numpy(result["raw"]).tolist() == [[[3, 4]], [[0, 0]]]
    assert as_numpy(result["merged"]).tolist() == [[3, 4], [0, 0]]
