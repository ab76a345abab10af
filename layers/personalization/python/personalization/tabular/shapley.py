"""Shapley values of a row's columns on the logit of a probability, against background rows that stand for all users.

Method: permutation sampling (Castro, Gómez and Tejada, 2009; Štrumbelj and Kononenko, 2014) of the interventional Shapley
value. Every order is walked from one background row to the explained row; orders come in pairs, one the reverse of the
other, which cancels much of the noise (Mitchell et al., 2022). Each round uses every background row once, so contributions
sum to logit − base exactly, however few rounds there are. All rows of a round go through the graph in one run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.bundles.bundle import Bundle
from personalization.core.encoder import DATE_PARTS, TableEncoder

_FLOOR: Final = 1e-7  # probabilities of 0 and 1 have no logit

Inputs = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class ShapleyValues:
    """Contributions to one row's logit.

    base             mean logit of the background rows
    logit            of the explained row; base + contributions.sum() is equal to it
    names            the encoder's columns, (m,)
    contributions    float64 (m,)
    standard_error   float64 (m,), of the sampling of orders and background rows
    rows             number of rows that were run through the graph
    """

    base: float
    logit: float
    names: tuple[str, ...]
    contributions: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    rows: int


def shapley_values(
    bundle: Bundle,
    row: Inputs,
    background: Inputs,
    probability: Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]],
    *,
    seed: int = 0,
    rounds: int = 1,
    budget_seconds: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> ShapleyValues:
    """Estimate the contributions of the columns of one encoded row.

    row              inputs of one row, (1, n) and (1, m), as the encoder returns them
    background       inputs of B rows
    probability      selects the explained number: outputs by name → (N,)
    rounds           at most, of B orders each; the standard error falls with their square root
    budget_seconds   no round starts after this time; the first always runs
    """
    rng = np.random.default_rng(seed)
    columns = len(bundle.encoder.columns)
    table_columns = _table_columns(bundle.encoder)
    size = len(next(iter(background.values())))
    start = clock()
    walked: list[NDArray[np.float64]] = []
    for _ in range(rounds):
        walked.append(_round(bundle, row, background, probability, table_columns, _orders(rng, size, columns)))
        if budget_seconds is not None and clock() - start >= budget_seconds:
            break
    steps = np.concatenate(walked)  # (orders, columns + 2): contributions, then the logits at both ends
    parts, ends = steps[:, :columns], steps[:, columns:]
    return ShapleyValues(
        base=float(ends[:, 0].mean()),
        logit=float(ends[0, 1]),
        names=tuple(column.name for column in bundle.encoder.columns),
        contributions=parts.mean(axis=0),
        standard_error=parts.std(axis=0, ddof=1) / np.sqrt(len(parts)) if len(parts) > 1 else np.full(columns, np.nan),
        rows=len(parts) * (columns + 1),
    )


def _orders(rng: np.random.Generator, size: int, columns: int) -> NDArray[np.int64]:
    """(size, columns) place of each column in each order; every second order is the reverse of the one before."""
    forward = np.argsort(rng.random(((size + 1) // 2, columns)), axis=1)
    places = np.empty((len(forward) * 2, columns), dtype=np.int64)
    places[0::2] = forward
    places[1::2] = columns - 1 - forward
    return places[:size]


def _round(
    bundle: Bundle,
    row: Inputs,
    background: Inputs,
    probability: Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]],
    table_columns: Mapping[str, NDArray[np.int64]],
    places: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Walk each order from its background row to the explained row; the change of logit at a step is the column's."""
    size, columns = places.shape
    # (order, step, column): whether the column has taken the explained row's value after `step` steps
    taken = places[:, None, :] < np.arange(columns + 1)[None, :, None]
    inputs = {}
    for name, values in background.items():
        mixed = np.where(taken[:, :, table_columns[name]], row[name][:, None, :], values[:, None, :])
        inputs[name] = np.ascontiguousarray(mixed.reshape(size * (columns + 1), -1))
    p = np.clip(np.asarray(probability(bundle.run(inputs)), dtype=np.float64), _FLOOR, 1 - _FLOOR)
    logits = np.log(p / (1 - p)).reshape(size, columns + 1)
    changes = np.diff(logits, axis=1)
    return np.concatenate([np.take_along_axis(changes, places, axis=1), logits[:, [0, -1]]], axis=1)


def _table_columns(encoder: TableEncoder) -> dict[str, NDArray[np.int64]]:
    """By tensor: index of the table's column of each tensor column; the parts of a date belong to one."""
    numeric: list[int] = []
    categorical: list[int] = []
    for position, column in enumerate(encoder.columns):
        if column.kind in ("categorical", "hashed"):
            categorical.append(position)
        else:
            numeric += [position] * (len(DATE_PARTS) if column.kind == "date" else 1)
    return {"numeric": np.array(numeric, dtype=np.int64), "categorical": np.array(categorical, dtype=np.int64)}
