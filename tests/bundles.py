"""Bundles small enough to be answered by hand, for every test that needs a model.

`flat_bundle` is a logistic model of two numbers and a word; `expected_probability` says the same in plain arithmetic.
`profiles_bundle` answers features of the user back, so that a mix-up of users shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from personalization.bundles.bundle import MODEL_ONNX
from personalization.core.encoder import Column, TableEncoder
from training.background import add_background
from training.bundle_writer import draft_bundle, start_bundle, write_bundle
from training.export import IR_VERSION, OPSET

CREATED_AT: Final = datetime(2026, 1, 31, 12, tzinfo=UTC)

# A missing number counts as its fill; a channel adds its weight: missing, never seen, web, app.
BIAS: Final = -1.0
FILL: Final = {"click_count": 2.0, "view_duration": 10.0}
WEIGHT: Final = {"click_count": 0.5, "view_duration": -0.05}
CHANNEL: Final = {None: 0.0, "?": -0.25, "web": 0.25, "app": 0.75}

HAZARD_DAYS: Final = (7, 14, 30, 90)
# Of `profiles_bundle`, by n events: ready from 5 on (10/11), cooling up to 2 (1/9), lapse at 1 (1/5).
THRESHOLDS: Final = {"ready": 0.9, "cooling": 0.1, "lapse": 0.15, "value": 50.0, "new_days": 10.0}


def flat_bundle(
    directory: Path, name: str = "profiles-table", bias: float = BIAS, background: Mapping[str, list[Any]] | None = None
) -> str:
    """Write a flat bundle with the columns `click_count`, `view_duration` and `channel`; its version.

    background   rows, by column, that its answers are explained against
    """
    encoder = TableEncoder(
        (
            Column("click_count", "numeric"),
            Column("view_duration", "numeric"),
            Column("channel", "categorical", ("web", "app")),
        )
    )
    nodes = [
        helper.make_node("IsNaN", ["numeric"], ["missing"]),
        helper.make_node("Where", ["missing", "fill", "numeric"], ["filled"]),
        helper.make_node("MatMul", ["filled", "weight"], ["of_numbers"]),
        helper.make_node("Gather", ["channel_weight", "categorical"], ["of_words"], axis=0),
        helper.make_node("Add", ["of_numbers", "of_words"], ["sum"]),
        helper.make_node("Add", ["sum", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["column"]),
        helper.make_node("Squeeze", ["column", "axis"], ["probability"]),
    ]
    constants = {
        "fill": np.array(list(FILL.values()), np.float32),
        "weight": np.array([[weight] for weight in WEIGHT.values()], np.float32),
        "channel_weight": np.array(list(CHANNEL.values()), np.float32),
        "bias": np.array([bias], np.float32),
        "axis": np.array([1], np.int64),
    }
    _write_graph(
        directory,
        nodes,
        {"numeric": (TensorProto.FLOAT, 2), "categorical": (TensorProto.INT64, 1)},
        {"probability": ()},
        constants,
    )
    return _seal(directory, name, "table", encoder, {"fallback": {"probability": 0.25}}, background)


def expected_probability(click_count: float | None, view_duration: float | None, channel: str | None) -> float:
    """What `flat_bundle` answers for a row; `None` is a missing cell."""
    logit = BIAS + CHANNEL[channel if channel is None or channel in CHANNEL else "?"]
    for name, value in (("click_count", click_count), ("view_duration", view_duration)):
        logit += WEIGHT[name] * (FILL[name] if value is None else value)
    return 1 / (1 + math.exp(-logit))


def profiles_bundle(
    directory: Path,
    *,
    max_events: int = 100,
    timezone: str = "UTC",
    background: Mapping[str, list[Any]] | None = None,
    content: Mapping[str, Any] | None = None,
) -> str:
    """Write a profiles bundle for interactions; its version.

    For a user of n events and a net value of v it answers: P(buys within the k-th of `HAZARD_DAYS`) = nk / (1 + nk), and an
    expected spend of v.

    background   rows, by column, that its answers are explained against
    content      further keys of bundle.json
    """
    encoder = TableEncoder((Column("events", "numeric"), Column("monetary", "numeric")))
    nodes = [
        helper.make_node("IsNaN", ["numeric"], ["missing"]),
        helper.make_node("Where", ["missing", "nothing", "numeric"], ["filled"]),
        helper.make_node("Gather", ["filled", "first"], ["count"], axis=1),
        helper.make_node("Gather", ["filled", "second"], ["expected_spend"], axis=1),
        helper.make_node("Mul", ["count", "steps"], ["above"]),
        helper.make_node("Add", ["above", "one"], ["below"]),
        helper.make_node("Div", ["above", "below"], ["probability_within"]),
    ]
    constants = {
        "nothing": np.array(0, np.float32),
        "first": np.array([0], np.int64),
        "second": np.array(1, np.int64),
        "steps": np.arange(1, len(HAZARD_DAYS) + 1, dtype=np.float32)[None, :],
        "one": np.array(1, np.float32),
    }
    _write_graph(
        directory,
        nodes,
        {"numeric": (TensorProto.FLOAT, 2)},
        {"probability_within": (len(HAZARD_DAYS),), "expected_spend": ()},
        constants,
    )
    described = {
        "hazard_days": list(HAZARD_DAYS),
        "horizon": 14,
        "churn_horizon": 90,
        "history_window": {"max_events": max_events, "max_days": 365},
        "timezone": timezone,
        **(content or {}),
    }
    return _seal(directory, "profiles", "interactions", encoder, described, background)


def _write_graph(
    directory: Path,
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, int]],
    outputs: Mapping[str, tuple[int, ...]],
    constants: Mapping[str, np.ndarray[Any, Any]],
) -> None:
    start_bundle(directory)
    graph = helper.make_graph(
        nodes,
        "by-hand",
        [helper.make_tensor_value_info(name, kind, ["rows", size]) for name, (kind, size) in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", *shape]) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    (directory / MODEL_ONNX).write_bytes(model.SerializeToString())


def _seal(
    directory: Path,
    name: str,
    kind: str,
    encoder: TableEncoder,
    content: dict[str, Any],
    background: Mapping[str, list[Any]] | None = None,
    files: Sequence[str] = (),
) -> str:
    (directory / "report.html").write_text("<p>by hand</p>")
    names = ["report.html", *files]
    if background:
        rows = len(next(iter(background.values())))
        names += add_background(draft_bundle(directory, kind, encoder, content), encoder.encode(background, rows).inputs)
    return write_bundle(
        directory,
        name=name,
        kind=kind,
        model="by-hand",
        metrics={"test": {}},
        started=0.0,
        encoder=encoder,
        files=names,
        content=content,
        created_at=CREATED_AT,
    )
