"""The models that the tour trains, each reused while its data, code and options stay what they were."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from local import BUNDLES, reuse
from local.tour.commands import run_module
from local.tour.data import TIMEZONE, Tables

_SAID: Final = {"auc": "AUC", "log_loss": "log loss", "ndcg_at_10": "NDCG@10", "recall_at_10": "recall@10"}


@dataclass(frozen=True, slots=True)
class Model:
    """One model to train: its name, the files it is trained on, and the arguments of ``python -m training train``."""

    name: str
    data: tuple[Path, ...]
    arguments: tuple[str, ...]
    directory: Path
    headline: tuple[str, ...] = ("auc", "log_loss")


def models(tables: Tables, bundles: Path = BUNDLES) -> list[Model]:
    """In the order in which the tour trains them; each bundle goes into a directory of `bundles`."""
    # Without the users table: what is asked for by id comes from state, which holds events and no attributes.
    raw = (tables.interactions, tables.items)
    options = _named(raw)
    log = (tables.impressions, tables.ads, tables.users, tables.interactions)

    def model(name: str, data: Sequence[Path], *arguments: str) -> Model:
        return Model(name, tuple(data), arguments, bundles / name)

    return [
        model("profiles", raw, "profiles", *options, "--cutoff", "2017-10-01", "--timezone", TIMEZONE),
        replace(
            # A minute of the network is enough for what it adds here: people buy again what they bought.
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
    """``--interactions F …``: the tables' files go by their names."""
    return [part for path in files for part in (f"--{path.name.split('.')[0]}", str(path))]


def fingerprint(model: Model) -> str:
    """What the bundle is made of; files go by their names and content, wherever they lie."""
    options = [part if not Path(part).is_absolute() else Path(part).name for part in model.arguments]
    return reuse.fingerprint(model.data, options)


def train(model: Model, log: Path, *, fresh: bool) -> bool:
    """Make sure that the model's bundle is there; whether it had to be trained. Raises `CommandFailed`."""
    value = fingerprint(model)
    if not fresh and reuse.is_current(model.directory, value):
        return False
    reuse.forget(model.directory)
    run_module("training", ["train", *model.arguments, "--out", str(model.directory)], log)
    reuse.remember(model.directory, value)
    return True


def metrics(model: Model) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((model.directory / "metrics.json").read_text())
    return content


def against_baselines(model: Model, name: str) -> str:
    """One metric on the test rows, beside the best of the baselines: ``AUC 0.812 (0.801)``."""
    content = metrics(model)
    value = content.get("test", {}).get(name)
    if value is None:
        return "–"
    rivals = [scores[name] for scores in content.get("baselines", {}).values() if scores.get(name) is not None]
    best = (min if name == "log_loss" else max)(rivals, default=None)
    return f"{_SAID.get(name, name)} {value:.3f}" + (f" ({best:.3f})" if best is not None else "")
