"""Writing a bundle: the directory that `train` writes and `publish` uploads."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from personalization.bundles.bundle import BACKGROUND, BUNDLE_JSON, FORMAT, MODEL_ONNX, Bundle, file_sha256, load_bundle
from personalization.core.encoder import TableEncoder
from personalization.core.schema import job_of
from personalization.core.time import format_timestamp
from training.export import open_session
from training.runtime import peak_memory_mb

METRICS_JSON: Final = "metrics.json"
REPORT_HTML: Final = "report.html"
LIBRARIES: Final = ("numpy", "onnx", "onnxruntime", "tensorflow", "keras", "tf2onnx")


def start_bundle(directory: Path) -> None:
    """Make `directory` and delete the files of an earlier training in it, `metrics.json` first.

    So a directory with `metrics.json` is always complete. Other files stay.
    """
    directory.mkdir(parents=True, exist_ok=True)
    earlier = [METRICS_JSON]
    with suppress(FileNotFoundError, orjson.JSONDecodeError, KeyError, TypeError):
        earlier += orjson.loads((directory / BUNDLE_JSON).read_bytes())["files"]
    for name in [*earlier, BUNDLE_JSON]:
        (directory / name).unlink(missing_ok=True)


def draft_bundle(directory: Path, kind: str, encoder: TableEncoder | None, content: Mapping[str, Any]) -> Bundle:
    """The graph in `directory` as the bundle that it is about to be, to run it before its files are hashed.

    content   keys of bundle.json, over those that follow from the other arguments
    """
    manifest = {"kind": kind, "files": {BACKGROUND: {}}, **_table_keys(encoder), **content}
    return Bundle(directory, manifest, "", open_session(directory / MODEL_ONNX))


def write_bundle(
    directory: Path,
    *,
    name: str,
    kind: str,
    model: str,
    metrics: Mapping[str, Any],
    started: float,
    encoder: TableEncoder | None = None,
    files: Iterable[str] = (REPORT_HTML,),
    content: Mapping[str, Any] | None = None,
    created_at: datetime | None = None,
) -> str:
    """Write bundle.json and metrics.json beside the files in `directory`, load the result as a reader does; its version.

    name      ``profiles``, ``ads-table``, …
    kind      ``interactions``, ``table`` or ``impressions``: the table that the model scores
    model     kind of model: ``base-rate``, ``tabular``, …
    metrics   content of metrics.json (`test`, `validation`, `baselines`, …); seconds and peak memory are added here
    started   `time.perf_counter()` when training began
    encoder   how a table's columns become the graph's inputs, for the tabular networks
    files     the bundle's files beside `model.onnx`
    content   further keys of bundle.json: timezone, history_window, horizon, fallback, calibration, options, …

    Raises `BundleInvalid` where the result is not a bundle that a reader would take.
    """
    names = [MODEL_ONNX, *files]
    # Seconds and memory are of this run, not of this model: they stay out of the bundle, whose bytes are its identity.
    model_metrics = {k: metrics[k] for k in ("test", "validation", "targets", "folds") if k in metrics}
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "job": job_of(name),
        "kind": kind,
        "model": model,
        "created_at": format_timestamp(int((created_at or datetime.now(UTC)).timestamp() * 1000), "seconds"),
        **_table_keys(encoder),
        **graph_interface(directory / MODEL_ONNX),
        "metrics": model_metrics,
        "baselines": metrics.get("baselines", {}),
        **{key: metrics[key] for key in ("baselines_validation",) if key in metrics},  # `training.gate` compares with them
        **(content or {}),
        "files": {n: {"sha256": file_sha256(directory / n), "size": (directory / n).stat().st_size} for n in names},
        "libraries": {library: version(library) for library in LIBRARIES},
    }
    write_json(directory / BUNDLE_JSON, manifest)
    bundle = load_bundle(directory)
    run = {"seconds": round(time.perf_counter() - started, 2), "peak_memory_mb": round(peak_memory_mb(), 1)}
    write_json(directory / METRICS_JSON, {**metrics, **run})
    return bundle.version


def _table_keys(encoder: TableEncoder | None) -> dict[str, Any]:
    if encoder is None:
        return {"timezone": "UTC", "columns": []}
    return {"timezone": str(encoder.zone), "columns": encoder.to_json()}


def graph_interface(path: Path) -> dict[str, list[dict[str, Any]]]:
    """`inputs` and `outputs` of a graph: name, element type and shape (a word for an axis of any length)."""
    session = open_session(path)
    return {
        side: [{"name": node.name, "type": node.type, "shape": list(node.shape)} for node in nodes]
        for side, nodes in (("inputs", session.get_inputs()), ("outputs", session.get_outputs()))
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON to a temporary file and rename it to `path`, so that no reader sees half of it. NaN becomes null."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))
    part.replace(path)


def fingerprint(paths: Iterable[Path]) -> str:
    """16 hexadecimal digits over the content of the files, in their order: the data that a bundle was trained on."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(bytes.fromhex(file_sha256(path)))
    return digest.hexdigest()[:16]


def rows_per_second(path: Path, inputs: Mapping[str, NDArray[Any]], *, batch: int = 4096, seconds: float = 0.3) -> int:
    """Rows that one core scores in a second, in batches of `batch` rows repeated from `inputs`, measured for `seconds`."""
    session = open_session(path)
    part = {name: np.resize(values, (batch, *values.shape[1:])) for name, values in inputs.items()}
    session.run(None, part)
    runs, spent, begun = 0, 0.0, time.perf_counter()
    while not runs or spent < seconds:
        session.run(None, part)
        runs, spent = runs + 1, time.perf_counter() - begun
    return int(runs * batch / spent)
