"""The label of a flat table: from cells to 0 and 1, and columns that leak it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from personalization.core.cells import words
from personalization.core.encoder import DATE_PARTS, TableEncoder
from personalization.core.errors import InvalidInput
from training.evaluation.importance import column_slices

LEAKAGE_AUC: Final = 0.97  # of one column alone, from which it is reported as leaking the label

_POSITIVE: Final = frozenset({"1", "true", "yes", "y", "t", "positive", "pos", "是", "真"})
_NEGATIVE: Final = frozenset({"0", "false", "no", "n", "f", "negative", "neg", "否", "假"})
_BINS: Final = 64
_MAX_ROWS: Final = 50_000
_MIN_ROWS_OF_A_CLASS: Final = 8


@dataclass(frozen=True, slots=True)
class Label:
    """A binary label column.

    values     float32 (rows,) 1 and 0; meaningless where not `known`
    known      bool (rows,)
    positive   the word that counts as 1, and `negative` as 0, in lower case
    """

    values: NDArray[np.float32]
    known: NDArray[np.bool_]
    positive: str
    negative: str

    def take(self, rows: NDArray[np.int64]) -> Label:
        """The labels of these rows."""
        return replace(self, values=self.values[rows], known=self.known[rows])


def parse_label(name: str, cells: Sequence[Any], positive: str | None = None) -> Label:
    """Read a binary label: 0/1, true/false, yes/no, or any two words.

    The positive of two words is the one that means it (1, true, yes, …), of two numbers the larger, else the rarer, and of
    two equally frequent ones the last in the alphabet; or the one given as `positive`. Upper and lower case are one.

    Raises `InvalidInput` where there are not exactly two different values; the message lists them.
    """
    folded = _folded(cells)
    counts = Counter(word for word in folded if word is not None)
    if len(counts) != 2:
        listed = ", ".join(f"{word[:40]!r} ({count} rows)" for word, count in counts.most_common(8))
        more = f" and {len(counts) - 8} more" if len(counts) > 8 else ""
        raise InvalidInput(
            f"expected the label column {name!r} to hold two different values, received {len(counts)}"
            f"{': ' + listed if listed else ''}{more}"
        )
    chosen = _positive(counts) if positive is None else positive.strip().casefold()
    if chosen not in counts:
        raise InvalidInput(f"expected the positive label to be one of {sorted(counts)}, received {positive!r}")
    (negative,) = counts.keys() - {chosen}
    return _label(folded, chosen, negative)


def apply_label(name: str, cells: Sequence[Any], like: Label) -> Label:
    """Read the label of another file as `like` was read; one of its two values may be absent there.

    Raises `InvalidInput` for a third value.
    """
    folded = _folded(cells)
    others = sorted({word for word in folded if word is not None} - {like.positive, like.negative})
    if others:
        raise InvalidInput(
            f"expected the label column {name!r} to hold {like.negative!r} and {like.positive!r} as in the training table, "
            f"received also {', '.join(repr(word[:40]) for word in others[:8])}"
        )
    return _label(folded, like.positive, like.negative)


def leaking_columns(
    encoder: TableEncoder, inputs: Mapping[str, NDArray[Any]], labels: NDArray[Any], seed: int = 0
) -> dict[str, float]:
    """The columns that alone predict the label almost perfectly (AUC from `LEAKAGE_AUC`), with their AUC."""
    aucs = single_column_auc(encoder, inputs, labels, seed)
    return {name: auc for name, auc in aucs.items() if auc >= LEAKAGE_AUC}


def single_column_auc(
    encoder: TableEncoder, inputs: Mapping[str, NDArray[Any]], labels: NDArray[Any], seed: int = 0
) -> dict[str, float]:
    """AUC of each column alone, by name.

    A column's score is the label's mean in each of its bins, fitted on one half of the rows and evaluated on the other, both
    ways. Missing cells are a bin; of a date the best part counts. Empty where a class has too few rows.
    """
    rows = np.random.default_rng(seed).permutation(len(labels))[:_MAX_ROWS]
    y = np.asarray(labels, np.float64)[rows]
    if min(y.sum(), len(y) - y.sum()) < _MIN_ROWS_OF_A_CLASS:
        return {}
    aucs: dict[str, float] = {}
    for column, (name, where) in column_slices(encoder).items():
        parts = [inputs[name][rows, part] for part in range(where.start, where.stop)]
        aucs[column] = max(_cross_fitted_auc(_bins(part) if part.dtype.kind == "f" else part, y) for part in parts)
    return aucs


def sorted_date_columns(encoder: TableEncoder, inputs: Mapping[str, NDArray[Any]]) -> list[str]:
    """The date columns that (but for one row in a hundred) only rise, or only fall, from the first row to the last."""
    columns = []
    for column, (name, where) in column_slices(encoder).items():
        if where.stop - where.start == len(DATE_PARTS):
            days = inputs[name][:, where.start]
            steps = np.diff(days[~np.isnan(days)])
            if np.any(steps != 0) and max((steps >= 0).mean(), (steps <= 0).mean()) >= 0.99:
                columns.append(column)
    return columns


def _folded(cells: Sequence[Any]) -> list[str | None]:
    return [None if word is None else word.casefold() for word in words(cells)]


def _label(folded: Sequence[str | None], positive: str, negative: str) -> Label:
    values = np.array([word == positive for word in folded], np.float32)
    return Label(values, np.array([word is not None for word in folded], bool), positive, negative)


def _positive(counts: Counter[str]) -> str:
    first, second = sorted(counts)
    positives = [word for word in (first, second) if word in _POSITIVE]
    negatives = [word for word in (first, second) if word in _NEGATIVE]
    if len(positives) == 1:
        return positives[0]
    if len(negatives) == 1:
        return second if negatives[0] == first else first
    try:
        return max((first, second), key=float)
    except ValueError:
        return second if counts[second] <= counts[first] else first


def _bins(values: NDArray[np.float32]) -> NDArray[np.int64]:
    known = values[~np.isnan(values)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1])) if len(known) else np.zeros(0)
    return np.where(np.isnan(values), 0, 1 + np.searchsorted(edges, values, side="right")).astype(np.int64)


def _cross_fitted_auc(codes: NDArray[np.int64], y: NDArray[np.float64]) -> float:
    half = np.arange(len(y)) % 2 == 0  # the rows are in random order
    aucs = []
    for fitted in (half, ~half):
        counts = np.bincount(codes[fitted], minlength=int(codes.max()) + 1)
        sums = np.bincount(codes[fitted], y[fitted], minlength=len(counts))
        score = (sums + y[fitted].mean()) / (counts + 1.0)
        others = y[~fitted]
        if 0 < others.sum() < len(others):
            aucs.append(float(roc_auc_score(others, score[codes[~fitted]])))
    return float(np.mean(aucs)) if aucs else 0.5
