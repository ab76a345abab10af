"""The profile network: heads on one tabular network, trained together and calibrated on validation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from personalization.core.encoder import TableEncoder
from training.fitting import Examples, FitOptions, FitReport, fit_tabular
from training.networks.heads import Head
from training.networks.tabular import TabularConfig, TabularNetwork, build_tabular, encoder_statistics, predict
from training.tasks.profiles.calibration import HazardCalibration, fit_hazard, fit_spend_level, fit_temperature
from training.tasks.profiles.heads import CategoryHead, HazardHead, OrdersHead, SpendHead
from training.tasks.profiles.targets import ProfileTargets

PATIENCE: Final = 8  # epochs; an epoch over the rows of many cuts is long
# A user has one row at each cut: a wide and deep network would memorise the users.
NETWORK: Final = TabularConfig(widths=(64,), dropout=0.3)
# Weights of the losses beside the hazard's 1: enough to learn them, too little to cost the hazard anything.
SPEND_WEIGHT: Final = 0.3
CATEGORY_WEIGHT: Final = 0.3
ORDERS_WEIGHT: Final = 0.1
# With fewer users than this and no label as long as the horizon, the network learns the difference to the Pareto/NBD mixture.
# With more it does better alone: customers of a grocer come more regularly than the mixture assumes.
FEW_USERS: Final = 10_000

_PREFERRED: Final = "preferred_category"


@dataclass(frozen=True)
class ProfileModel:
    """`network` has its calibration set in the serving view; `spend_level` and `temperature` are factors of it."""

    network: TabularNetwork
    fitted: FitReport
    hazard: HazardCalibration
    spend_level: float
    temperature: float

    def predict(self, rows: Examples) -> dict[str, NDArray[np.float32]]:
        """The graph's outputs by name, computed by Keras."""
        return predict(self.network.serving, dict(rows.inputs))


class _Heads(NamedTuple):
    hazard: HazardHead
    orders: OrdersHead
    spend: SpendHead | None
    category: CategoryHead | None


def train_profiles_network(
    encoder: TableEncoder, targets: ProfileTargets, train: Examples, valid: Examples, config: TabularConfig, options: FitOptions
) -> ProfileModel:
    """Train on `train`; stop early and calibrate on `valid`."""
    network, heads = _build(encoder, targets, train, config, options)
    fitted = fit_tabular(network, train, valid, options)
    raw = network.raw(dict(valid.inputs))
    k = targets.observed
    exposure, event = valid.targets["purchase"][:, :k], valid.targets["purchase"][:, k:]
    hazard = fit_hazard(raw["purchase"][:, :k], exposure, event)
    heads.hazard.calibrate(hazard.slope, hazard.intercept)
    model = ProfileModel(network, fitted, hazard, spend_level=1.0, temperature=1.0)
    if heads.spend is not None:
        actual, share = valid.targets["spend"].T
        model = replace(
            model, spend_level=fit_spend_level(actual, model.predict(valid)["expected_spend"].astype(float) * share)
        )
    if heads.category is not None:
        model = replace(model, temperature=fit_temperature(raw["category"], valid.targets["category"]))
    _calibrate(heads, targets, model)
    return model


def refit_profiles_network(
    encoder: TableEncoder,
    targets: ProfileTargets,
    rows: Examples,
    like: ProfileModel,
    config: TabularConfig,
    options: FitOptions,
) -> ProfileModel:
    """A network trained on all `rows` for the best number of epochs of `like`, with the calibration of `like`."""
    network, heads = _build(encoder, targets, rows, config, options)
    fitted = fit_tabular(network, rows, None, replace(options, epochs=max(1, like.fitted.best_epoch)))
    _calibrate(heads, targets, like)
    return replace(like, network=network, fitted=fitted)


def _build(
    encoder: TableEncoder, targets: ProfileTargets, rows: Examples, config: TabularConfig, options: FitOptions
) -> tuple[TabularNetwork, _Heads]:
    hazard = HazardHead(
        targets.days,
        targets.observed,
        targets.max_probability_gap,
        customer_base=targets.customer_base,
        add_prior=targets.horizon_unobserved and targets.users < FEW_USERS,
    )
    orders = OrdersHead(hazard, targets.interval, ORDERS_WEIGHT)
    spend = SpendHead(hazard, targets.interval, targets.spend_scale, SPEND_WEIGHT) if targets.spend_scale else None
    category = None
    if targets.categories:
        names = [column.name for column in encoder.categorical_columns]
        preferred = names.index(_PREFERRED) if _PREFERRED in names else None
        codes = 0 if preferred is None else encoder.categorical_columns[preferred].cardinality
        category = CategoryHead(len(targets.categories), preferred, codes, CATEGORY_WEIGHT)
    heads = _Heads(hazard, orders, spend, category)
    used: list[Head] = [head for head in heads if head is not None]
    statistics = encoder_statistics(encoder, dict(rows.inputs), config, options.seed)
    return build_tabular(encoder, statistics, used, config), heads


def _calibrate(heads: _Heads, targets: ProfileTargets, model: ProfileModel) -> None:
    heads.hazard.calibrate(model.hazard.slope, model.hazard.intercept)
    if heads.spend is not None:
        heads.spend.level.assign(targets.spend_scale * model.spend_level)
    if heads.category is not None:
        heads.category.calibration.assign(model.temperature, 0.0)
