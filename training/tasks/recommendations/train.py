"""`train recommendations --interactions F …`: from raw events to a bundle."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from personalization.bundles.bundle import MODEL_ONNX
from personalization.recommendations import BlendWeights
from training.bundle_writer import REPORT_HTML, start_bundle, write_bundle
from training.tasks.recommendations.bundle_files import write_files
from training.tasks.recommendations.evaluate import evaluate
from training.tasks.recommendations.model import Trained, encoder_from, learn
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
    trained = learn(prepared.log, prepared.split, prepared.catalogue, training.config, training.fit, data.window, training.drop)
    if training.model == BASE_RATE:
        popular = BlendWeights(sequence=0.0, static={"popularity": 1.0}, cold={"popularity": 1.0})
        trained = replace(trained, recommender=replace(trained.recommender, matrices={}, mix=popular, repeat_buying=False))
    histories = prepared.split.validation.sample(256, data.seed).histories(prepared.log, data.window)
    files, difference = write_files(directory, trained, prepared.catalogue, histories)
    # What is judged is what will be served.
    trained = replace(trained, recommender=replace(trained.recommender, encode=encoder_from(directory / MODEL_ONNX)))
    metrics = evaluate(prepared, trained, data.window, data.seed)
    metrics["data"] = prepared.report
    if tried:
        metrics["tuning"] = tried
    page = recommendations_report(prepared, trained, metrics, data)
    (directory / REPORT_HTML).write_text(page, encoding="utf-8")
    return write_bundle(
        directory,
        name=NAME,
        kind="interactions",
        model=BASE_RATE if training.model == BASE_RATE else SEQUENCE_MIX,
        metrics=metrics,
        started=started,
        files=[REPORT_HTML, *files],
        content=_content(prepared, trained, data, training)
        | {"export_difference": difference, "baselines_validation": metrics["baselines_validation"]},
    )


def _content(
    prepared: PreparedRecommendations, trained: Trained, data: RecommendationData, training: RecommendationTraining
) -> dict[str, Any]:
    recommender = trained.recommender
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
            "content": [column.name for column in prepared.catalogue.columns],
        },
        "fallback": {"items": [recommender.items[code] for code in popular]},
        "data_fingerprint": prepared.fingerprint,
        "options": {
            "seed": data.seed,
            "split": data.split,
            "cutoff": data.cutoff.isoformat() if data.cutoff else None,
            "no_test": data.no_test,
            "network": asdict(trained.config),
            "fit": {k: v for k, v in asdict(training.fit).items() if k not in ("quiet", "budget", "tensorboard")},
            "drop": training.drop,
            "best_epoch": trained.report.best_epoch,
        },
    }
