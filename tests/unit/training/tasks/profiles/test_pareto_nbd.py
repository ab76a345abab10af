"""The Pareto/NBD mixture: the layer against numpy, and numpy against simulated customers."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from training.tasks.profiles.pareto_nbd import MEAN_LOG_HAZARD, CustomerBase, ParetoNbdLayer, ParetoNbdMixture  # noqa: E402

DAYS = (7, 14, 30, 90)
KINDS = ParetoNbdMixture(np.array([0.2, 0.02, 0.05]), np.array([0.01, 0.001, 0.05]), np.array([0.2, 0.5, 0.3]))


def simulated(rate: float, leaving: float, days: float, random: np.random.Generator) -> np.ndarray:
    """Moments of one customer's orders, who ordered at 0 and is looked at for `days`."""
    stays = random.exponential(1 / leaving)
    moments = np.cumsum(random.exponential(1 / rate, 400))
    return np.concatenate([[0.0], moments[moments < min(stays, days)]])


def columns(orders: list[float], gap: list[float], since: list[float]) -> dict[str, np.ndarray]:
    return {
        "orders": np.array(orders, float),
        "order_gap_days": np.array(gap, float),
        "recency_purchase_days": np.array(since, float),
    }


def test_expectations_agree_with_simulated_customers_of_the_same_history() -> None:
    """Of many simulated customers those with one history, and what they ordered later."""
    random = np.random.default_rng(0)
    kind = random.choice(3, 60_000, p=KINDS.weight)
    later = []
    for which in kind.tolist():
        moments = simulated(KINDS.order_rate[which], KINDS.dropout_rate[which], 60 + 90, random)
        if (moments < 60).sum() == 2 and 25 <= moments[1] < 35:  # one repeat about a month ago
            later.append(((moments >= 60) & (moments < 74)).sum())
    assert len(later) > 1_000
    within, orders = KINDS.expected_orders(columns([2], [30], [30]), [14.0])
    spread = np.std(later) / np.sqrt(len(later))
    assert np.mean(later) == pytest.approx(orders[0, 0], abs=4 * spread)
    assert np.mean(np.array(later) > 0) == pytest.approx(within[0, 0], abs=4 * np.sqrt(0.25 / len(later)))


def test_the_layer_agrees_with_numpy() -> None:
    table = columns([0, 1, 2, 40, 300], [np.nan, np.nan, 30, 5, 0.2], [np.nan, 200, 30, 3, 40])
    numeric = np.stack([np.full(5, 9.0), table["recency_purchase_days"], table["orders"], table["order_gap_days"]], axis=1)
    layer = ParetoNbdLayer(CustomerBase(KINDS, (2, 3, 1)), DAYS, observed=2)
    result = np.asarray(layer(numeric.astype(np.float32)), np.float64)
    within, orders = KINDS.expected_orders(table, DAYS)
    hazard = -np.log1p(-within)
    log_hazard = np.log(np.maximum(np.diff(hazard, axis=1, prepend=0.0), 1e-7))
    np.testing.assert_allclose(result[:, :2], log_hazard[:, :2], atol=2e-3)
    np.testing.assert_allclose(result[:, 2:4], log_hazard[:, 2:] - log_hazard[:, 1:2], atol=2e-2)
    likely = within > 1e-4
    np.testing.assert_allclose(np.exp(result[:, 4:])[likely], (orders / within - 1)[likely], rtol=5e-2, atol=1e-3)
    layer.spread.assign([0.5, 0.0])
    half = np.asarray(layer(numeric.astype(np.float32)), np.float64)
    np.testing.assert_allclose(half[:, 0], (log_hazard[:, 0] + MEAN_LOG_HAZARD) / 2, atol=2e-3)
    np.testing.assert_allclose(half[:, 1], MEAN_LOG_HAZARD, atol=1e-6)
    np.testing.assert_allclose(half[:, 2:], result[:, 2:])  # further intervals and orders are told as they are


def test_the_fitted_mixture_separates_customers_who_drop_out_from_those_who_stay() -> None:
    random = np.random.default_rng(1)
    repeats, span, since = [], [], []
    for which in random.choice(2, 4_000, p=[0.4, 0.6]).tolist():
        moments = simulated((0.1, 0.1)[which], (0.05, 0.0002)[which], 300, random)
        repeats.append(len(moments) - 1.0)
        span.append(moments[-1])
        since.append(300 - moments[-1])
    result = ParetoNbdMixture.fit(np.array(repeats), np.array(span), np.array(since))
    assert result.weight.sum() == pytest.approx(1.0)
    # Of 300 days the ones leave after 20 on average, and the others hardly ever.
    assert result.weight[result.dropout_rate > 0.005].sum() == pytest.approx(0.4, abs=0.06)
    within, _ = result.expected_orders(columns([30, 3], [10, 8], [5, 280]), [30.0])
    assert within[0, 0] > 0.85
    assert within[1, 0] < 0.05
