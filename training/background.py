"""Rows that stand for everybody, against which a bundle explains its answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.bundles.bundle import BACKGROUND, MODEL_ONNX, Bundle
from personalization.core.encoder import TableEncoder
from personalization.tabular.explanation import headline
from training.export import open_session

ROWS: Final = 64


# Of so many rows, evenly spaced, the model is asked; more would not spread 64 any better.
ASKED: Final = 8_192


def draft_bundle(directory: Path, kind: str, encoder: TableEncoder, content: Mapping[str, Any]) -> Bundle:
    """The graph in `directory` as the bundle that it is about to be: to be asked before its files are hashed."""
    described: dict[str, Any] = {
        "columns": encoder.to_json(),
        "timezone": str(encoder.zone),
        "kind": kind,
        "files": {BACKGROUND: {}},
    }
    return Bundle(directory, {**described, **content}, "", open_session(directory / MODEL_ONNX))


def add_background(bundle: Bundle, inputs: Mapping[str, NDArray[Any]]) -> list[str]:
    """Write the background of an unsealed bundle; the bundle's files that this adds. A table without columns has none.

    inputs   encoded training rows by input name
    """
    if not inputs:
        return []
    rows = len(next(iter(inputs.values())))
    some = spaced(rows, ASKED)
    asked = {name: values[some] for name, values in inputs.items()}
    return [write_background(bundle.directory, asked, headline(bundle)[1](bundle.run(asked)))]


def spaced(rows: int, count: int) -> NDArray[np.int64]:
    """At most `count` of the indices of `rows`, evenly spaced, ascending, each once."""
    return np.unique(np.linspace(0, rows - 1, min(count, rows)).round().astype(np.int64))


def write_background(directory: Path, inputs: Mapping[str, NDArray[Any]], probability: NDArray[Any]) -> str:
    """Write `ROWS` training rows, evenly spread over what the model says of them; the file's name.

    inputs        encoded training rows by input name
    probability   (N,) that the model gives them
    """
    order = np.argsort(probability, kind="stable")
    chosen = order[spaced(len(order), ROWS)]
    arrays: dict[str, Any] = {name: values[chosen] for name, values in inputs.items()}
    with (directory / BACKGROUND).open("wb") as stream:
        np.savez(stream, **arrays)
    return BACKGROUND
