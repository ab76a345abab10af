"""Rows that stand for everybody, against which a bundle explains its answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.explanations import BACKGROUND

ROWS: Final = 64


def write_background(directory: Path, inputs: Mapping[str, NDArray[Any]], probability: NDArray[Any]) -> str:
    """Write `ROWS` training rows, evenly spread over what the model says of them; the file's name.

    inputs        encoded training rows by input name
    probability   (N,) that the model gives them
    """
    order = np.argsort(probability, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(ROWS, len(order))).round().astype(int))]
    with (directory / BACKGROUND).open("wb") as stream:
        np.savez(stream, **{name: values[chosen] for name, values in inputs.items()})
    return BACKGROUND
