"""Metrics by group of rows (region, channel, age …): whether the model is as good for every group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.encoder import CATEGORICAL, MISSING_CODE, NUMERIC, UNKNOWN_CODE, Column, TableEncoder
from personalization.core.errors import InvalidInput
from training.evaluation.importance import column_slices
from training.evaluation.metrics import binary_metrics

MAX_WORDS: Final = 12  # of a column that is grouped by default
MAX_COLUMNS: Final = 12  # that are grouped by default, those of the fewest words first
MIN_ROWS: Final = 30  # of a group; smaller ones are pooled, so that no report is about a single person
BANDS: Final = 4  # of a numeric column, with about equal numbers of rows
MAX_STANDARD_ERRORS: Final = 3.0  # between predicted and observed, beyond which a group counts as miscalibrated
_METRICS: Final = ("auc", "log_loss", "precision", "recall")
_POOLED: Final = "smaller groups"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Grouping:
    """column   that the rows are grouped by
    codes    (N,) index of each row's group in `names`
    """

    column: str
    codes: NDArray[np.int64]
    names: Sequence[str]


def groupings(
    encoder: TableEncoder, inputs: Mapping[str, NDArray[Any]], names: Sequence[str] = (), *, numeric_prefix: str = ""
) -> list[Grouping]:
    """Groups of rows by columns of the model.

    inputs           encoded rows, by input name
    names            columns, numeric ones in four bands; by default all with few words
    numeric_prefix   numeric columns whose names begin so are grouped by default too

    Raises `InvalidInput` for a name that is no column of the model, or one whose words are not kept.
    """
    slices = column_slices(encoder)
    if names:
        chosen = named_columns(encoder, names)
    else:
        few = [c for c in encoder.columns if c.kind == CATEGORICAL and len(c.vocabulary) <= MAX_WORDS]
        if numeric_prefix:
            few += [c for c in encoder.columns if c.kind == NUMERIC and c.name.startswith(numeric_prefix)]
        chosen = sorted(few, key=lambda column: len(column.vocabulary))[:MAX_COLUMNS]
    result = []
    for column in chosen:
        name, where = slices[column.name]
        values = inputs[name][:, where.start]
        result.append(_by_word(column, values) if column.kind == CATEGORICAL else _by_band(column.name, values))
    return [grouping for grouping in result if len(np.unique(grouping.codes)) > 1]


def named_columns(encoder: TableEncoder, names: Sequence[str]) -> list[Column]:
    """The columns of these names. Raises `InvalidInput` as `groupings` does: call it before a long training."""
    known = {column.name: column for column in encoder.columns if column.kind in (NUMERIC, CATEGORICAL)}
    for name in names:
        if name not in known:
            raise InvalidInput(f"expected columns of the model to group by, received {name!r}; there are {sorted(known)}")
    return [known[name] for name in names]


def metrics_by_group(
    labels: NDArray[Any],
    probability: NDArray[Any],
    threshold: float,
    groups: Sequence[Grouping],
    weight: NDArray[Any] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """For each column its groups, largest first: rows, rate, mean_probability, standard_error of their difference (if the model
    is calibrated), auc, log_loss, precision and recall at `threshold`, and `off`: whether the difference is beyond three of
    its standard errors.

    labels, probability, weight   (N,) of the rows that `groups` are of; a row counts as often as its weight says
    """
    y, p = np.asarray(labels, np.float64), np.asarray(probability, np.float64)
    w = np.ones(len(y)) if weight is None else np.asarray(weight, np.float64)
    result: dict[str, list[dict[str, Any]]] = {}
    for grouping in groups:
        counts = np.bincount(grouping.codes, minlength=len(grouping.names))
        rows = [
            _group(name, grouping.codes == code, y, p, w, threshold)
            for code, name in enumerate(grouping.names)
            if counts[code] >= MIN_ROWS
        ]
        rows.sort(key=lambda row: -int(row["rows"]))
        small = counts[grouping.codes] < MIN_ROWS
        if small.sum() >= MIN_ROWS:
            rows.append(_group(_POOLED, small, y, p, w, threshold))
        if len(rows) > 1:
            result[grouping.column] = rows
    return result


def miscalibrated(groups: Mapping[str, Sequence[Mapping[str, Any]]] | None) -> list[str]:
    """A line for each group whose mean prediction differs from its rate by more than chance explains."""
    return [
        f"{column} = {row['group']} ({row['rows']:,} rows): predicted {row['mean_probability']:.1%}, observed {row['rate']:.1%}"
        for column, rows in (groups or {}).items()
        for row in rows
        if row["off"]
    ]


def _group(name: str, rows: NDArray[np.bool_], y: Floats, p: Floats, w: Floats, threshold: float) -> dict[str, Any]:
    labels, probability, weight = y[rows], p[rows], w[rows]
    rate, mean = (float(np.average(values, weights=weight)) for values in (labels, probability))
    error = float(np.sqrt((weight**2 * probability * (1 - probability)).sum()) / weight.sum())
    metrics = binary_metrics(labels, probability, threshold, weight)
    return {
        "group": name,
        "rows": len(probability),
        "rate": rate,
        "mean_probability": mean,
        "standard_error": error,
        "off": abs(rate - mean) > MAX_STANDARD_ERRORS * error,
        **{metric: metrics[metric] for metric in _METRICS},
    }


def _by_word(column: Column, codes: NDArray[Any]) -> Grouping:
    names = {MISSING_CODE: "missing", UNKNOWN_CODE: "not known in training"}
    words = [names.get(code, column.vocabulary[code - 2] if code > UNKNOWN_CODE else "") for code in range(column.cardinality)]
    return Grouping(column.name, codes.astype(np.int64), words)


def _by_band(name: str, values: NDArray[Any]) -> Grouping:
    """Bands between quartiles; equal values stay in one band."""
    known = values[~np.isnan(values)].astype(np.float64)
    edges = np.unique(np.quantile(known, np.arange(1, BANDS) / BANDS)) if len(known) else np.zeros(0)
    codes = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))
    bounds = [f"{edge:,.6g}" for edge in edges]
    if not bounds:
        return Grouping(name, codes.astype(np.int64), ["all", "missing"])
    words = [f"below {bounds[0]}", *(f"{low} to below {high}" for low, high in pairwise(bounds))]
    return Grouping(name, codes.astype(np.int64), [*words, f"{bounds[-1]} and more", "missing"])
