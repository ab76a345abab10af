"""Flat feature tables: a row in, a probability out, for all three jobs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personalization.bundles.bundle import Bundle
from personalization.core.encoder import TableColumns
from personalization.core.errors import RowFault

# Rows of one `session.run`: large enough that its fixed cost vanishes, small enough that memory stays flat.
ROWS_PER_RUN = 8_192


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """probability   float64 (rows,), each within [0, 1]
    bad_cells     cells that counted as missing because they were not what their column holds
    """

    probability: NDArray[np.float64]
    bad_cells: list[RowFault]


def score(bundle: Bundle, table: TableColumns, rows: int) -> ScoredRows:
    """Probability of the positive label for each row.

    table   cells by column name, each `rows` long; columns that the bundle does not know are ignored, columns that it
            knows and the table lacks count as missing
    """
    encoded = bundle.encoder.encode(table, rows)
    if not encoded.inputs:  # every column was dropped in training: the base rate is all there is
        return ScoredRows(np.full(rows, float(bundle.manifest["fallback"]["probability"])), encoded.bad_cells)
    probability = np.empty(rows, dtype=np.float64)
    for start in range(0, rows, ROWS_PER_RUN):
        part = {name: values[start : start + ROWS_PER_RUN] for name, values in encoded.inputs.items()}
        probability[start : start + ROWS_PER_RUN] = bundle.run(part)["probability"].reshape(-1)
    return ScoredRows(np.clip(probability, 0.0, 1.0), encoded.bad_cells)
