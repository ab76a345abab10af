"""From prepared rows to a model: how strongly to regularise and how to calibrate is found on rows that were not trained on.

A log with few clicks or conversions cannot spare a validation part: its rows are split by user into folds, each judged by a
network that did not see it; those judgements stop, choose and calibrate, and the network that is kept is trained on all rows
for as many epochs as were best in the folds. A large log has its last part as validation.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from personalization.core.encoder import TableEncoder
from training.fitting import Examples, FitOptions, FitReport
from training.networks.tabular import TabularConfig
from training.task import TabularOptions
from training.tasks.ads.heads import CLICK, CONVERSION, UNTREATED, AdTasks
from training.tasks.ads.model import TARGET, AdModel, calibration, refit_network, seen_at, train_network
from training.tasks.ads.prepare import PreparedAds
from training.tuning import TabularSearchSpace, Trials, tune

FOLDS: Final = 5
FEW_OUTCOMES: Final = 2_000  # below as many outcomes of the rarest task rows are split by user …
FEW_ROWS: Final = 60_000  # … where there are no more than these: folds cost as much as so many trainings

_log = logging.getLogger(__name__)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TrainedAds:
    """model      calibrated
    rows       the examples that it was validated on, and `raw` its raw values there, by a network that did not see them
    tried      settings and their validation losses
    folds      number of folds, 0 where validation was a part of its own
    """

    model: AdModel
    rows: Examples
    raw: Floats
    config: TabularConfig
    fit: FitOptions
    tried: list[dict[str, Any]] = field(default_factory=list)
    folds: int = 0


def learn(prepared: PreparedAds, train: Examples, valid: Examples, training: TabularOptions) -> TrainedAds:
    """Train as asked."""
    tasks, encoder = prepared.tasks, prepared.encoder
    if rarest(tasks, train) < FEW_OUTCOMES and len(train) + len(valid) <= FEW_ROWS:
        groups = np.concatenate([prepared.train.log.user, prepared.valid.log.user])
        return cross_fit(encoder, tasks, Examples.concatenate([train, valid]), groups, training)

    def attempt(options: TabularOptions) -> tuple[float, AdModel]:
        model = train_network(encoder, tasks, train, valid, options.config, options.fit)
        return model.fitted.best_score, model

    training, model, tried = tune(attempt, training, TabularSearchSpace())
    _log.info("trained: the best of %d epochs was %d", len(model.fitted.history), model.fitted.best_epoch)
    raw = model.network.raw(dict(valid.inputs))[TARGET].astype(np.float64)
    return TrainedAds(model, valid, raw, training.config, training.fit, tried)


def cross_fit(
    encoder: TableEncoder, tasks: AdTasks, rows: Examples, groups: NDArray[np.int64], options: TabularOptions
) -> TrainedAds:
    """Train on all rows; settings, epochs and calibration come from networks that were trained without a fold of `groups`.

    groups   (N,) codes of the users
    """
    names, code = np.unique(groups, return_inverse=True)
    fold = (np.random.default_rng(options.fit.seed).permutation(len(names)) % FOLDS)[code]

    def attempt(one: TabularOptions) -> tuple[float, tuple[Floats, list[AdModel]]]:
        models, raw = [], np.zeros((len(rows), len(tasks.outputs) + tasks.places))
        for number in range(FOLDS):
            out = fold == number
            models.append(train_network(encoder, tasks, rows.take(~out), rows.take(out), one.config, one.fit))
            raw[out] = models[-1].network.raw(dict(rows.take(out).inputs))[TARGET]
        return float(losses(tasks, raw, rows).mean()), (raw, models)

    if options.tune:
        options, (raw, models), records = tune(attempt, options, TabularSearchSpace())
    else:
        trials = Trials[TabularOptions, tuple[Floats, list[AdModel]]]()
        for candidate in (options, _regularised(options)):
            trials.run(attempt, candidate, _parameters(candidate))
        (options, (raw, models)), records = trials.best, trials.records
    slope, intercept = calibration(tasks, raw, rows)
    epochs = max(1, round(float(np.mean([model.fitted.best_epoch for model in models]))))
    like = replace(models[0], slope=slope, intercept=intercept, fitted=FitReport(best_epoch=epochs))
    model = refit_network(encoder, tasks, rows, like, options.config, options.fit)
    _log.info("trained on all %d rows for %d epochs, the mean of %d folds", len(rows), epochs, FOLDS)
    model = replace(model, fitted=replace(model.fitted, best_epoch=epochs))
    return TrainedAds(model, rows, raw, options.config, options.fit, records, FOLDS)


def _regularised(options: TabularOptions) -> TabularOptions:
    """Settings for small logs: a smaller network that learns more slowly."""
    fit = replace(options.fit, learning_rate=1e-3, weight_decay=0.1)
    return replace(options, config=TabularConfig(widths=(32,), bins=6, dropout=0.3), fit=fit)


def _parameters(options: TabularOptions) -> dict[str, Any]:
    config, fit = options.config, options.fit
    return {"widths": list(config.widths), "bins": config.bins, "dropout": config.dropout,
            "learning_rate": fit.learning_rate, "weight_decay": fit.weight_decay}  # fmt: skip


def probabilities(tasks: AdTasks, model: AdModel, raw: Floats, rows: Examples) -> dict[str, Floats]:
    """(N,) each: P(click) and P(conversion) of the impressions as they were placed; P(conversion) without the ad."""
    out: dict[str, Floats] = {}
    factor = seen_at(tasks, raw, rows)
    for column, name in enumerate(tasks.outputs):
        own = expit(model.slope[name] * raw[:, column] + model.intercept[name])
        out[name] = own if name == UNTREATED else factor * own
        if name == CLICK:
            factor = out[name]
    return out


def losses(tasks: AdTasks, raw: Floats, rows: Examples) -> Floats:
    """(N,) log loss of all tasks, uncalibrated, weighted as the rows are."""
    plain = AdModel.uncalibrated(tasks)
    click, conversion, _, shown = rows.targets[TARGET].astype(np.float64).T
    total = np.zeros(len(rows))
    for name, p in probabilities(tasks, plain, raw, rows).items():
        label = click if name == CLICK else conversion
        part = 1 - shown if name == UNTREATED else shown
        q = np.clip(p, 1e-7, 1 - 1e-7)
        total -= part * (label * np.log(q) + (1 - label) * np.log1p(-q))
    return total if rows.weight is None else total * rows.weight


def rarest(tasks: AdTasks, rows: Examples) -> int:
    """Outcomes of the rarest task, among these rows."""
    click, conversion, _, shown = rows.targets[TARGET].T
    counts = {CLICK: click * shown, CONVERSION: conversion * shown, UNTREATED: conversion * (1 - shown)}
    return min(int(counts[name].sum()) for name in tasks.outputs)
