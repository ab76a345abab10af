"""`train JOB --table F --label COL`: from a flat table to a bundle."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from personalization.bundles.bundle import MODEL_ONNX
from personalization.core.schema import FLAT, TABLE_SUFFIX
from training.background import add_background, draft_bundle
from training.bundle_writer import REPORT_HTML, rows_per_second, start_bundle, write_bundle
from training.export import constant_model, export
from training.fitting import Examples
from training.report import explained_rows
from training.tasks.tabular.learn import TrainedTable, learn
from training.tasks.tabular.model import TARGET, refit_binary
from training.tasks.tabular.options import BASE_RATE, TABULAR, TableOptions, TrainOptions
from training.tasks.tabular.prepare import PreparedTable, prepare_table
from training.tasks.tabular.report import table_report

_PARITY_ROWS = 512
_REFIT = "refit"

_log = logging.getLogger(__name__)


def train_table(source: TableOptions, options: TrainOptions) -> str:
    """Train, judge, export, describe; answer the bundle's version. `options.out` is a bundle afterwards, with metrics.json.

    Raises `InvalidInput` for what the user can put right, `ParityError` where Keras and ONNX Runtime do not agree.
    """
    started = time.perf_counter()
    prepared = prepare_table(source)
    _announce(prepared)
    start_bundle(options.out)
    outcome = learn(prepared, options)
    version = _write(outcome, source, options, options.out, started)
    if options.refit and outcome.model is not None:
        _refit(outcome, source, options)
    return version


def _write(outcome: TrainedTable, source: TableOptions, options: TrainOptions, directory: Path, started: float) -> str:
    prepared, model = outcome.prepared, outcome.model
    sample = {name: values[:_PARITY_ROWS] for name, values in prepared.train.inputs.items()}
    path = directory / MODEL_ONNX
    parity = 0.0
    if model is None:
        kinds = {name: (values.shape[1], str(values.dtype)) for name, values in sample.items()}
        constant_model(path, kinds, {"probability": outcome.rate})
    else:
        parity = export(model.network.serving, path, sample)
    speed = rows_per_second(path, sample) if sample else 0
    content = _content(outcome, source, options) | {"rows_per_second_per_core": speed, "export_difference": parity}
    asked = draft_bundle(directory, FLAT, prepared.encoder, content)
    files = [REPORT_HTML, *add_background(asked, prepared.train.inputs)]
    examples = explained_rows(asked, outcome.judged.inputs) if model else ""
    (directory / REPORT_HTML).write_text(table_report(outcome, source, options, speed, examples), encoding="utf-8")
    return write_bundle(
        directory,
        name=options.job + TABLE_SUFFIX,
        kind=FLAT,
        model=TABULAR if model else BASE_RATE,
        encoder=prepared.encoder,
        metrics=outcome.metrics,
        started=started,
        files=files,
        content=content,
    )


def _content(outcome: TrainedTable, source: TableOptions, options: TrainOptions) -> dict[str, Any]:
    prepared, model = outcome.prepared, outcome.model
    content: dict[str, Any] = {
        "label": {"column": source.label, "positive": prepared.label.positive, "negative": prepared.label.negative},
        "threshold": outcome.metrics["threshold"],
        "fallback": {"probability": outcome.rate},
        "data_fingerprint": prepared.fingerprint,
        "rows": prepared.counts,
        "decisions": [
            {"column": d.name, "action": d.action, "reason": d.reason, "missing": round(d.missing, 6), "distinct": d.distinct}
            for d in prepared.decisions
        ],
        "warnings": prepared.warnings,
        "options": {"seed": source.seed, "folds": options.folds, "tune": options.tune, "no_test": source.no_test},
    }
    if model is not None:
        config = outcome.config
        content["calibration"] = {
            "method": "platt",
            "slope": model.slope,
            "intercept": model.intercept,
            "rows": len(prepared.valid),
        }
        content["importance"] = [{"column": i.column, "log_loss": i.loss, "error": i.error} for i in outcome.importance]
        content["network"] = {"members": config.members, "widths": list(config.widths), "bins": config.bins}
        content["options"] |= {
            "learning_rate": outcome.fit.learning_rate,
            "weight_decay": outcome.fit.weight_decay,
            "dropout": config.dropout,
            "epochs": model.fitted.best_epoch,
        }
    return content


def _refit(outcome: TrainedTable, source: TableOptions, options: TrainOptions) -> None:
    """One trained on every row, beside the one whose metrics were reported; nothing is left to judge it by."""
    started = time.perf_counter()
    prepared = outcome.prepared
    assert outcome.model is not None
    parts = [prepared.train, prepared.test] + ([] if prepared.valid is prepared.train else [prepared.valid])
    every = _together([part for part in parts if len(part)])
    _log.info("training once more, on all %d rows", len(every))
    model = refit_binary(prepared.encoder, every, outcome.model, outcome.config, outcome.fit)
    directory = options.out / _REFIT
    start_bundle(directory)
    notes = [*prepared.notes, "this model was trained on all of them: the metrics are those of the model without the test rows"]
    whole = replace(outcome, model=model, prepared=replace(prepared, notes=notes))
    _write(whole, source, options, directory, started)


def _together(parts: list[Examples]) -> Examples:
    inputs = {name: np.concatenate([part.inputs[name] for part in parts]) for name in parts[0].inputs}
    return Examples(inputs, {TARGET: np.concatenate([part.targets[TARGET] for part in parts])})


def _announce(prepared: PreparedTable) -> None:
    counts = prepared.counts
    _log.info(
        "%d rows: %d to train on, %d validation, %d test; %.1f %% positive (%s)",
        counts["read"], counts["train"], counts["validation"], counts["test"],
        100 * prepared.label.values.mean(), prepared.label.positive,
    )  # fmt: skip
    for decision in prepared.decisions:
        if decision.column is None:
            _log.info("column %s is not used: %s", decision.name, decision.reason)
    for warning in prepared.warnings:
        _log.warning("%s", warning)
