"""`train recommendations --interactions F …`: from raw events to a bundle."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from personalization.bundles.bundle import MODEL_ONNX
from personalization.recommendations import Recommender
from training.bundle_writer import REPORT_HTML, start_bundle, write_bundle
from training.tasks.recommendations.bundle_files import onnx_encoder, write_files
from training.tasks.recommendations.evaluation import evaluate
from training.tasks.recommendations.model import SequenceModel, learn_blend, popularity_recommender, train_sequence_model
from training.tasks.recommendations.options import RecommendationData, RecommendationTraining
from training.tasks.recommendations.prepare import PreparedRecommendations, prepare_recommendations
from training.tasks.recommendations.report import recommendations_report
from training.tasks.recommendations.tuning import tune

NAME: Final = "recommendations"
BASE_RATE: Final = "base-rate"
SEQUENCE_MIX: Final = "sequence-mix"
_FALLBACK: Final = 200
_REFIT: Final = "refit"
_log = logging.getLogger(__name__)


def train_recommendations(data: RecommendationData, training: RecommendationTraining) -> str:
    """Train, judge, export, describe; answer the bundle's version. `training.out` is a bundle afterwards, with metrics.json.

    Raises `InvalidInput` for what the user can put right, `ParityError` where Keras and ONNX Runtime do not agree.
    """
    started = time.perf_counter()
    prepared = prepare_recommendations(data)
    start_bundle(training.out)
    tried: list[dict[str, Any]] = []
    if training.model == BASE_RATE:
        training = replace(training, fit=replace(training.fit, epochs=0))
    elif training.tune:
        training, tried = tune(prepared, data, training)
    version = _one(prepared, data, training, training.out, started, tried)
    if training.refit:
        _log.info("refit: training on everything but validation")
        everything = replace(data, no_test=True)
        whole = replace(training, out=training.out / _REFIT, refit=False)
        start_bundle(whole.out)
        _one(prepare_recommendations(everything), everything, whole, whole.out, time.perf_counter(), tried)
    return version


def _one(
    prepared: PreparedRecommendations,
    data: RecommendationData,
    training: RecommendationTraining,
    directory: Path,
    started: float,
    tried: list[dict[str, Any]],
) -> str:
    model = train_sequence_model(prepared, training)
    recommender = popularity_recommender(prepared, model) if training.model == BASE_RATE else learn_blend(prepared, model)
    histories = prepared.split.validation.sample(256, data.seed).histories(prepared.log, data.window)
    files, difference = write_files(directory, recommender, model, prepared.items, histories)
    # What is evaluated is what will be served.
    recommender = replace(recommender, encode=onnx_encoder(directory / MODEL_ONNX))
    metrics = evaluate(recommender, prepared.log, prepared.split, prepared.statistics, data.seed)
    metrics["data"] = prepared.report
    if tried:
        metrics["tuning"] = tried
    page = recommendations_report(prepared, recommender, model, metrics)
    (directory / REPORT_HTML).write_text(page, encoding="utf-8")
    return write_bundle(
        directory,
        name=NAME,
        kind="interactions",
        model=BASE_RATE if training.model == BASE_RATE else SEQUENCE_MIX,
        metrics=metrics,
        started=started,
        files=[REPORT_HTML, *files],
        content=_content(prepared, recommender, model, training)
        | {"export_difference": difference, "baselines_validation": metrics["baselines_validation"]},
    )


def _content(
    prepared: PreparedRecommendations, recommender: Recommender, model: SequenceModel, training: RecommendationTraining
) -> dict[str, Any]:
    data = prepared.data
    popular = np.argsort(-recommender.static[0], kind="stable")[:_FALLBACK]
    return {
        "timezone": data.timezone,
        "history_window": {"max_events": data.window.max_events, "max_days": data.window.max_days},
        "repeat_buying": recommender.repeat_buying,
        "recommendations": {
            "longest": recommender.longest,
            "size": int(recommender.vectors.shape[1]),
            "items": len(recommender.items),
            "pace": asdict(recommender.pace),
            "matrices": list(recommender.matrices),
            "content": [column.name for column in prepared.items.columns],
        },
        "fallback": {"items": [recommender.items[code] for code in popular]},
        "data_fingerprint": prepared.fingerprint,
        "options": {
            "seed": data.seed,
            "split": data.split,
            "cutoff": data.cutoff.isoformat() if data.cutoff else None,
            "no_test": data.no_test,
            "network": asdict(model.network.config),
            "fit": {k: v for k, v in asdict(training.fit).items() if k not in ("quiet", "budget", "tensorboard")},
            "drop": training.drop,
            "best_epoch": model.report.best_epoch,
        },
    }
