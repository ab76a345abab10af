"""One training for every task: prepare, fit, export, evaluate, explain, report and write the bundle; then refit where asked."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from personalization.bundles.bundle import MODEL_ONNX, Bundle
from personalization.core.encoder import TableEncoder
from training.background import add_background
from training.bundle_writer import REPORT_HTML, draft_bundle, rows_per_second, start_bundle, write_bundle
from training.evaluation.importance import Importance
from training.export import constant_model, export
from training.fitting import FitOptions
from training.networks.tabular import TabularConfig, TabularNetwork
from training.report import explained_rows

Config = TypeVar("Config")
Prepared = TypeVar("Prepared")
Trained = TypeVar("Trained")
Inputs = Mapping[str, NDArray[Any]]

BASE_RATE: Final = "base-rate"
TABULAR: Final = "tabular"
REFIT: Final = "refit"
_PARITY_ROWS: Final = 512

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainOptions(Generic[Config]):
    """Options of every training; those of the data are the task's own.

    out      directory of the bundle
    config   size of the network
    fit      how it is trained
    model    ``base-rate``: constants instead of a network
    tune     settings to try besides the given ones, 0 for none
    refit    also write a bundle trained on everything, in `out`/refit
    groups   columns whose groups are evaluated one by one; those of few words where none is named
    """

    out: Path
    config: Config
    fit: FitOptions = field(default_factory=FitOptions)
    model: str = TABULAR
    tune: int = 0
    refit: bool = False
    groups: Sequence[str] = ()


TabularOptions = TrainOptions[TabularConfig]


@dataclass(frozen=True)
class ExportedModel:
    """A graph that was written to a bundle's directory.

    difference        largest difference between Keras and ONNX Runtime, 0 for constants
    rows_per_second   of the graph on one core; None where it was not measured
    files             names of the files that belong to it, beside ``model.onnx``
    """

    difference: float = 0.0
    rows_per_second: int | None = None
    files: Sequence[str] = ()


@dataclass(frozen=True)
class Evaluation:
    """How good a model is.

    metrics         content of metrics.json: ``test``, ``validation``, ``baselines``, …
    labels          (N,) of the first target on the test rows (on those of validation where nothing is held out)
    probabilities   (N,) of these by name: ``model`` and each baseline
    """

    metrics: dict[str, Any]
    labels: NDArray[Any] = field(default_factory=lambda: np.zeros(0))
    probabilities: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True)
class Explanation:
    """What a model looks at.

    importance   of each column, most important first
    files        names of the files that predictions are explained with
    html         section of the report with explained rows
    """

    importance: Sequence[Importance] = ()
    files: Sequence[str] = ()
    html: str = ""


@dataclass(frozen=True)
class Refitted(Generic[Trained]):
    """A model that was trained on everything. `evaluation` None: it is evaluated like the first."""

    trained: Trained
    evaluation: Evaluation | None = None


class Task(ABC, Generic[Prepared, Trained]):
    """What a task adds to `train`. The methods are called in the order in which they are listed.

    name      of the bundle: ``profiles``, ``ads-table``, …
    kind      of the table that the model scores: ``interactions``, ``impressions`` or ``table``
    options   of the training
    """

    name: str
    kind: str
    options: TrainOptions[Any]

    @abstractmethod
    def prepare(self) -> Prepared:
        """Read, clean and split the data, and log its size. Raises `InvalidInput` for what the user can put right."""

    @abstractmethod
    def fit(self, prepared: Prepared) -> Trained:
        """Train, with `options.tune` tuned, and calibrate on validation. The result holds what the next steps read."""

    @abstractmethod
    def export(self, trained: Trained, directory: Path) -> ExportedModel:
        """Write the graph and its files. Raises `ParityError` where Keras and ONNX Runtime do not agree."""

    @abstractmethod
    def manifest(self, trained: Trained, directory: Path) -> dict[str, Any]:
        """Keys of bundle.json beside those of every bundle. The graph is already in `directory`."""

    @abstractmethod
    def evaluate(self, trained: Trained, draft: Bundle) -> Evaluation:
        """Metrics of the model and its baselines. `draft` runs the exported graph."""

    def explain(self, trained: Trained, draft: Bundle) -> Explanation:
        """Importance of columns, background and explained rows."""
        return Explanation()

    @abstractmethod
    def report(self, trained: Trained, evaluation: Evaluation, explanation: Explanation, exported: ExportedModel) -> str:
        """The page report.html."""

    def refit(self, trained: Trained, evaluation: Evaluation) -> Refitted[Trained] | None:
        """The model trained once more, on everything; None where there is nothing to train."""
        return None

    def encoder(self, trained: Trained) -> TableEncoder | None:
        """How a table's columns become the graph's inputs; None for graphs with other inputs."""
        return None

    @abstractmethod
    def model_name(self, trained: Trained) -> str:
        """The kind of model in a few words: ``base-rate``, ``tabular``, …"""


def train(task: Task[Any, Any]) -> str:
    """Train, and write the bundle to `task.options.out`, with metrics.json; its version.

    Raises `InvalidInput` for what the user can put right, `ParityError` where Keras and ONNX Runtime do not agree.
    """
    started = time.perf_counter()
    with _timed("prepare"):
        prepared = task.prepare()
    out = task.options.out
    start_bundle(out)
    with _timed("fit"):
        trained = task.fit(prepared)
    version, evaluation = _write(task, trained, None, out, started)
    if task.options.refit:
        started = time.perf_counter()
        with _timed("refit"):
            refitted = task.refit(trained, evaluation)
        if refitted is not None:
            start_bundle(out / REFIT)
            _write(task, refitted.trained, refitted.evaluation, out / REFIT, started)
    return version


def export_tabular(
    network: TabularNetwork | None,
    constants: Mapping[str, Any],
    inputs: Inputs,
    directory: Path,
    *,
    relative: bool = False,
) -> ExportedModel:
    """Write a tabular network, or constants without one, and measure how many rows one core scores in a second.

    constants   value of each output, by name
    inputs      encoded training rows, by input name
    relative    see `export`
    """
    path = directory / MODEL_ONNX
    sample = {name: values[:_PARITY_ROWS] for name, values in inputs.items()}
    if network is None:
        difference = 0.0
        constant_model(path, {name: (values.shape[1], str(values.dtype)) for name, values in sample.items()}, constants)
    else:
        difference = export(network.serving, path, sample, relative=relative)
    return ExportedModel(difference, rows_per_second(path, sample) if sample else 0)


def explain_tabular(
    draft: Bundle,
    train: Inputs,
    rows: Inputs | None,
    importance: Sequence[Importance] = (),
    output: Callable[[Mapping[str, Any]], NDArray[Any]] | None = None,
) -> Explanation:
    """The background of a tabular network, written, and a section with three explained rows.

    train    encoded training rows, by input name
    rows     encoded rows that were not trained on; None: no row is explained
    output   see `add_background`
    """
    files = add_background(draft, train, output)
    return Explanation(importance, files, explained_rows(draft, rows) if rows is not None else "")


def run_graph(draft: Bundle, inputs: Inputs, batch: int = 8192) -> dict[str, NDArray[np.float32]]:
    """The graph's outputs by name over all rows, in batches."""
    rows = len(next(iter(inputs.values())))
    parts = [
        draft.run({name: values[start : start + batch] for name, values in inputs.items()})
        for start in range(0, max(rows, 1), batch)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _write(
    task: Task[Any, Any], trained: Any, evaluation: Evaluation | None, directory: Path, started: float
) -> tuple[str, Evaluation]:
    with _timed("export"):
        exported = task.export(trained, directory)
    content = task.manifest(trained, directory) | {"export_difference": exported.difference}
    if exported.rows_per_second is not None:
        content["rows_per_second_per_core"] = exported.rows_per_second
    draft = draft_bundle(directory, task.kind, task.encoder(trained), content)
    if evaluation is None:
        with _timed("evaluate"):
            evaluation = task.evaluate(trained, draft)
    with _timed("explain"):
        explanation = task.explain(trained, draft)
    if explanation.importance:
        content["importance"] = [
            {"column": entry.column, "log_loss": entry.loss, "error": entry.error} for entry in explanation.importance
        ]
    page = task.report(trained, evaluation, explanation, exported)
    (directory / REPORT_HTML).write_text(page, encoding="utf-8")
    version = write_bundle(
        directory,
        name=task.name,
        kind=task.kind,
        model=task.model_name(trained),
        encoder=task.encoder(trained),
        metrics=evaluation.metrics,
        started=started,
        files=[REPORT_HTML, *exported.files, *explanation.files],
        content=content,
    )
    return version, evaluation


@contextmanager
def _timed(step: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    _log.debug("%s: %.1f s", step, time.perf_counter() - started)
