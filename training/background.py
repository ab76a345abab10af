"""The background of a bundle: training rows that represent all rows, against which its predictions are explained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.bundles.bundle import BACKGROUND, Bundle
from personalization.tabular.explain import headline_probability

ROWS: Final = 64
_SCORED_ROWS: Final = 8_192  # evenly spaced; 64 of more rows would not be spread any better


def add_background(
    draft: Bundle, inputs: Mapping[str, NDArray[Any]], output: Callable[[Mapping[str, Any]], NDArray[Any]] | None = None
) -> list[str]:
    """Write the background of a draft bundle; the names of the files that this adds. A table without columns has none.

    inputs   encoded training rows by input name
    output   outputs of the graph by name → (N,) by which the rows are spread; None: the bundle's headline probability
    """
    if not inputs:
        return []
    sample = spaced_rows(inputs, _SCORED_ROWS)
    return [write_background(draft.directory, sample, (output or headline_probability(draft)[1])(draft.run(sample)))]


def spaced(rows: int, count: int) -> NDArray[np.int64]:
    """At most `count` of the indices of `rows`, evenly spaced, ascending, each once."""
    return np.unique(np.linspace(0, rows - 1, min(count, rows)).round().astype(np.int64))


def spaced_rows(inputs: Mapping[str, NDArray[Any]], count: int) -> dict[str, NDArray[Any]]:
    """At most `count` of the encoded rows, evenly spaced, in their order."""
    chosen = spaced(len(next(iter(inputs.values()))), count)
    return {name: values[chosen] for name, values in inputs.items()}


def write_background(directory: Path, inputs: Mapping[str, NDArray[Any]], probability: NDArray[Any]) -> str:
    """Write `ROWS` of the rows, evenly spread over their probabilities; the file's name.

    inputs        encoded training rows by input name
    probability   (N,) that the model gives them
    """
    order = np.argsort(probability, kind="stable")
    chosen = order[spaced(len(order), ROWS)]
    arrays: dict[str, Any] = {name: values[chosen] for name, values in inputs.items()}
    with (directory / BACKGROUND).open("wb") as stream:
        np.savez(stream, **arrays)
    return BACKGROUND
