"""Which kinds of customers a shop has: rates of buying and of leaving, fitted to histories; nothing after them is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.encoder import TableEncoder
from training.networks.lifetimes import COLUMNS, Lifetimes, Mixture

_RATES: Final = 20
_LEAVING: Final = 12
_STEPS: Final = 60  # of EM: with many more the weights gather on a few points, and customers of a kind become all alike
_MOST_ROWS: Final = 20_000
_LEAST_ROWS: Final = 50
_ONCE_IN_DAYS: Final = 3_000.0
_SLOWEST_LEAVING: Final = 1e-5
_FASTEST_LEAVING: Final = 0.2

Floats = NDArray[np.float64]


def lifetimes_of(columns: Mapping[str, NDArray[Any]], encoder: TableEncoder, seed: int) -> Lifetimes | None:
    """The mixture under which these customers' histories are most likely; None where it needs a column that is not used.

    columns   features of customers, one row each, at one moment
    """
    names = encoder.numeric_names
    if not all(name in names for name in COLUMNS):
        return None
    orders, gap, since = (np.nan_to_num(columns[name].astype(np.float64)) for name in COLUMNS)
    rows = np.flatnonzero(orders >= 1)
    if len(rows) < _LEAST_ROWS:
        return None
    if len(rows) > _MOST_ROWS:
        rows = np.random.default_rng(seed).choice(rows, _MOST_ROWS, replace=False)
    mixture = fit(orders[rows] - 1.0, (orders[rows] - 1.0) * gap[rows], since[rows])
    orders_place, gap_place, since_place = (names.index(name) for name in COLUMNS)
    return Lifetimes(mixture, (orders_place, gap_place, since_place))


def fit(repeats: Floats, span: Floats, since: Floats) -> Mixture:
    """Weights of a grid of rates, by expectation maximisation from equal ones (Kiefer & Wolfowitz 1956; Laird 1978).

    repeats   (N,) orders after the first
    span      (N,) days from the first order to the last
    since     (N,) days since the last order
    """
    busiest = np.quantile((repeats + 1.0) / np.maximum(span + since, 1.0), 0.99)
    grid = np.meshgrid(
        np.geomspace(1.0 / _ONCE_IN_DAYS, max(2.0 * busiest, 10.0 / _ONCE_IN_DAYS), _RATES),
        np.geomspace(_SLOWEST_LEAVING, _FASTEST_LEAVING, _LEAVING),
        indexing="ij",
    )
    rate, leaving = (axis.ravel() for axis in grid)
    log_likelihood = _log_likelihood(repeats, span, since, rate, leaving)
    likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
    weight = np.full(len(rate), 1.0 / len(rate))
    for _ in range(_STEPS):
        joint = likelihood * weight
        weight = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
    return Mixture(rate, leaving, weight)


def expected_orders(columns: Mapping[str, NDArray[Any]], mixture: Mixture, days: Sequence[float]) -> tuple[Floats, Floats]:
    """P(at least one order) and E[orders] within each number of days, both (N, len(days)), of the mixture alone."""
    orders, gap, since = (np.nan_to_num(columns[name].astype(np.float64)) for name in COLUMNS)
    repeats = np.maximum(orders - 1.0, 0.0)
    since = np.where(orders >= 1, since, 0.0)
    rate, leaving = mixture.rate, mixture.leaving
    both = rate + leaving
    log_likelihood = _log_likelihood(repeats, repeats * gap, since, rate, leaving)
    posterior = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True)) * mixture.weight
    posterior /= posterior.sum(axis=1, keepdims=True)
    silent = np.exp(-np.outer(since, both))
    alive = posterior * both * silent / (leaving + rate * silent)
    ends = np.asarray(days, np.float64)
    within = alive @ (rate / both * -np.expm1(-np.outer(ends, both))).T
    return within, alive @ (rate / leaving * -np.expm1(-np.outer(ends, leaving))).T


def _log_likelihood(repeats: Floats, span: Floats, since: Floats, rate: Floats, leaving: Floats) -> Floats:
    """(N, G), without the factor that all kinds share."""
    both = rate + leaving
    silent = np.exp(-np.outer(since, both))
    found: Floats = np.outer(repeats, np.log(rate)) - np.outer(span, both) + np.log((leaving + rate * silent) / both)
    return found
