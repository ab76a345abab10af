"""Columns of the users table: known in training, but not to everybody who asks.

A dropped file of interactions holds no users table. So a part of the training rows goes without, and the network learns both;
the metrics say what it is worth without them.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.encoder import MISSING_CODE, TableEncoder
from personalization.profiles.predict import ATTRIBUTE_PREFIX
from training.evaluation.importance import column_places
from training.fitting import Examples

HIDDEN_SHARE: Final = 0.25  # of the training rows


def has_attributes(encoder: TableEncoder) -> bool:
    """Whether any column of the users table is used."""
    return any(column.name.startswith(ATTRIBUTE_PREFIX) for column in encoder.columns)


def without_attributes(encoder: TableEncoder, examples: Examples, rows: NDArray[np.bool_] | None = None) -> Examples:
    """The same examples, with the attributes of `rows` (all where None) missing."""
    inputs: dict[str, NDArray[Any]] = {name: values.copy() for name, values in examples.inputs.items()}
    chosen = np.arange(len(examples)) if rows is None else np.flatnonzero(rows)
    for column, (name, where) in column_places(encoder).items():
        if column.startswith(ATTRIBUTE_PREFIX):
            inputs[name][chosen, where] = np.nan if inputs[name].dtype.kind == "f" else MISSING_CODE
    return Examples(inputs, examples.targets, examples.weight)


def partly_hidden(encoder: TableEncoder, examples: Examples, seed: int) -> Examples:
    """Training examples of which a seeded share lacks its attributes; untouched where there are none."""
    if not has_attributes(encoder):
        return examples
    return without_attributes(encoder, examples, np.random.default_rng(seed).random(len(examples)) < HIDDEN_SHARE)
