"""Writing a bundle: complete or not there, and one that a reader takes."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from personalization.bundles.bundle import load_bundle
from personalization.core.encoder import Column, TableEncoder
from personalization.core.errors import BundleInvalid
from training.bundle_writer import fingerprint, rows_per_second, start_bundle, write_bundle, write_json
from training.export import constant_model

ENCODER = TableEncoder((Column("age", "numeric"), Column("channel", "categorical", ("web", "app"))))
METRICS = {"test": {"auc": 0.7}, "validation": {"auc": None}, "baselines": {"base_rate": {"auc": 0.5}}, "threshold": 0.4}


def bundle(directory: Path, rate: float = 0.25) -> str:
    start_bundle(directory)
    inputs = {"numeric": (1, "float32"), "categorical": (1, "int64")}
    constant_model(directory / "model.onnx", inputs, {"probability": rate})
    (directory / "report.html").write_text("<html></html>")
    return write_bundle(
        directory,
        name="ads-table",
        kind="table",
        model="base-rate",
        encoder=ENCODER,
        metrics=METRICS,
        started=time.perf_counter(),
        content={"fallback": {"probability": rate}},
        created_at=datetime(2026, 1, 31, 12, tzinfo=UTC),
    )


def test_what_is_written_is_what_a_reader_loads(tmp_path: Path) -> None:
    version = bundle(tmp_path)
    loaded = load_bundle(tmp_path)
    assert loaded.version == version
    assert version.startswith("20260131T120000Z-")
    assert (loaded.name, loaded.kind, loaded.manifest["job"], loaded.manifest["model"]) == (
        "ads-table",
        "table",
        "ads",
        "base-rate",
    )
    assert loaded.encoder.columns == ENCODER.columns
    assert set(loaded.manifest["files"]) == {"model.onnx", "report.html"}
    assert loaded.manifest["metrics"]["test"] == {"auc": 0.7}
    assert loaded.manifest["baselines"] == {"base_rate": {"auc": 0.5}}
    assert loaded.manifest["inputs"] == [
        {"name": "numeric", "type": "tensor(float)", "shape": ["rows", 1]},
        {"name": "categorical", "type": "tensor(int64)", "shape": ["rows", 1]},
    ]
    assert loaded.manifest["outputs"] == [{"name": "probability", "type": "tensor(float)", "shape": ["rows"]}]


def test_metrics_have_seconds_and_memory_and_the_bundle_has_not(tmp_path: Path) -> None:
    bundle(tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert {name: metrics[name] for name in METRICS} == METRICS
    assert metrics["seconds"] >= 0
    assert metrics["peak_memory_mb"] > 10
    assert "seconds" not in (tmp_path / "bundle.json").read_text()


def test_the_same_content_is_the_same_version(tmp_path: Path) -> None:
    first, again, other = bundle(tmp_path / "a"), bundle(tmp_path / "b"), bundle(tmp_path / "c", rate=0.5)
    assert first == again
    assert first != other


def test_starting_again_takes_the_earlier_bundle_away_and_nothing_else(tmp_path: Path) -> None:
    bundle(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    start_bundle(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_graph_that_answers_no_number_is_no_bundle_and_gets_no_metrics(tmp_path: Path) -> None:
    start_bundle(tmp_path)
    constant_model(tmp_path / "model.onnx", {"numeric": (1, "float32")}, {"probability": float("nan")})
    (tmp_path / "report.html").write_text("")
    with pytest.raises(BundleInvalid, match="not finite"):
        write_bundle(tmp_path, name="profiles", kind="interactions", model="x", metrics=METRICS, started=0.0)
    assert not (tmp_path / "metrics.json").exists()


def test_json_is_renamed_into_place(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": np.float64(1.5), "nan": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1.5, "nan": None}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_the_fingerprint_is_of_content_in_order_not_of_names(tmp_path: Path) -> None:
    for name, text in (("a", "1"), ("b", "2"), ("c", "1")):
        (tmp_path / name).write_text(text)
    a, b, c = (tmp_path / name for name in "abc")
    assert fingerprint([a]) == fingerprint([c])
    assert len({fingerprint([a]), fingerprint([b]), fingerprint([a, b]), fingerprint([b, a])}) == 4


def test_speed_is_measured_on_rows_that_are_repeated(tmp_path: Path) -> None:
    constant_model(tmp_path / "model.onnx", {"numeric": (1, "float32")}, {"probability": 0.5})
    assert rows_per_second(tmp_path / "model.onnx", {"numeric": np.zeros((2, 1), np.float32)}, seconds=0.01) > 0
