"""`train profiles --interactions F …`: from raw events to a bundle."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from personalization.bundles.bundle import ITEM_CATEGORIES, MODEL_ONNX
from training.background import add_background
from training.bundle_writer import REPORT_HTML, draft_bundle, rows_per_second, start_bundle, write_bundle
from training.evaluation.by_group import named_columns
from training.evaluation.importance import Importance, permutation_importance
from training.export import constant_model, export, open_session
from training.fitting import Examples
from training.report import explained_rows
from training.task import BASE_RATE, TABULAR, TabularOptions
from training.tasks.profiles.attributes import has_attributes, partly_hidden, without_attributes
from training.tasks.profiles.behaviour import behaviour_thresholds
from training.tasks.profiles.evaluate import ProfilesEvaluator, evaluate, headline
from training.tasks.profiles.examples import Sample, stack
from training.tasks.profiles.labels import bought_within
from training.tasks.profiles.lifetimes import lifetimes_of
from training.tasks.profiles.manifest import TrainedProfiles, bundle_content, notes_of
from training.tasks.profiles.model import (
    ProfileModel,
    ProfileTargets,
    base_rates,
    examples_of,
    refit_profiles_network,
    targets_of,
    train_profiles_network,
)
from training.tasks.profiles.options import ProfileData
from training.tasks.profiles.prepare import PreparedProfiles, prepare_profiles
from training.tasks.profiles.report import profile_report
from training.tasks.profiles.segmentation import segment_outcomes
from training.tuning import TabularSearchSpace, tune

NAME: Final = "profiles"
KIND: Final = "interactions"
_PARITY_ROWS: Final = 512
_REFIT: Final = "refit"

_log = logging.getLogger(__name__)


def train_profiles(data: ProfileData, training: TabularOptions) -> str:
    """Train, judge, export, describe; answer the bundle's version. `training.out` is a bundle afterwards, with metrics.json.

    Raises `InvalidInput` for what the user can put right, `ParityError` where Keras and ONNX Runtime do not agree.
    """
    started = time.perf_counter()
    prepared = prepare_profiles(data)
    named_columns(prepared.encoder, training.groups)
    _announce(prepared)
    start_bundle(training.out)
    outcome = _learn(prepared, training)
    version = _write(outcome, data, training, training.out, started)
    if training.refit and outcome.model is not None:
        _refit(outcome, data, training)
    return version


def targets_for(prepared: PreparedProfiles, train: Sample, seed: int) -> ProfileTargets:
    """What these training rows can teach, with the kinds of customers that there are by the latest histories."""
    question = prepared.question
    kinds = lifetimes_of(prepared.latest.columns, prepared.encoder, seed)
    return targets_of(train, question.days, question.horizon, question.categories, kinds, prepared.cuts.extrapolated)


def _learn(prepared: PreparedProfiles, training: TabularOptions) -> TrainedProfiles:
    targets = targets_for(prepared, prepared.train, training.fit.seed)
    rates = base_rates(prepared.train, targets)
    if training.model == BASE_RATE:
        return TrainedProfiles(prepared, targets, None, rates, training.config, training.fit, [])
    train = partly_hidden(prepared.encoder, examples_of(prepared.encoder, prepared.train, targets), training.fit.seed)
    valid = examples_of(prepared.encoder, prepared.valid, targets)

    def attempt(options: TabularOptions) -> tuple[float, ProfileModel]:
        model = train_profiles_network(prepared.encoder, targets, train, valid, options.config, options.fit)
        return model.fitted.best_score, model

    training, model, tried = tune(attempt, training, TabularSearchSpace())
    _log.info("trained: the best of %d epochs was %d", len(model.fitted.history), model.fitted.best_epoch)
    return TrainedProfiles(prepared, targets, model, rates, training.config, training.fit, tried)


def _write(outcome: TrainedProfiles, data: ProfileData, training: TabularOptions, directory: Path, started: float) -> str:
    prepared, targets = outcome.prepared, outcome.targets
    train, valid = (examples_of(prepared.encoder, rows, targets) for rows in (prepared.train, prepared.valid))
    test = None if prepared.test is None else examples_of(prepared.encoder, prepared.test, targets)
    path = directory / MODEL_ONNX
    sample = {name: values[:_PARITY_ROWS] for name, values in train.inputs.items()}
    parity = _export(outcome, path, sample)
    judge = ProfilesEvaluator(
        encoder=prepared.encoder,
        targets=targets,
        churn_horizon=data.churn_horizon,
        train=(prepared.train, train),
        valid=(prepared.valid, valid),
        test=None if test is None or prepared.test is None else (prepared.test, test),
        outputs=(run(path, valid), None if test is None else run(path, test)),
        seed=data.seed,
        with_baselines=outcome.model is not None,
        group_by=training.groups,
    )
    _log.info("judging; baselines: recency and frequency, logistic regression, dense 64-32-1, LightGBM")
    evaluation = evaluate(judge)
    importance = _importance(path, prepared, valid, targets, data.seed) if outcome.model else []
    evaluation.metrics |= {"cuts": prepared.cuts.to_json(data.zone), "data": prepared.report, "notes": notes_of(outcome)}
    if outcome.tried:
        evaluation.metrics["tuning"] = outcome.tried
    if test is not None and has_attributes(prepared.encoder):
        bare = run(path, without_attributes(prepared.encoder, test))
        evaluation.metrics["test_without_attributes"] = headline(judge, bare)
    speed = rows_per_second(path, sample)
    content = bundle_content(outcome, data, importance) | {"rows_per_second_per_core": speed, "export_difference": parity}
    asked = draft_bundle(directory, KIND, prepared.encoder, content)
    content["behaviour"] = behaviour_thresholds(asked, prepared.latest)
    asked = draft_bundle(directory, KIND, prepared.encoder, content)
    evaluation.metrics["segments"] = segment_outcomes(asked, judge.judged[0])
    files = [REPORT_HTML, *add_background(asked, train.inputs)]
    if prepared.category_of_item:
        (directory / ITEM_CATEGORIES).write_bytes(orjson.dumps({"category_of_item": prepared.category_of_item}))
        files.append(ITEM_CATEGORIES)
    examples = explained_rows(asked, (valid if test is None else test).inputs) if outcome.model else ""
    page = profile_report(prepared, targets, outcome.model, evaluation, importance, data, speed, examples)
    (directory / REPORT_HTML).write_text(page, encoding="utf-8")
    return write_bundle(
        directory,
        name=NAME,
        kind=KIND,
        model=TABULAR if outcome.model else BASE_RATE,
        encoder=prepared.encoder,
        metrics=evaluation.metrics,
        started=started,
        files=files,
        content=content,
    )


def _export(outcome: TrainedProfiles, path: Path, sample: dict[str, NDArray[Any]]) -> float:
    if outcome.model is not None:
        return export(outcome.model.network.serving, path, sample, relative=True)
    kinds = {name: (values.shape[1], str(values.dtype)) for name, values in sample.items()}
    constant_model(path, kinds, outcome.rates)
    return 0.0


def run(path: Path, rows: Examples, batch: int = 8192) -> dict[str, NDArray[np.float32]]:
    """The graph's outputs by name: what is judged is what will be served."""
    session = open_session(path)
    names = [output.name for output in session.get_outputs()]
    parts = [
        session.run(names, {name: values[start : start + batch] for name, values in rows.inputs.items()})
        for start in range(0, max(len(rows), 1), batch)
    ]
    return {name: np.concatenate([part[place] for part in parts]) for place, name in enumerate(names)}


def _importance(
    path: Path, prepared: PreparedProfiles, valid: Examples, targets: ProfileTargets, seed: int
) -> list[Importance]:
    """Of each column for the headline probability; none where validation could not see its horizon."""
    labels, known = bought_within(prepared.valid.labels, targets.days, targets.horizon)
    if not known.any():
        return []
    session = open_session(path)

    def predict(inputs: Any) -> NDArray[np.float32]:
        within = session.run(["probability_within"], dict(inputs))[0]
        return np.asarray(within[:, targets.interval], dtype=np.float32)

    inputs = {name: values[known] for name, values in valid.inputs.items()}
    return permutation_importance(prepared.encoder, predict, inputs, labels[known], seed=seed, repeats=2, max_rows=2_000)


def _refit(outcome: TrainedProfiles, data: ProfileData, training: TabularOptions) -> None:
    """One trained up to the newest event, beside the one whose metrics were reported; nothing is left to judge it by."""
    started = time.perf_counter()
    assert outcome.model is not None
    latest = replace(data, no_test=True, cutoff=None)
    prepared = prepare_profiles(latest)
    everything: Sample = prepared.train if prepared.cuts.by_user else stack([prepared.train, prepared.valid])
    targets = targets_for(prepared, everything, training.fit.seed)
    rows = partly_hidden(prepared.encoder, examples_of(prepared.encoder, everything, targets), training.fit.seed)
    _log.info("training once more, on all %d rows", len(rows))
    model = refit_profiles_network(prepared.encoder, targets, rows, outcome.model, outcome.config, outcome.fit)
    note = "this model was trained on its validation rows too: their metrics flatter it"
    prepared = replace(prepared, cuts=replace(prepared.cuts, notes=(*prepared.cuts.notes, note)))
    directory = training.out / _REFIT
    start_bundle(directory)
    whole = replace(outcome, prepared=prepared, targets=targets, model=model, rates=base_rates(everything, targets), tried=[])
    _write(whole, latest, training, directory, started)


def _announce(prepared: PreparedProfiles) -> None:
    report, cuts = prepared.report, prepared.cuts
    _log.info("%d events of %d users, %s to %s", report["events"], report["users"], report["first"], report["last"])
    for reason, count in [*report["rejected"].items(), *report["cleaned"].items()]:
        _log.info("%d events: %s", count, reason)
    if report["suspected_duplicates"]:
        _log.info("%d events are copies of others, without an event_id to prove it: kept", report["suspected_duplicates"])
    if "warning" in report:
        _log.warning("%s", report["warning"])
    rows = report["rows"]
    counts = (len(cuts.train), rows["train"], rows["validation"], rows["test"])
    _log.info("%d training cuts; %d rows, validation %d, test %d", *counts)
    used = sum(decision.column is not None for decision in prepared.decisions)
    _log.info("%d of %d features are used", used, len(prepared.decisions))
