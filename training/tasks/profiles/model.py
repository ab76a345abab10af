"""The profile network: three heads on one body, trained together and calibrated on validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.encoder import TableEncoder
from training.fitting import Examples, FitOptions, FitReport, fit_tabular
from training.networks.heads import Head
from training.networks.lifetimes import Lifetimes
from training.networks.tabular import TabularConfig, TabularNetwork, build_tabular, encoder_statistics, predict
from training.tasks.profiles.calibration import HazardCalibration, fit_hazard, fit_level, fit_temperature
from training.tasks.profiles.examples import Sample
from training.tasks.profiles.heads import CategoryHead, HazardHead, OrdersHead, SpendHead
from training.tasks.profiles.labels import orders_seen

# Weights of the losses beside the hazard's 1: enough that they are learnt, little enough that it does not pay for it.
SPEND_WEIGHT: Final = 0.3
CATEGORY_WEIGHT: Final = 0.3
ORDERS_WEIGHT: Final = 0.1
# With fewer customers than this, and no label as long as the question, the network starts from what their histories say by
# themselves. Else it knows better: customers of a grocer come more regularly than such a mixture has it.
FEW_USERS: Final = 10_000

_PREFERRED: Final = "preferred_category"
_LEAST_SEEN: Final = 30  # user-intervals, and 10 purchases, for an interval's risk to be learnt
_LEAST_BOUGHT: Final = 10


@dataclass(frozen=True)
class ProfileTargets:
    """What the network is to answer, decided on training rows.

    days        ends of the intervals
    observed    how many of them, from the first, training could see
    horizon     one of `days`
    categories  those of the next basket, none where there is nothing to choose
    spend_scale mean spend of a buyer up to the horizon; 0 where values are not known
    users       that training rows are about
    lifetimes   kinds of customers that the shop has, None where they cannot be told
    short       no label was seen for the whole horizon: the data is shorter than the question
    """

    days: tuple[int, ...]
    observed: int
    horizon: int
    categories: tuple[str, ...]
    spend_scale: float
    users: int
    lifetimes: Lifetimes | None = None
    short: bool = False

    @property
    def never(self) -> float:
        """Add-one estimate of what was not seen in so many users: nobody's return is surer than they can tell."""
        return 1.0 / (self.users + 2)

    @property
    def interval(self) -> int:
        """Index of the interval that ends at the horizon."""
        return self.days.index(self.horizon)


@dataclass(frozen=True)
class ProfileModel:
    """`network` has its calibration settled in the serving view."""

    network: TabularNetwork
    fitted: FitReport
    hazard: HazardCalibration
    spend_level: float
    temperature: float

    def predict(self, rows: Examples) -> dict[str, NDArray[np.float32]]:
        """The graph's outputs by name, as Keras computes them."""
        return predict(self.network.serving, dict(rows.inputs))


def targets_of(
    train: Sample, days: Sequence[int], horizon: int, categories: Sequence[str], lifetimes: Lifetimes | None = None,
    short: bool = False,
) -> ProfileTargets:  # fmt: skip
    """What these training rows can teach."""
    labels = train.labels
    enough = (labels.exposure.sum(axis=0) >= _LEAST_SEEN) & (labels.event.sum(axis=0) >= _LEAST_BOUGHT)
    observed = max(1, int(np.argmin(np.append(enough, False))))
    buyers = labels.spend > 0
    seen = np.minimum(1.0, labels.seen_days[buyers] / horizon)
    scale = float(labels.spend[buyers].sum() / seen.sum()) if buyers.any() else 0.0
    baskets, users = train.baskets.any(), len(np.unique(train.user))
    return ProfileTargets(tuple(days), observed, horizon, tuple(categories) if baskets else (), scale, users, lifetimes, short)


def examples_of(encoder: TableEncoder, sample: Sample, targets: ProfileTargets) -> Examples:
    """Encoded rows with the targets of the three heads."""
    labels, k = sample.labels, targets.observed
    answers = {
        "purchase": np.concatenate([labels.exposure[:, :k], labels.event[:, :k]], axis=1),
        "orders": orders_seen(labels, targets.days),
    }
    if targets.spend_scale:
        answers["spend"] = np.stack([labels.spend, np.minimum(1.0, labels.seen_days / targets.horizon)], axis=1)
    if targets.categories:
        # Divided by one number, not row by row: so the softmax is in proportion to P(category in the basket).
        size = max(1.0, float(sample.baskets.sum(axis=1)[sample.baskets.any(axis=1)].mean())) if len(sample) else 1.0
        answers["category"] = sample.baskets.astype(np.float32) / size
    return Examples(encoder.encode(sample.columns, len(sample)).inputs, answers)


def train_profiles_network(
    encoder: TableEncoder, targets: ProfileTargets, train: Examples, valid: Examples, config: TabularConfig, options: FitOptions
) -> ProfileModel:
    """Train on `train`; `valid` says when to stop, and sets the levels of what is answered."""
    hazard, heads = _heads(encoder, targets)
    statistics = encoder_statistics(encoder, dict(train.inputs), config, options.seed)
    network = build_tabular(encoder, statistics, tuple(heads.values()), config)
    fitted = fit_tabular(network, train, valid, options)
    raw = network.raw(dict(valid.inputs))
    k = targets.observed
    exposure, event = valid.targets["purchase"][:, :k], valid.targets["purchase"][:, k:]
    calibration = fit_hazard(raw["purchase"][:, :k], exposure, event)
    hazard.settle(calibration.slope, calibration.intercept)
    level = temperature = 1.0
    spend, category = heads.get("spend"), heads.get("category")
    if isinstance(spend, SpendHead):
        actual, seen = valid.targets["spend"][:, 0], valid.targets["spend"][:, 1]
        expected = predict(network.serving, dict(valid.inputs))["expected_spend"].astype(np.float64) * seen
        level = fit_level(actual, expected)
        spend.level.settle(targets.spend_scale * level)
    if isinstance(category, CategoryHead):
        temperature = fit_temperature(raw["category"], valid.targets["category"])
        category.calibration.settle(temperature, 0.0)
    return ProfileModel(network, fitted, calibration, level, temperature)


def refit_profiles_network(
    encoder: TableEncoder,
    targets: ProfileTargets,
    rows: Examples,
    like: ProfileModel,
    config: TabularConfig,
    options: FitOptions,
) -> ProfileModel:
    """One trained on all `rows` for as many epochs as were best for `like`, with that one's calibration."""
    hazard, heads = _heads(encoder, targets)
    network = build_tabular(
        encoder, encoder_statistics(encoder, dict(rows.inputs), config, options.seed), tuple(heads.values()), config
    )
    fitted = fit_tabular(network, rows, None, replace(options, epochs=max(1, like.fitted.best_epoch)))
    hazard.settle(like.hazard.slope, like.hazard.intercept)
    spend, category = heads.get("spend"), heads.get("category")
    if isinstance(spend, SpendHead):
        spend.level.settle(targets.spend_scale * like.spend_level)
    if isinstance(category, CategoryHead):
        category.calibration.settle(like.temperature, 0.0)
    return replace(like, network=network, fitted=fitted)


def _heads(encoder: TableEncoder, targets: ProfileTargets) -> tuple[HazardHead, dict[str, Head]]:
    trusted = targets.short and targets.users < FEW_USERS
    hazard = HazardHead(targets.days, targets.observed, targets.never, lifetimes=targets.lifetimes, trusted=trusted)
    heads: dict[str, Head] = {hazard.name: hazard, "orders": OrdersHead(hazard, targets.interval, ORDERS_WEIGHT)}
    if targets.spend_scale:
        heads["spend"] = SpendHead(hazard, targets.interval, targets.spend_scale, SPEND_WEIGHT)
    if targets.categories:
        words = [column.name for column in encoder.categorical_columns]
        preferred = words.index(_PREFERRED) if _PREFERRED in words else None
        codes = 0 if preferred is None else encoder.categorical_columns[preferred].cardinality
        heads["category"] = CategoryHead(len(targets.categories), preferred, codes, CATEGORY_WEIGHT)
    return hazard, heads


def base_rates(train: Sample, targets: ProfileTargets) -> dict[str, Any]:
    """What the network answers at best without knowing anything about the user: by output name."""
    exposure, event = train.labels.exposure.astype(np.float64), train.labels.event.astype(np.float64)
    k = targets.observed
    # The share that buys in an interval, made a risk, per part of the interval that was seen.
    share = event.sum(axis=0)[:k] / np.maximum((exposure > 0).sum(axis=0)[:k], 1)
    seen = exposure.sum(axis=0)[:k] / np.maximum((exposure > 0).sum(axis=0)[:k], 1)
    risk = -np.log1p(-np.minimum(share, 1.0 - 1e-6)) / np.maximum(seen, 1e-6)
    lengths = np.diff([0, *targets.days])
    risk = np.append(risk, risk[-1] * lengths[k:] / lengths[k - 1])
    rates: dict[str, Any] = {"probability_within": (-np.expm1(-np.cumsum(risk))).astype(np.float32)}
    # Orders of an interval in proportion to its length, from the last that training saw.
    rates["expected_orders"] = _orders_rate(train, targets)
    if targets.spend_scale:
        weight = np.minimum(1.0, train.labels.seen_days / targets.horizon)
        rates["expected_spend"] = float(train.labels.spend.sum() / weight.sum())
    if targets.categories:
        shares = train.baskets.sum(axis=0, dtype=np.float64)
        rates["next_category"] = (shares / shares.sum()).astype(np.float32)
    return rates


def _orders_rate(train: Sample, targets: ProfileTargets) -> float:
    """Mean orders up to the horizon: as many a day as in the windows that were seen."""
    seen = orders_seen(train.labels, targets.days)
    days = np.append(np.asarray(targets.days, np.float64), 0.0)[seen[:, 1].astype(int)]
    return float(seen[:, 0].sum() / max(days.sum(), 1.0) * targets.horizon)
