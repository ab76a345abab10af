"""The network of clicks and conversions: trained on all impressions, calibrated on validation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from personalization.core.encoder import TableEncoder
from training.calibration import PRIOR_DEVIATION
from training.fitting import Examples, FitOptions, FitReport, fit_tabular
from training.networks.crosses import CrossConfig, supports_crosses
from training.networks.tabular import TabularConfig, TabularNetwork, build_tabular, encoder_statistics
from training.tasks.ads.heads import CLICK, CONVERSION, UNTREATED, AdHead, AdTasks
from training.tasks.ads.impressions import Impressions

TARGET: Final = "ads"
_LEAST_AT_PLACE: Final = 50  # impressions, for a place to have a number of its own
_LEAST_HELD_OUT: Final = 100
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """A place whose P(seen) is learnt: a position, in a placement where the log names those."""

    placement: str | None
    position: int


@dataclass(frozen=True)
class AdModel:
    """network       with the calibration settled in its serving view
    slope, intercept   by output
    seen               (places,) P(seen), relative to the first position
    """

    network: TabularNetwork
    fitted: FitReport
    slope: dict[str, float]
    intercept: dict[str, float]
    seen: Floats

    @classmethod
    def uncalibrated(cls, tasks: AdTasks, network: Any = None) -> AdModel:
        """One whose raw values are taken as they are."""
        return cls(network, FitReport(), dict.fromkeys(tasks.outputs, 1.0), dict.fromkeys(tasks.outputs, 0.0), np.zeros(0))


def places_of(log: Impressions) -> list[Place]:
    """The places of training impressions that are frequent enough, the first position of each placement among them.

    Without positions, or with one only, none: then nothing can be said about them.
    """
    known = np.isfinite(log.position) & (log.position >= 1)
    if len(np.unique(log.position[known])) < 2:
        return []
    counts: dict[Place, int] = {}
    for placement, position in zip(log.placement[known], log.position[known], strict=True):
        place = Place(placement, int(position))
        counts[place] = counts.get(place, 0) + 1
    frequent = {place for place, count in counts.items() if count >= _LEAST_AT_PLACE}
    return sorted(frequent, key=lambda place: (place.placement or "", place.position))


def tasks_of(log: Impressions, places: list[Place]) -> AdTasks:
    """What training impressions can teach."""
    first: dict[str | None, int] = {}
    for place in places:
        first[place.placement] = min(first.get(place.placement, place.position), place.position)
    held_out = int((~log.shown).sum())
    return AdTasks(
        click=log.click is not None and bool(log.click.any()),
        conversion=log.conversion is not None and bool(log.conversion.any()),
        untreated=held_out >= _LEAST_HELD_OUT and log.conversion is not None and bool(log.conversion[~log.shown].any()),
        places=len(places),
        first=tuple(place.position == first[place.placement] for place in places),
    )


def examples_of(encoder: TableEncoder, columns: dict[str, Any], log: Impressions, places: list[Place]) -> Examples:
    """Encoded rows with their target."""
    code_of = {(place.placement, place.position): code for code, place in enumerate(places)}
    position = np.where(np.isfinite(log.position), log.position, -1).astype(np.int64)
    place = [code_of.get(key, -1) for key in zip(log.placement.tolist(), position.tolist(), strict=True)]
    zeros = np.zeros(len(log))
    target = np.stack(
        [zeros if log.click is None else log.click, zeros if log.conversion is None else log.conversion, place, log.shown],
        axis=1,
    )
    weight = log.weight / log.weight.mean() if len(log) and np.ptp(log.weight) > 0 else None
    inputs = encoder.encode(columns, len(log)).inputs
    return Examples(inputs, {TARGET: target.astype(np.float32)}, None if weight is None else weight.astype(np.float32))


def train_network(
    encoder: TableEncoder, tasks: AdTasks, train: Examples, valid: Examples, config: TabularConfig, options: FitOptions
) -> AdModel:
    """Train on `train`; `valid` says when to stop and how to calibrate, on rows weighted back to all impressions."""
    head, network = _built(encoder, tasks, train, config, options)
    fitted = fit_tabular(network, train, valid, options)
    raw = network.raw(dict(valid.inputs))[TARGET].astype(np.float64)
    slope, intercept = calibration(tasks, raw, valid)
    head.calibration.assign(list(slope.values()), list(intercept.values()))
    return AdModel(network, fitted, slope, intercept, np.asarray(head.seen(), np.float64))


def refit_network(
    encoder: TableEncoder, tasks: AdTasks, rows: Examples, like: AdModel, config: TabularConfig, options: FitOptions
) -> AdModel:
    """One trained on all `rows` for as many epochs as were best for `like`, with that one's calibration."""
    head, network = _built(encoder, tasks, rows, config, options)
    fitted = fit_tabular(network, rows, None, replace(options, epochs=max(1, like.fitted.best_epoch)))
    head.calibration.assign(list(like.slope.values()), list(like.intercept.values()))
    return replace(like, network=network, fitted=fitted, seen=np.asarray(head.seen(), np.float64))


def base_rates(tasks: AdTasks, train: Examples) -> dict[str, float]:
    """What is answered at best without knowing anything: by output name."""
    weight = np.ones(len(train)) if train.weight is None else train.weight.astype(np.float64)
    click, conversion, _, shown = train.targets[TARGET].astype(np.float64).T
    clicks, conversions = (float((weight * shown * outcome).sum()) for outcome in (click, conversion))
    rates = {CLICK: clicks / max(float((weight * shown).sum()), 1e-9)}
    rates[CONVERSION] = conversions / max(clicks if tasks.click else float((weight * shown).sum()), 1e-9)
    held = weight * (1 - shown)
    rates[UNTREATED] = float((held * conversion).sum()) / max(float(held.sum()), 1e-9)
    return {name: min(max(rates[name], 1e-6), 1 - 1e-6) for name in tasks.outputs}


def _built(
    encoder: TableEncoder, tasks: AdTasks, train: Examples, config: TabularConfig, options: FitOptions
) -> tuple[AdHead, TabularNetwork]:
    statistics = encoder_statistics(encoder, dict(train.inputs), config, options.seed)
    head = AdHead(tasks, statistics, CrossConfig() if supports_crosses(statistics, len(train)) else None)
    network = build_tabular(encoder, statistics, (head,), config)
    head.begin([float(logit(rate)) for rate in base_rates(tasks, train).values()])
    return head, network


def calibration(tasks: AdTasks, raw: Floats, rows: Examples) -> tuple[dict[str, float], dict[str, float]]:
    """Slope and intercept of each output, one after the other: a conversion's chance stands on that of the click.

    raw   (N, …) merged raw values of the head, by networks that were not trained on `rows`
    """
    click, conversion, _, shown = rows.targets[TARGET].astype(np.float64).T
    weight = np.ones(len(rows)) if rows.weight is None else rows.weight.astype(np.float64)
    slope, intercept, factor = {}, {}, seen_at(tasks, raw, rows)
    for column, name in enumerate(tasks.outputs):
        labels = click if name == CLICK else conversion
        part, level = (1 - shown, np.ones(len(rows))) if name == UNTREATED else (shown, factor)
        slope[name], intercept[name] = fit_logistic(raw[:, column], labels, level, weight * part)
        if name == CLICK:
            factor = factor * expit(slope[name] * raw[:, column] + intercept[name])
    return slope, intercept


def seen_at(tasks: AdTasks, raw: Floats, rows: Examples) -> Floats:
    """(N,) P(seen) of the place of each row, 1 where that is not known."""
    place = rows.targets[TARGET][:, 2].astype(np.int64)
    seen = np.ones(len(rows))
    if tasks.places:
        known = np.flatnonzero(place >= 0)
        seen[known] = np.exp(raw[known, len(tasks.outputs) + place[known]])
    return seen


def fit_logistic(logits: Floats, labels: Floats, factor: Floats, weight: Floats) -> tuple[float, float]:
    """Slope and intercept with which `factor` · σ(slope · logit + intercept) has the least log loss.

    As `training.calibration.platt`, whose prior it has, for a probability that is a product: `factor` (N,) is the rest of it.
    """

    def loss(theta: Floats) -> float:
        p = np.clip(factor * expit(theta[0] * logits + theta[1]), 1e-9, 1 - 1e-9)
        likelihood = float((weight * (labels * np.log(p) + (1 - labels) * np.log1p(-p))).sum())
        prior = 0.5 * ((theta[0] - 1) ** 2 + theta[1] ** 2) / PRIOR_DEVIATION**2
        return float(prior - likelihood)

    found = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-8, "maxiter": 2_000})
    return float(found.x[0]), float(found.x[1])
