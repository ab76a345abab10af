"""The models of the tour. A bundle is reused while its data, code and options are unchanged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from local import BUNDLES, bundle_reuse
from local.tour.commands import run_module
from local.tour.data import TIMEZONE, Tables

_LABELS: Final = {"auc": "AUC", "log_loss": "log loss", "ndcg_at_10": "NDCG@10", "recall_at_10": "recall@10"}


@dataclass(frozen=True, slots=True)
class Model:
    """One model to train: its name, the files it is trained on, and the arguments of ``python -m training train``."""

    name: str
    data: tuple[Path, ...]
    arguments: tuple[str, ...]
    directory: Path
    headline: tuple[str, ...] = ("auc", "log_loss")


def models(tables: Tables, bundles: Path = BUNDLES) -> list[Model]:
    """The models in training order; each bundle is a directory of `bundles`."""
    # Without the users table: requests by id read state, which holds events and no attributes.
    raw = (tables.interactions, tables.items)
    options = _named(raw)
    log = (tables.impressions, tables.ads, tables.users, tables.interactions)

    def model(name: str, data: Sequence[Path], *arguments: str) -> Model:
        return Model(name, tuple(data), arguments, bundles / name)

    return [
        model("profiles", raw, "profiles", *options, "--cutoff", "2017-10-01", "--timezone", TIMEZONE),
        replace(
            # One minute for the network is enough here: customers mostly buy again what they bought.
            model(
                "recommendations",
                raw,
                "recommendations",
                *options,
                "--cutoff",
                "2017-10-01",
                "--timezone",
                TIMEZONE,
                "--budget",
                "60",
            ),
            headline=("ndcg_at_10", "recall_at_10"),
        ),
        model("ads", log, "ads", *_named(log), "--timezone", TIMEZONE),
        *(model(f"{job}-table", [path], job, "--table", str(path), "--label", "label") for job, path in tables.flat.items()),
    ]


def _named(files: Sequence[Path]) -> list[str]:
    """``--interactions F …``: an option is named like its file."""
    return [part for path in files for part in (f"--{path.name.split('.')[0]}", str(path))]


def fingerprint(model: Model) -> str:
    """Fingerprint of data, code and options; of a file, its name and content count, not its directory."""
    options = [part if not Path(part).is_absolute() else Path(part).name for part in model.arguments]
    return bundle_reuse.fingerprint(model.data, options)


def train(model: Model, log: Path, *, fresh: bool) -> bool:
    """Train the model unless a current bundle exists; returns whether it was trained. Raises `CommandFailed`."""
    value = fingerprint(model)
    if not fresh and bundle_reuse.is_current(model.directory, value):
        return False
    bundle_reuse.remove_record(model.directory)
    run_module("training", ["train", *model.arguments, "--out", str(model.directory)], log)
    bundle_reuse.record(model.directory, value)
    return True


def metrics(model: Model) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((model.directory / "metrics.json").read_text())
    return content


def against_baselines(model: Model, name: str) -> str:
    """A test metric with that of the best baseline: ``AUC 0.812 (0.801)``."""
    content = metrics(model)
    value = content.get("test", {}).get(name)
    if value is None:
        return "–"
    rivals = [scores[name] for scores in content.get("baselines", {}).values() if scores.get(name) is not None]
    best = (min if name == "log_loss" else max)(rivals, default=None)
    return f"{_LABELS.get(name, name)} {value:.3f}" + (f" ({best:.3f})" if best is not None else "")
