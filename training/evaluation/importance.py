"""Permutation importance: the rise of the log loss when a column is shuffled on rows that were not trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personalization.core.encoder import DATE_PARTS, TableEncoder
from training.evaluation.metrics import row_log_loss

Predict = Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Importance:
    """Rise of the log loss when a column is shuffled; below 0 the model does better without it.

    loss     mean rise of the log loss over rows and repeats
    error    its standard error over rows
    """

    column: str
    loss: float
    error: float

    @property
    def harmful(self) -> bool:
        """Whether the column makes predictions worse by more than three standard errors."""
        return self.loss < -3 * self.error


def permutation_importance(
    encoder: TableEncoder,
    predict: Predict,
    inputs: Mapping[str, NDArray[Any]],
    labels: NDArray[Any],
    *,
    seed: int = 0,
    repeats: int = 3,
    max_rows: int = 10_000,
) -> list[Importance]:
    """One entry for each column of the encoder, most important first (Breiman 2001, "Random forests").

    predict    inputs → probability (N,)
    labels     (N,) of 0 and 1
    max_rows   sampled at most, seeded
    """
    random = np.random.default_rng(seed)
    rows = random.permutation(len(labels))[:max_rows]
    y = np.asarray(labels, np.float64)[rows]
    part = {name: values[rows] for name, values in inputs.items()}
    baseline_loss = row_log_loss(y, predict(part))
    importance = []
    for column, (name, where) in column_slices(encoder).items():
        rises = np.zeros(len(y))
        for _ in range(repeats):
            changed = part[name].copy()
            changed[:, where] = changed[random.permutation(len(y))][:, where]
            rises += row_log_loss(y, predict({**part, name: changed})) - baseline_loss
        rises /= repeats
        error = float(rises.std(ddof=1) / np.sqrt(len(y))) if len(y) > 1 else float("inf")
        importance.append(Importance(column, float(rises.mean()), error))
    return sorted(importance, key=lambda entry: -entry.loss)


def column_slices(encoder: TableEncoder) -> dict[str, tuple[str, slice]]:
    """For each column its input tensor and its slice of the last axis; a date takes several columns."""
    slices: dict[str, tuple[str, slice]] = {}
    n = m = 0
    for column in encoder.columns:
        if column.kind in ("numeric", "date"):
            width = len(DATE_PARTS) if column.kind == "date" else 1
            slices[column.name] = ("numeric", slice(n, n + width))
            n += width
        else:
            slices[column.name] = ("categorical", slice(m, m + 1))
            m += 1
    return slices
