"""The ad network: training on all impressions, calibration on rows it was not trained on, cross-fitting of small logs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
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
from training.task import TabularOptions
from training.tasks.ads.heads import CLICK, CONVERSION, UNTREATED, AdHead, AdTasks
from training.tasks.ads.impressions import Impressions
from training.tuning import TabularSearchSpace, Trials, tune

TARGET: Final = "ads"
PATIENCE: Final = 10
FOLDS: Final = 5
# A log with fewer outcomes of its rarest task cannot spare validation rows: it is cross-fitted …
_FEW_OUTCOMES: Final = 2_000
_FEW_ROWS: Final = 60_000  # … where it has no more rows than these, as folds cost as many trainings
_MIN_POSITION_ROWS: Final = 50  # impressions of a position with an examination probability of its own
_MIN_CONTROL_ROWS: Final = 100

Floats = NDArray[np.float64]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AdPosition:
    """A position with an examination probability; in its placement, where the log names those."""

    placement: str | None
    position: int


@dataclass(frozen=True)
class AdModel:
    """A trained ad network.

    network            with the calibration set in its serving view; None for raw values of several networks
    slope, intercept   of the calibrated logit, by output
    examination        (positions,) P(examined), relative to the first position
    """

    tasks: AdTasks
    network: Any
    fitted: FitReport
    slope: dict[str, float]
    intercept: dict[str, float]
    examination: Floats

    def raw(self, rows: Examples) -> Floats:
        """(N, outputs + positions) merged raw values of the head."""
        return np.asarray(self.network.raw(dict(rows.inputs))[TARGET], np.float64)

    def probabilities(self, raw: Floats, rows: Examples) -> dict[str, Floats]:
        """Probabilities of the impressions at their positions, from raw values; see `impression_probabilities`."""
        conditional = {
            name: expit(self.slope[name] * raw[:, column] + self.intercept[name])
            for column, name in enumerate(self.tasks.outputs)
        }
        return impression_probabilities(self.tasks, conditional, examination_of(self.tasks, raw, rows))


@dataclass(frozen=True)
class ValidatedAdModel:
    """A model with what its validation found.

    rows      the examples that it was validated on, and `user` (N,) the codes of their users
    raw       raw values of these rows, by networks that were not trained on them
    options   with tuned settings
    trials    settings and their validation losses
    folds     number of folds, 0 where validation had rows of its own
    """

    model: AdModel
    rows: Examples
    user: NDArray[np.int64]
    raw: Floats
    options: TabularOptions
    trials: Sequence[dict[str, Any]] = ()
    folds: int = 0


def frequent_positions(log: Impressions) -> list[AdPosition]:
    """The positions of training impressions that are frequent enough for a probability of their own.

    None where the log has no positions, or one only: then their effect cannot be estimated.
    """
    known = np.isfinite(log.position) & (log.position >= 1)
    if len(np.unique(log.position[known])) < 2:
        return []
    counts = Counter(
        AdPosition(placement, int(position))
        for placement, position in zip(log.placement[known], log.position[known], strict=True)
    )
    frequent = [position for position, count in counts.items() if count >= _MIN_POSITION_ROWS]
    return sorted(frequent, key=lambda one: (one.placement or "", one.position))


def tasks_of(log: Impressions, positions: Sequence[AdPosition]) -> AdTasks:
    """The outputs that training impressions can train."""
    first: dict[str | None, int] = {}
    for one in positions:
        first[one.placement] = min(first.get(one.placement, one.position), one.position)
    control = ~log.shown
    return AdTasks(
        click=log.click is not None and bool(log.click.any()),
        conversion=log.conversion is not None and bool(log.conversion.any()),
        untreated=control.sum() >= _MIN_CONTROL_ROWS and log.conversion is not None and bool(log.conversion[control].any()),
        positions=len(positions),
        first=tuple(one.position == first[one.placement] for one in positions),
    )


def examples_of(
    encoder: TableEncoder, columns: Mapping[str, NDArray[Any]], log: Impressions, positions: Sequence[AdPosition]
) -> Examples:
    """Encoded impressions with their target (N, 4), see `AdHead`."""
    code_of = {(one.placement, one.position): code for code, one in enumerate(positions)}
    number = np.where(np.isfinite(log.position), log.position, -1).astype(np.int64)
    position = [code_of.get(key, -1) for key in zip(log.placement.tolist(), number.tolist(), strict=True)]
    click, conversion = (np.zeros(len(log)) if outcome is None else outcome for outcome in (log.click, log.conversion))
    target = np.stack([click, conversion, position, log.shown], axis=1).astype(np.float32)
    weight = (log.weight / log.weight.mean()).astype(np.float32) if len(log) and np.ptp(log.weight) > 0 else None
    return Examples(encoder.encode(dict(columns), len(log)).inputs, {TARGET: target}, weight)


def labels_of(rows: Examples, name: str) -> Floats:
    """(N,) 0 or 1 of an output."""
    return np.asarray(rows.targets[TARGET][:, 0 if name == CLICK else 1], np.float64)


def shown(rows: Examples) -> NDArray[np.bool_]:
    """(N,) whether the ad was shown; False for the control group."""
    return np.asarray(rows.targets[TARGET][:, 3] > 0)


def impression_probabilities(tasks: AdTasks, conditional: Mapping[str, Floats], examination: Floats) -> dict[str, Floats]:
    """(N,) each: P(click) and P(conversion) of impressions at their positions, and P(conversion) without the ad.

    conditional   (N,) each: the graph's outputs, see `AdHead`
    examination   (N,) P(examined)
    """
    probabilities: dict[str, Floats] = {}
    factor = examination
    for name in tasks.outputs:
        probabilities[name] = conditional[name] if name == UNTREATED else factor * conditional[name]
        if name == CLICK:
            factor = probabilities[name]
    return probabilities


def examination_of(tasks: AdTasks, raw: Floats, rows: Examples) -> Floats:
    """(N,) P(examined) of the position of each row, 1 where it is not known."""
    return position_examination(tasks, np.exp(raw[:, len(tasks.outputs) :]), rows)


def position_examination(tasks: AdTasks, examination: Floats, rows: Examples) -> Floats:
    """(N,) P(examined) of the position of each row, from (positions,) or (N, positions); 1 where it is not known."""
    position = rows.targets[TARGET][:, 2].astype(np.int64)
    if not tasks.positions:
        return np.ones(len(rows))
    table = np.broadcast_to(examination, (len(rows), tasks.positions))
    return np.where(position >= 0, table[np.arange(len(rows)), position], 1.0)


def base_rates(tasks: AdTasks, train: Examples) -> dict[str, float]:
    """Weighted rates of the training rows, by output: the constants of a model without a network."""
    weight = _weight(train)
    treated = weight * shown(train)
    impressions, clicks, conversions = (
        float(total.sum()) for total in (treated, treated * labels_of(train, CLICK), treated * labels_of(train, CONVERSION))
    )
    control = weight - treated
    rates = {
        CLICK: clicks / max(impressions, 1e-9),
        CONVERSION: conversions / max(clicks if tasks.click else impressions, 1e-9),
        UNTREATED: float((control * labels_of(train, CONVERSION)).sum()) / max(float(control.sum()), 1e-9),
    }
    return {name: min(max(rates[name], 1e-6), 1 - 1e-6) for name in tasks.outputs}


def train_and_validate(
    encoder: TableEncoder, tasks: AdTasks, train: Examples, valid: Examples, users: Sequence[NDArray[np.int64]],
    options: TabularOptions,
) -> ValidatedAdModel:  # fmt: skip
    """Train and calibrate: by cross-fitting where outcomes are few, else with `valid`.

    users   codes of the users of `train` and of `valid`
    """
    if rarest_outcome(tasks, train) < _FEW_OUTCOMES and len(train) + len(valid) <= _FEW_ROWS:
        return cross_fit(encoder, tasks, Examples.concatenate([train, valid]), np.concatenate(users), options)

    def attempt(one: TabularOptions) -> tuple[float, AdModel]:
        model = train_ads_network(encoder, tasks, train, valid, one.config, one.fit)
        return model.fitted.best_score, model

    options, model, trials = tune(attempt, options, TabularSearchSpace())
    _log.info("trained: the best of %d epochs was %d", len(model.fitted.history), model.fitted.best_epoch)
    return ValidatedAdModel(model, valid, users[1], model.raw(valid), options, trials)


def cross_fit(
    encoder: TableEncoder, tasks: AdTasks, rows: Examples, user: NDArray[np.int64], options: TabularOptions
) -> ValidatedAdModel:
    """Train on all rows; settings, number of epochs and calibration come from networks that were trained without a fold.

    user   (N,) codes; the rows of a user are in one fold
    """
    users, code = np.unique(user, return_inverse=True)
    fold = (np.random.default_rng(options.fit.seed).permutation(len(users)) % FOLDS)[code]

    def attempt(one: TabularOptions) -> tuple[float, tuple[Floats, list[AdModel]]]:
        models, raw = [], np.zeros((len(rows), len(tasks.outputs) + tasks.positions))
        for number in range(FOLDS):
            rest, held_out = rows.take(fold != number), rows.take(fold == number)
            models.append(train_ads_network(encoder, tasks, rest, held_out, one.config, one.fit))
            raw[fold == number] = models[-1].raw(held_out)
        return float(row_losses(tasks, raw, rows).mean()), (raw, models)

    if options.tune:
        options, (raw, models), records = tune(attempt, options, TabularSearchSpace())
    else:
        trials = Trials[TabularOptions, tuple[Floats, list[AdModel]]]()
        for candidate in (options, _regularised(options)):
            trials.run(attempt, candidate, _parameters(candidate))
        (options, (raw, models)), records = trials.best, trials.records
    slope, intercept = calibrate(tasks, raw, rows)
    epochs = max(1, round(float(np.mean([model.fitted.best_epoch for model in models]))))
    model = _refit(encoder, rows, replace(models[0], slope=slope, intercept=intercept), options, epochs)
    _log.info("trained on all %d rows for %d epochs, the mean of %d folds", len(rows), epochs, FOLDS)
    return ValidatedAdModel(model, rows, user, raw, options, records, FOLDS)


def train_ads_network(
    encoder: TableEncoder, tasks: AdTasks, train: Examples, valid: Examples, config: TabularConfig, options: FitOptions
) -> AdModel:
    """Train on `train`; early stopping and calibration use `valid`. Rows count by their weights."""
    head, network = _build(encoder, tasks, train, config, options)
    report = fit_tabular(network, train, valid, options)
    model = AdModel(tasks, network, report, {}, {}, np.asarray(head.examination(), np.float64))
    slope, intercept = calibrate(tasks, model.raw(valid), valid)
    head.calibration.assign(list(slope.values()), list(intercept.values()))
    return replace(model, slope=slope, intercept=intercept)


def refit_ads_network(encoder: TableEncoder, rows: Examples, validated: ValidatedAdModel) -> AdModel:
    """A network trained on all `rows` for the best number of epochs, with the same settings and calibration."""
    return _refit(encoder, rows, validated.model, validated.options, validated.model.fitted.best_epoch)


def calibrate(tasks: AdTasks, raw: Floats, rows: Examples) -> tuple[dict[str, float], dict[str, float]]:
    """Slope and intercept of each output's logit. Conversions are calibrated given the calibrated clicks.

    raw   (N, outputs + positions) raw values, by networks that were not trained on `rows`
    """
    weight, treated = _weight(rows), shown(rows)
    slope, intercept, factor = {}, {}, examination_of(tasks, raw, rows)
    for column, name in enumerate(tasks.outputs):
        part, level = (~treated, np.ones(len(rows))) if name == UNTREATED else (treated, factor)
        slope[name], intercept[name] = fit_logistic(raw[:, column], labels_of(rows, name), level, weight * part)
        if name == CLICK:
            factor = factor * expit(slope[name] * raw[:, column] + intercept[name])
    return slope, intercept


def fit_logistic(logits: Floats, labels: Floats, factor: Floats, weight: Floats) -> tuple[float, float]:
    """Slope and intercept with which `factor` · σ(slope · logit + intercept) has the least log loss.

    Like `training.calibration.platt`, with the same prior, for a probability that is a product with a known `factor` (N,).
    """

    def loss(theta: Floats) -> float:
        p = np.clip(factor * expit(theta[0] * logits + theta[1]), 1e-9, 1 - 1e-9)
        likelihood = float((weight * (labels * np.log(p) + (1 - labels) * np.log1p(-p))).sum())
        prior = 0.5 * ((theta[0] - 1) ** 2 + theta[1] ** 2) / PRIOR_DEVIATION**2
        return float(prior - likelihood)

    best = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-8, "maxiter": 2_000})
    return float(best.x[0]), float(best.x[1])


def row_losses(tasks: AdTasks, raw: Floats, rows: Examples) -> Floats:
    """(N,) weighted log loss of all outputs together, uncalibrated."""
    identity = AdModel(
        tasks, None, FitReport(), dict.fromkeys(tasks.outputs, 1.0), dict.fromkeys(tasks.outputs, 0.0), np.zeros(0)
    )
    treated = shown(rows)
    total = np.zeros(len(rows))
    for name, probability in identity.probabilities(raw, rows).items():
        label, p = labels_of(rows, name), np.clip(probability, 1e-7, 1 - 1e-7)
        part = ~treated if name == UNTREATED else treated
        total -= part * (label * np.log(p) + (1 - label) * np.log1p(-p))
    return total * _weight(rows)


def rarest_outcome(tasks: AdTasks, rows: Examples) -> int:
    """Number of outcomes of the output that has the fewest."""
    treated = shown(rows)
    return min(int((labels_of(rows, name) * (~treated if name == UNTREATED else treated)).sum()) for name in tasks.outputs)


def _refit(encoder: TableEncoder, rows: Examples, like: AdModel, options: TabularOptions, epochs: int) -> AdModel:
    epochs = max(1, epochs)
    head, network = _build(encoder, like.tasks, rows, options.config, options.fit)
    report = fit_tabular(network, rows, None, replace(options.fit, epochs=epochs))
    head.calibration.assign(list(like.slope.values()), list(like.intercept.values()))
    report = replace(report, best_epoch=epochs)  # also where its time limit ended it earlier
    return replace(like, network=network, fitted=report, examination=np.asarray(head.examination(), np.float64))


def _build(
    encoder: TableEncoder, tasks: AdTasks, train: Examples, config: TabularConfig, options: FitOptions
) -> tuple[AdHead, TabularNetwork]:
    statistics = encoder_statistics(encoder, dict(train.inputs), config, options.seed)
    head = AdHead(tasks, statistics, CrossConfig() if supports_crosses(statistics, len(train)) else None)
    network = build_tabular(encoder, statistics, (head,), config)
    head.set_bias([float(logit(rate)) for rate in base_rates(tasks, train).values()])
    return head, network


def _regularised(options: TabularOptions) -> TabularOptions:
    """A smaller network that learns more slowly, which small logs may need."""
    fit = replace(options.fit, learning_rate=1e-3, weight_decay=0.1)
    return replace(options, config=TabularConfig(widths=(32,), bins=6, dropout=0.3), fit=fit)


def _parameters(options: TabularOptions) -> dict[str, Any]:
    config, fit = options.config, options.fit
    return {"widths": list(config.widths), "bins": config.bins, "dropout": config.dropout,
            "learning_rate": fit.learning_rate, "weight_decay": fit.weight_decay}  # fmt: skip


def _weight(rows: Examples) -> Floats:
    return np.ones(len(rows)) if rows.weight is None else rows.weight.astype(np.float64)
