"""`train ads --impressions F …`: from a log of impressions to a bundle."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.bundles.bundle import MODEL_ONNX
from personalization.core.schema import IMPRESSIONS
from training.background import write_background
from training.bundle_writer import REPORT_HTML, rows_per_second, start_bundle, write_bundle
from training.evaluation.group_metrics import named_columns
from training.evaluation.importance import Importance, permutation_importance
from training.export import constant_model, export, open_session
from training.fitting import Examples
from training.task import BASE_RATE, TABULAR, TabularOptions
from training.tasks.ads.evaluate import JudgedRows, evaluate
from training.tasks.ads.heads import CONVERSION, UNTREATED
from training.tasks.ads.learn import TrainedAds, learn, probabilities
from training.tasks.ads.manifest import bundle_content
from training.tasks.ads.model import TARGET, AdModel, base_rates, examples_of, refit_network, seen_at
from training.tasks.ads.options import AdData
from training.tasks.ads.prepare import PreparedAds, Rows, prepare_ads
from training.tasks.ads.report import ad_report

NAME: Final = "ads"
_PARITY_ROWS: Final = 512
_REFIT: Final = "refit"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Parts:
    """Examples of the three parts."""

    train: Examples
    valid: Examples
    test: Examples


def train_ads(data: AdData, training: TabularOptions) -> str:
    """Train, judge, export, describe; answer the bundle's version. `training.out` is a bundle afterwards, with metrics.json.

    Raises `InvalidInput` for what the user can put right, `ParityError` where Keras and ONNX Runtime do not agree.
    """
    started = time.perf_counter()
    prepared = prepare_ads(data)
    named_columns(prepared.encoder, training.groups)
    _announce(prepared)
    start_bundle(training.out)
    parts = _Parts(*(_examples(prepared, rows) for rows in (prepared.train, prepared.valid, prepared.test)))
    learnt = None if training.model == BASE_RATE else learn(prepared, parts.train, parts.valid, training)
    version = _write(prepared, parts, learnt, data, training, training.out, started)
    if training.refit and learnt is not None:
        _refit(prepared, parts, learnt, data, training)
    return version


def _write(
    prepared: PreparedAds,
    parts: _Parts,
    learnt: TrainedAds | None,
    data: AdData,
    training: TabularOptions,
    directory: Path,
    started: float,
) -> str:
    path = directory / MODEL_ONNX
    sample = {name: values[:_PARITY_ROWS] for name, values in parts.train.inputs.items()}
    rates = base_rates(prepared.tasks, parts.train)
    if learnt is not None and learnt.folds:
        users = np.concatenate([prepared.train.log.user, prepared.valid.log.user])
    else:
        users = prepared.valid.log.user
    if learnt is None:
        parity = 0.0
        constant_model(path, {name: (v.shape[1], str(v.dtype)) for name, v in sample.items()}, dict(rates))
        valid = JudgedRows(parts.valid, _constants(prepared, rates, parts.valid), users)
        test = JudgedRows(parts.test, _constants(prepared, rates, parts.test), prepared.test.log.user)
    else:
        parity = export(learnt.model.network.serving, path, sample)
        valid = JudgedRows(learnt.rows, probabilities(prepared.tasks, learnt.model, learnt.raw, learnt.rows), users)
        test = JudgedRows(parts.test, _served(path, prepared, learnt.model, parts.test), prepared.test.log.user)
    _log.info("judging; baselines: base rate, logistic regression, dense 64-32-1, LightGBM")
    evaluation = evaluate(
        prepared.encoder, prepared.tasks, parts.train, valid, test, parts.valid, data.seed,
        with_baselines=learnt is not None, group_by=training.groups,
    )  # fmt: skip
    evaluation.metrics |= {"data": prepared.report, "notes": prepared.notes}
    if learnt is not None and learnt.tried:
        evaluation.metrics["tuning"] = learnt.tried
    importance = _importance(path, prepared, parts.valid, data.seed) if learnt else []
    files = [REPORT_HTML]
    if learnt is not None:
        said = run(path, parts.train)[prepared.tasks.outputs[0]]
        files.append(write_background(directory, parts.train.inputs, said))
    speed = rows_per_second(path, sample)
    (directory / REPORT_HTML).write_text(ad_report(prepared, learnt, evaluation, importance, speed), encoding="utf-8")
    content = bundle_content(prepared, learnt, rates, importance, data, training)
    return write_bundle(
        directory,
        name=NAME,
        kind=IMPRESSIONS.kind,
        model=TABULAR if learnt else BASE_RATE,
        encoder=prepared.encoder,
        metrics=evaluation.metrics,
        started=started,
        files=files,
        content=content | {"rows_per_second_per_core": speed, "export_difference": parity},
    )


def _examples(prepared: PreparedAds, rows: Rows) -> Examples:
    return examples_of(prepared.encoder, rows.columns, rows.log, prepared.places)


def _served(path: Path, prepared: PreparedAds, model: AdModel, rows: Examples) -> dict[str, NDArray[np.float64]]:
    """What the exported graph says of rows as they were placed: what is judged is what will be served."""
    if not len(rows):
        return {name: np.zeros(0) for name in prepared.tasks.outputs}
    found = run(path, rows)
    size = len(prepared.tasks.outputs)
    log_seen = np.log(model.seen)[None, :].repeat(len(rows), axis=0) if prepared.tasks.places else np.zeros((len(rows), 0))
    factor = seen_at(prepared.tasks, np.concatenate([np.zeros((len(rows), size)), log_seen], axis=1), rows)
    out = {}
    for name in prepared.tasks.outputs:
        out[name] = found[name].astype(np.float64) * (1.0 if name == UNTREATED else factor)
        factor = out[name] if name != UNTREATED else factor
    return out


def _constants(prepared: PreparedAds, rates: dict[str, float], rows: Examples) -> dict[str, NDArray[np.float64]]:
    chained = dict(rates)
    if prepared.tasks.click and CONVERSION in rates:
        chained[CONVERSION] = rates["click"] * rates[CONVERSION]
    return {name: np.full(len(rows), rate) for name, rate in chained.items()}


def run(path: Path, rows: Examples, batch: int = 8192) -> dict[str, NDArray[np.float32]]:
    """The graph's outputs by name."""
    session = open_session(path)
    names = [output.name for output in session.get_outputs()]
    parts = [
        session.run(names, {name: values[start : start + batch] for name, values in rows.inputs.items()})
        for start in range(0, max(len(rows), 1), batch)
    ]
    return {name: np.concatenate([part[place] for part in parts]) for place, name in enumerate(names)}


def _importance(path: Path, prepared: PreparedAds, valid: Examples, seed: int) -> list[Importance]:
    """Of each column for the first task."""
    name = prepared.tasks.outputs[0]
    target = valid.targets[TARGET]
    shown = target[:, 3] > 0
    session = open_session(path)

    def predict(inputs: Any) -> NDArray[np.float32]:
        return np.asarray(session.run([name], dict(inputs))[0], dtype=np.float32)

    inputs = {key: values[shown] for key, values in valid.inputs.items()}
    labels = target[shown, 0 if name == "click" else 1]
    return permutation_importance(prepared.encoder, predict, inputs, labels, seed=seed, repeats=2, max_rows=2_000)


def _refit(prepared: PreparedAds, parts: _Parts, learnt: TrainedAds, data: AdData, training: TabularOptions) -> None:
    """One trained on every mature impression, beside the one whose metrics were reported; nothing is left to judge it by."""
    started = time.perf_counter()
    every = Examples.concatenate([part for part in (parts.train, parts.valid, parts.test) if len(part)])
    _log.info("training once more, on all %d rows", len(every))
    model = refit_network(prepared.encoder, prepared.tasks, every, learnt.model, learnt.config, learnt.fit)
    directory = training.out / _REFIT
    start_bundle(directory)
    notes = [*prepared.notes, "this model was trained on its validation and test rows too: their metrics flatter it"]
    whole = replace(learnt, model=model)
    _write(replace(prepared, notes=notes), parts, whole, data, training, directory, started)


def _announce(prepared: PreparedAds) -> None:
    report = prepared.report
    _log.info("%d impressions of %d ads to %d users", report["rows_in_log"], report["ads"], report["users"])
    rows = report["rows"]
    _log.info("rows: %d to train on, %d validation, %d test", rows["train"], rows["validation"], rows["test"])
    for note in prepared.notes:
        _log.info("%s", note)
    used = sum(decision.column is not None for decision in prepared.decisions)
    _log.info("%d of %d columns are used", used, len(prepared.decisions))
