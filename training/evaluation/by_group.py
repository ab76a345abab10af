"""Is the model as good for everybody? Errors by group: region, channel, age … where the data has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.encoder import CATEGORICAL, MISSING_CODE, NUMERIC, UNKNOWN_CODE, Column, TableEncoder
from personalization.core.errors import InvalidInput
from training.evaluation.importance import column_places
from training.evaluation.metrics import binary_metrics

MOST_WORDS: Final = 12  # of a column that is looked at unasked
MOST_COLUMNS: Final = 12  # that are looked at unasked, those of the fewest words first
LEAST_ROWS: Final = 30  # of a group; smaller ones are told of together, which also keeps single people out of a report
BANDS: Final = 4  # of a numeric column, with a like number of rows each
FAR: Final = 3.0  # standard errors between predicted and observed, from which a group is said to be off
_METRICS: Final = ("auc", "log_loss", "precision", "recall")
_SMALL: Final = "smaller groups"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Grouping:
    """column   whose values make the groups
    codes    (N,) place of each row's group in `names`
    """

    column: str
    codes: NDArray[np.int64]
    names: Sequence[str]


def groupings(
    encoder: TableEncoder, inputs: Mapping[str, NDArray[Any]], names: Sequence[str] = (), *, numeric_prefix: str = ""
) -> list[Grouping]:
    """What there is to group rows by.

    inputs           encoded rows, by input name
    names            columns, numeric ones in four bands; without any, all of few words
    numeric_prefix   numeric columns with names that begin so are looked at unasked too

    Raises `InvalidInput` for a name that is no column of the model, or one whose words are not kept.
    """
    places = column_places(encoder)
    if names:
        chosen = named_columns(encoder, names)
    else:
        few = [c for c in encoder.columns if c.kind == CATEGORICAL and len(c.vocabulary) <= MOST_WORDS]
        if numeric_prefix:
            few += [c for c in encoder.columns if c.kind == NUMERIC and c.name.startswith(numeric_prefix)]
        chosen = sorted(few, key=lambda column: len(column.vocabulary))[:MOST_COLUMNS]
    found = []
    for column in chosen:
        name, where = places[column.name]
        values = inputs[name][:, where.start]
        found.append(_by_word(column, values) if column.kind == CATEGORICAL else _by_band(column.name, values))
    return [one for one in found if len(np.unique(one.codes)) > 1]


def named_columns(encoder: TableEncoder, names: Sequence[str]) -> list[Column]:
    """The columns of these names; to be asked before a long training. Raises `InvalidInput` as `groupings` does."""
    known = {column.name: column for column in encoder.columns if column.kind in (NUMERIC, CATEGORICAL)}
    for name in names:
        if name not in known:
            raise InvalidInput(f"expected columns of the model to group by, received {name!r}; there are {sorted(known)}")
    return [known[name] for name in names]


def by_group(
    labels: NDArray[Any],
    probability: NDArray[Any],
    threshold: float,
    groups: Sequence[Grouping],
    weight: NDArray[Any] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """For each column its groups, largest first: rows, rate, mean_probability, standard_error of their difference (as if the
    model were calibrated), auc, log_loss, precision and recall at `threshold`, and `off`: whether the difference is beyond
    three of its standard errors.

    labels, probability, weight   (N,) of the rows that `groups` are of; a row counts as often as its weight says
    """
    y, p = np.asarray(labels, np.float64), np.asarray(probability, np.float64)
    w = np.ones(len(y)) if weight is None else np.asarray(weight, np.float64)
    found: dict[str, list[dict[str, Any]]] = {}
    for grouping in groups:
        counts = np.bincount(grouping.codes, minlength=len(grouping.names))
        rows = [
            _group(name, grouping.codes == code, y, p, w, threshold)
            for code, name in enumerate(grouping.names)
            if counts[code] >= LEAST_ROWS
        ]
        rows.sort(key=lambda row: -int(row["rows"]))
        small = counts[grouping.codes] < LEAST_ROWS
        if small.sum() >= LEAST_ROWS:
            rows.append(_group(_SMALL, small, y, p, w, threshold))
        if len(rows) > 1:
            found[grouping.column] = rows
    return found


def off(groups: Mapping[str, Sequence[Mapping[str, Any]]] | None) -> list[str]:
    """A sentence on each group whose predictions are off beyond chance."""
    return [
        f"{column} = {row['group']} ({row['rows']:,} rows): predicted {row['mean_probability']:.1%}, observed {row['rate']:.1%}"
        for column, rows in (groups or {}).items()
        for row in rows
        if row["off"]
    ]


def _group(name: str, rows: NDArray[np.bool_], y: Floats, p: Floats, w: Floats, threshold: float) -> dict[str, Any]:
    labels, said, weight = y[rows], p[rows], w[rows]
    rate, mean = (float(np.average(values, weights=weight)) for values in (labels, said))
    error = float(np.sqrt((weight**2 * said * (1 - said)).sum()) / weight.sum())
    metrics = binary_metrics(labels, said, threshold, weight)
    return {
        "group": name,
        "rows": len(said),
        "rate": rate,
        "mean_probability": mean,
        "standard_error": error,
        "off": abs(rate - mean) > FAR * error,
        **{metric: metrics[metric] for metric in _METRICS},
    }


def _by_word(column: Column, codes: NDArray[Any]) -> Grouping:
    names = {MISSING_CODE: "missing", UNKNOWN_CODE: "not known in training"}
    words = [names.get(code, column.vocabulary[code - 2] if code > UNKNOWN_CODE else "") for code in range(column.cardinality)]
    return Grouping(column.name, codes.astype(np.int64), words)


def _by_band(name: str, values: NDArray[Any]) -> Grouping:
    """Bands between quartiles; a value that is common is not torn apart."""
    known = values[~np.isnan(values)].astype(np.float64)
    edges = np.unique(np.quantile(known, np.arange(1, BANDS) / BANDS)) if len(known) else np.zeros(0)
    codes = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))
    bounds = [f"{edge:,.6g}" for edge in edges]
    if not bounds:
        return Grouping(name, codes.astype(np.int64), ["all", "missing"])
    words = [f"below {bounds[0]}", *(f"{low} to below {high}" for low, high in pairwise(bounds))]
    return Grouping(name, codes.astype(np.int64), [*words, f"{bounds[-1]} and more", "missing"])
