"""Targets of the profile network, decided on training rows; and rows encoded for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.encoder import MISSING_CODE, TableEncoder
from personalization.profiles.predict import ATTRIBUTE_PREFIX
from training.evaluation.importance import column_slices
from training.fitting import Examples
from training.tasks.profiles.labels import horizon_share, orders_observed
from training.tasks.profiles.pareto_nbd import CustomerBase
from training.tasks.profiles.samples import Sample

HIDDEN_SHARE: Final = 0.25  # of the training rows are trained on without attributes
# What an interval needs for its hazard to be learnt, in sums over the training rows.
_MIN_EXPOSURE: Final = 30
_MIN_PURCHASES: Final = 10


@dataclass(frozen=True)
class ProfileTargets:
    """days                 ends of the intervals
    observed             number of them, from the first, with enough labels
    horizon              one of `days`
    categories           of the next basket; none where there is nothing to predict
    spend_scale          mean spend of a buyer up to the horizon; 0 where no line has a value
    users                of the training rows
    customer_base        fitted Pareto/NBD mixture, None where it cannot be fitted
    horizon_unobserved   no training label covers the whole horizon
    """

    days: tuple[int, ...]
    observed: int
    horizon: int
    categories: tuple[str, ...]
    spend_scale: float
    users: int
    customer_base: CustomerBase | None = None
    horizon_unobserved: bool = False

    @property
    def max_probability_gap(self) -> float:
        """Predicted probabilities stay below 1 − this: the add-one estimate (Laplace) of an event not seen in so many users."""
        return 1.0 / (self.users + 2)

    @property
    def interval(self) -> int:
        """Index of the interval that ends at the horizon."""
        return self.days.index(self.horizon)

    @classmethod
    def from_sample(
        cls,
        train: Sample,
        days: Sequence[int],
        horizon: int,
        categories: Sequence[str],
        customer_base: CustomerBase | None = None,
        horizon_unobserved: bool = False,
    ) -> ProfileTargets:
        """The targets for which these training rows have labels."""
        labels = train.labels
        enough = (labels.exposure.sum(axis=0) >= _MIN_EXPOSURE) & (labels.event.sum(axis=0) >= _MIN_PURCHASES)
        observed = max(1, int(np.argmin(np.append(enough, False))))
        buyers = labels.spend > 0
        scale = float(labels.spend[buyers].sum() / horizon_share(labels, horizon)[buyers].sum()) if buyers.any() else 0.0
        categories = tuple(categories) if train.baskets.any() else ()
        users = len(np.unique(train.user))
        return cls(tuple(days), observed, horizon, tuple(categories), scale, users, customer_base, horizon_unobserved)


def encode_sample(encoder: TableEncoder, sample: Sample, targets: ProfileTargets) -> Examples:
    """Encoded rows with the target of each head."""
    labels, k = sample.labels, targets.observed
    head_targets = {
        "purchase": np.concatenate([labels.exposure[:, :k], labels.event[:, :k]], axis=1),
        "orders": orders_observed(labels, targets.days),
    }
    if targets.spend_scale:
        head_targets["spend"] = np.stack([labels.spend, horizon_share(labels, targets.horizon)], axis=1)
    if targets.categories:
        # Divided by one number for all rows, so that the softmax is in proportion to P(category in the basket).
        size = max(1.0, float(sample.baskets.sum(axis=1)[sample.baskets.any(axis=1)].mean())) if len(sample) else 1.0
        head_targets["category"] = sample.baskets.astype(np.float32) / size
    return Examples(encoder.encode(sample.columns, len(sample)).inputs, head_targets)


def has_attributes(encoder: TableEncoder) -> bool:
    """Whether any column of the users table is used."""
    return any(column.name.startswith(ATTRIBUTE_PREFIX) for column in encoder.columns)


def without_attributes(encoder: TableEncoder, examples: Examples, rows: NDArray[np.bool_] | None = None) -> Examples:
    """The same examples, with the attributes of `rows` (all where None) missing."""
    inputs: dict[str, NDArray[Any]] = {name: values.copy() for name, values in examples.inputs.items()}
    chosen = np.arange(len(examples)) if rows is None else np.flatnonzero(rows)
    for column, (name, where) in column_slices(encoder).items():
        if column.startswith(ATTRIBUTE_PREFIX):
            inputs[name][chosen, where] = np.nan if inputs[name].dtype.kind == "f" else MISSING_CODE
    return Examples(inputs, examples.targets, examples.weight)


def attribute_dropout(encoder: TableEncoder, examples: Examples, seed: int) -> Examples:
    """Training examples with the attributes of a seeded share of the rows missing.

    A dropped file of interactions comes without the users table, so the network is trained for both cases.
    """
    if not has_attributes(encoder):
        return examples
    return without_attributes(encoder, examples, np.random.default_rng(seed).random(len(examples)) < HIDDEN_SHARE)


def base_rates(train: Sample, targets: ProfileTargets) -> dict[str, Any]:
    """The rates of the training rows by output name: the best constant predictions."""
    exposure, event = train.labels.exposure.astype(np.float64), train.labels.event.astype(np.float64)
    k = targets.observed
    at_risk = np.maximum((exposure > 0).sum(axis=0)[:k], 1)
    share = event.sum(axis=0)[:k] / at_risk  # that buys in an interval
    observed = exposure.sum(axis=0)[:k] / at_risk  # part of the interval
    hazard = -np.log1p(-np.minimum(share, 1.0 - 1e-6)) / np.maximum(observed, 1e-6)
    lengths = np.diff([0, *targets.days])
    hazard = np.append(hazard, hazard[-1] * lengths[k:] / lengths[k - 1])
    rates: dict[str, Any] = {
        "probability_within": (-np.expm1(-np.cumsum(hazard))).astype(np.float32),
        "expected_orders": mean_orders(train, targets),
    }
    if targets.spend_scale:
        rates["expected_spend"] = float(train.labels.spend.sum() / horizon_share(train.labels, targets.horizon).sum())
    if targets.categories:
        shares = train.baskets.sum(axis=0, dtype=np.float64)
        rates["next_category"] = (shares / shares.sum()).astype(np.float32)
    return rates


def mean_orders(train: Sample, targets: ProfileTargets) -> float:
    """Mean orders up to the horizon, at the daily rate of the intervals that were observed whole."""
    orders, interval = orders_observed(train.labels, targets.days).T
    days = np.append(np.asarray(targets.days, np.float64), 0.0)[interval.astype(int)]
    return float(orders.sum() / max(days.sum(), 1.0) * targets.horizon)
