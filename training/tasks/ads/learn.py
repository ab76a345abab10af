"""From prepared rows to a model: how strongly to regularise and how to calibrate is found on rows that were not trained on.

A log with few clicks or conversions cannot spare a validation part: its rows are split by user into folds, each judged by a
network that did not see it; those judgements stop, choose and calibrate, and the network that is kept is trained on all rows
for as many epochs as were best in the folds. A large log has its last part as validation.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from personalization.core.encoder import TableEncoder
from training.fitting import Examples, FitOptions, FitReport
from training.networks.tabular import TabularConfig
from training.tasks.ads.heads import CLICK, CONVERSION, UNTREATED, AdTasks
from training.tasks.ads.model import TARGET, AdModel, calibration, refit_network, seen_at, train_network
from training.tasks.ads.options import AdTraining
from training.tasks.ads.prepare import PreparedAds
from training.tuning import tune

FOLDS: Final = 5
FEW_OUTCOMES: Final = 2_000  # below as many outcomes of the rarest task rows are split by user …
FEW_ROWS: Final = 60_000  # … where there are no more than these: folds cost as much as so many trainings
# Of small logs, less and less free: (network, rate, decay) beside the given ones.
_TAMED: Final = ((TabularConfig(widths=(32,), bins=6, dropout=0.3), 1e-3, 0.1),)

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


def learn(prepared: PreparedAds, train: Examples, valid: Examples, training: AdTraining) -> TrainedAds:
    """Train as asked."""
    tasks, encoder = prepared.tasks, prepared.encoder
    if rarest(tasks, train) < FEW_OUTCOMES and len(train) + len(valid) <= FEW_ROWS:
        groups = np.concatenate([prepared.train.log.user, prepared.valid.log.user])
        return cross_fit(encoder, tasks, together([train, valid]), groups, training.config, training.fit, training.tune)

    def attempt(config: TabularConfig, fit: FitOptions) -> tuple[float, AdModel]:
        model = train_network(encoder, tasks, train, valid, config, fit)
        return model.fitted.best_loss, model

    config, fit, tried = training.config, training.fit, list[dict[str, Any]]()
    if training.tune:
        model, config, fit, tried = tune(attempt, training.tune, config, fit)
    else:
        model = attempt(config, fit)[1]
    _log.info("trained: the best of %d epochs was %d", len(model.fitted.history), model.fitted.best_epoch)
    raw = model.network.raw(dict(valid.inputs))[TARGET].astype(np.float64)
    return TrainedAds(model, valid, raw, config, fit, tried)


def cross_fit(
    encoder: TableEncoder,
    tasks: AdTasks,
    rows: Examples,
    groups: NDArray[np.int64],
    config: TabularConfig,
    options: FitOptions,
    tries: int = 0,
) -> TrainedAds:
    """Train on all rows; what validation would decide is decided by folds of `groups` (users), each by networks without it."""
    names, code = np.unique(groups, return_inverse=True)
    fold = (np.random.default_rng(options.seed).permutation(len(names)) % FOLDS)[code]

    def attempt(its_config: TabularConfig, its_options: FitOptions) -> tuple[float, tuple[Floats, list[AdModel]]]:
        raw: Floats | None = None
        models = []
        for one in range(FOLDS):
            out = fold == one
            models.append(train_network(encoder, tasks, rows.take(~out), rows.take(out), its_config, its_options))
            found = models[-1].network.raw(dict(rows.take(out).inputs))[TARGET]
            raw = np.zeros((len(rows), found.shape[1])) if raw is None else raw
            raw[out] = found
        assert raw is not None
        return float(losses(tasks, raw, rows).mean()), (raw, models)

    if tries:
        (raw, models), config, options, tried = tune(attempt, tries, config, options)
    else:
        (raw, models), config, options, tried = _tamest(attempt, config, options)
    slope, intercept = calibration(tasks, raw, rows)
    epochs = max(1, round(float(np.mean([model.fitted.best_epoch for model in models]))))
    like = replace(models[0], slope=slope, intercept=intercept, fitted=FitReport(best_epoch=epochs))
    model = refit_network(encoder, tasks, rows, like, config, options)
    _log.info("trained on all %d rows for %d epochs, the mean of %d folds", len(rows), epochs, FOLDS)
    model = replace(model, fitted=replace(model.fitted, best_epoch=epochs))
    return TrainedAds(model, rows, raw, config, options, tried, FOLDS)


def _tamest(
    attempt: Any, config: TabularConfig, options: FitOptions
) -> tuple[Any, TabularConfig, FitOptions, list[dict[str, Any]]]:
    """The settings with the least loss of the given ones and those of `_TAMED`."""
    settings = [(config, options)]
    settings += [(c, replace(options, learning_rate=rate, weight_decay=decay)) for c, rate, decay in _TAMED]
    best: tuple[float, Any, TabularConfig, FitOptions] | None = None
    tried = []
    for its_config, its_options in settings:
        loss, result = attempt(its_config, its_options)
        tried.append(
            {"widths": list(its_config.widths), "bins": its_config.bins, "dropout": its_config.dropout,
             "learning_rate": its_options.learning_rate, "weight_decay": its_options.weight_decay, "validation_loss": loss}
        )  # fmt: skip
        if best is None or loss < best[0]:
            best = (loss, result, its_config, its_options)
    assert best is not None
    return best[1], best[2], best[3], tried


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


def together(parts: Sequence[Examples]) -> Examples:
    """The rows of several parts, one after the other."""
    weight = None
    if any(part.weight is not None for part in parts):
        weight = np.concatenate([np.ones(len(p), np.float32) if p.weight is None else p.weight for p in parts])
    return Examples(
        {name: np.concatenate([part.inputs[name] for part in parts]) for name in parts[0].inputs},
        {name: np.concatenate([part.targets[name] for part in parts]) for name in parts[0].targets},
        weight,
    )
