"""A model bundle: a directory of immutable files, described and hashed by its `bundle.json`.

`load_bundle` checks the size and sha256 of every file against `bundle.json`, and runs the graph once, before the bundle serves.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before onnxruntime is imported; 1.29 and later send by default

import numpy as np
import onnxruntime as ort
import orjson
from numpy.typing import NDArray

from personalization.core.encoder import TableEncoder
from personalization.core.errors import BundleInvalid

BUNDLE_JSON: Final = "bundle.json"
MODEL_ONNX: Final = "model.onnx"
ITEM_CATEGORIES: Final = "item_categories.json"
BACKGROUND: Final = "background.npz"  # encoded training rows, by input name: the reference of explanations
FORMAT: Final = 1
ROWS_PER_RUN: Final = 8_192  # of one `session.run`: its fixed cost is negligible, and memory stays small


@dataclass(frozen=True)
class Bundle:
    """A checked and loaded bundle.

    manifest   the content of bundle.json
    sha256     of bundle.json itself, hexadecimal; the identity of the bundle
    session    the graph, ready to run
    """

    directory: Path
    manifest: Mapping[str, Any]
    sha256: str
    session: ort.InferenceSession

    @property
    def name(self) -> str:
        """`<job>` or `<job>-table`; pointer, inbox prefix and results go by it."""
        return str(self.manifest["name"])

    @property
    def kind(self) -> str:
        """Kind of table that the model takes: ``interactions``, ``impressions`` or ``table`` (flat)."""
        return str(self.manifest["kind"])

    @property
    def version(self) -> str:
        return bundle_version(self.manifest, self.sha256)

    @cached_property
    def encoder(self) -> TableEncoder:
        """Encodes rows as the graph's inputs."""
        return TableEncoder.from_json(self.manifest["columns"], self.manifest.get("timezone", "UTC"))

    @cached_property
    def output_names(self) -> tuple[str, ...]:
        return tuple(output.name for output in self.session.get_outputs())

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph: inputs by name → outputs by name, rows on the first axis, `ROWS_PER_RUN` at a time.

        The graph is not run for zero rows.
        """
        rows = len(next(iter(inputs.values()))) if inputs else 0
        if not rows:
            return {o.name: np.zeros((0, *_fixed(o.shape[1:])), np.float32) for o in self.session.get_outputs()}
        parts = [
            self.session.run(self.output_names, {name: values[start : start + ROWS_PER_RUN] for name, values in inputs.items()})
            for start in range(0, rows, ROWS_PER_RUN)
        ]
        outputs = parts[0] if len(parts) == 1 else [np.concatenate(values) for values in zip(*parts, strict=True)]
        return dict(zip(self.output_names, outputs, strict=True))

    @cached_property
    def category_of_item(self) -> Mapping[str, str]:
        """Category by item id, empty where the model was trained without an items file."""
        if ITEM_CATEGORIES not in self.manifest["files"]:
            return {}
        content: dict[str, dict[str, str]] = orjson.loads(self.file(ITEM_CATEGORIES).read_bytes())
        return content["category_of_item"]

    @cached_property
    def background(self) -> Mapping[str, NDArray[Any]] | None:
        """Inputs of the reference rows of explanations; `None` where the bundle was written without them."""
        if BACKGROUND not in self.manifest["files"]:
            return None
        with np.load(self.file(BACKGROUND), allow_pickle=False) as content:
            return {name: content[name] for name in content.files}

    def file(self, name: str) -> Path:
        """Path of a file of the bundle. Raises `BundleInvalid` for one that bundle.json does not list."""
        if name not in self.manifest["files"]:
            raise BundleInvalid(f"expected the bundle to hold {name!r}; it lists {sorted(self.manifest['files'])}")
        return self.directory / name


def bundle_version(manifest: Mapping[str, Any], sha256: str) -> str:
    """UTC time of training + 8 hex of bundle.json's sha256: ``20260131T120000Z-1a2b3c4d``."""
    moment = str(manifest["created_at"]).replace("-", "").replace(":", "")
    return f"{moment}-{sha256[:8]}"


def read_manifest(directory: Path) -> tuple[dict[str, Any], str]:
    """The content of bundle.json and its sha256. Raises `BundleInvalid` where it is missing or of another format."""
    try:
        raw = (directory / BUNDLE_JSON).read_bytes()
        manifest = orjson.loads(raw)
    except FileNotFoundError:
        raise BundleInvalid(f"expected a bundle, found no {BUNDLE_JSON} in {directory.name}/") from None
    except orjson.JSONDecodeError as error:
        raise BundleInvalid(f"{BUNDLE_JSON} is not JSON: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        received = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise BundleInvalid(f"expected a bundle of format {FORMAT}, received {received!r}")
    missing = {"name", "kind", "created_at", "files"} - manifest.keys()
    if missing:
        raise BundleInvalid(f"{BUNDLE_JSON} lacks {', '.join(sorted(missing))}")
    return manifest, hashlib.sha256(raw).hexdigest()


def check_files(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Compare each file with the size and sha256 in bundle.json. Raises `BundleInvalid` for the first that differs."""
    for name, expected in manifest["files"].items():
        path = directory / name
        if not path.is_file():
            raise BundleInvalid(f"expected {name} in the bundle, found none")
        size = path.stat().st_size
        if size != expected["size"]:
            raise BundleInvalid(f"{name}: expected {expected['size']} bytes, found {size}")
        digest = file_sha256(path)
        if digest != expected["sha256"]:
            raise BundleInvalid(f"{name}: expected sha256 {expected['sha256'][:12]}…, found {digest[:12]}…")


def load_bundle(directory: Path, *, expected_sha256: str | None = None, threads: int = 1) -> Bundle:
    """Check, load and smoke-run a bundle.

    directory         holds bundle.json and the files it lists
    expected_sha256   of bundle.json, where a pointer names one
    threads           of one `session.run`; 1 is best for single requests

    Raises `BundleInvalid` where a file differs from bundle.json, or the graph does not load or run.
    """
    manifest, sha256 = read_manifest(directory)
    if expected_sha256 is not None and sha256 != expected_sha256:
        raise BundleInvalid(f"{BUNDLE_JSON}: expected sha256 {expected_sha256[:12]}…, found {sha256[:12]}…")
    check_files(directory, manifest)
    bundle = Bundle(directory, manifest, sha256, _session(directory / MODEL_ONNX, threads))
    _smoke_run(bundle)
    return bundle


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _session(path: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no narrower base
        raise BundleInvalid(f"{path.name} does not load: {str(error)[:300]}") from error


def _smoke_run(bundle: Bundle) -> None:
    """One row of missing values must give finite numbers of the declared outputs."""
    inputs = {}
    for node in bundle.session.get_inputs():
        shape = (1, *_fixed(node.shape[1:]))
        inputs[node.name] = np.full(shape, np.nan, np.float32) if node.type == "tensor(float)" else np.zeros(shape, np.int64)
    try:
        outputs = bundle.run(inputs)
    except Exception as error:  # onnxruntime's errors share no narrower base
        raise BundleInvalid(f"the graph does not run: {str(error)[:300]}") from error
    for name, values in outputs.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise BundleInvalid(f"the graph's output {name!r} is not finite for a row of missing values")


def _fixed(shape: list[Any]) -> tuple[int, ...]:
    """A symbolic or free axis counts as 1."""
    return tuple(axis if isinstance(axis, int) and axis > 0 else 1 for axis in shape)
