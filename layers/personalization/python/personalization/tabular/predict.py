"""Flat feature tables: the probability of the positive label for each row, for all three jobs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personalization.bundles.bundle import Bundle
from personalization.core.encoder import TableColumns
from personalization.core.errors import RowFault


@dataclass(frozen=True, slots=True)
class TablePredictions:
    """Predictions for R rows.

    probability   float64 (R,), each within [0, 1]
    bad_cells     cells that counted as missing because their column holds another kind of value
    """

    probability: NDArray[np.float64]
    bad_cells: list[RowFault]


def predict(bundle: Bundle, table: TableColumns, rows: int) -> TablePredictions:
    """Probability of the positive label for each row.

    table   cells by column name, each `rows` long. Columns that the model does not use are ignored; columns that the table
            lacks count as missing
    """
    encoded = bundle.encoder.encode(table, rows)
    if not encoded.inputs:  # every column was dropped in training: the base rate remains
        return TablePredictions(np.full(rows, float(bundle.manifest["fallback"]["probability"])), encoded.bad_cells)
    probability = bundle.run(encoded.inputs)["probability"].reshape(-1).astype(np.float64)
    return TablePredictions(np.clip(probability, 0.0, 1.0), encoded.bad_cells)
