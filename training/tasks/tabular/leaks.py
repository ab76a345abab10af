"""Columns that give the label away: known alone, they tell it almost perfectly."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from personalization.core.encoder import DATE_PARTS, NUMERIC, TableEncoder
from training.networks.tabular import CATEGORICAL

AWAY: Final = 0.97  # AUC of one column alone
_BINS: Final = 64
_MAX_ROWS: Final = 50_000
_LEAST_OF_A_CLASS: Final = 8


def single_column_auc(
    encoder: TableEncoder, inputs: dict[str, NDArray[Any]], labels: NDArray[Any], seed: int = 0
) -> dict[str, float]:
    """AUC of each column alone, by name: the label's mean in each bin of the column, learnt on one half of the rows and
    judged on the other, both ways. Missing cells are a bin. Empty where a class has too few rows to say anything.
    """
    rows = np.random.default_rng(seed).permutation(len(labels))[:_MAX_ROWS]
    y = np.asarray(labels, np.float64)[rows]
    if min(y.sum(), len(y) - y.sum()) < _LEAST_OF_A_CLASS:
        return {}
    found: dict[str, float] = {}
    n = m = 0
    for column in encoder.columns:
        width = {NUMERIC: 1, "date": len(DATE_PARTS)}.get(column.kind, 0)
        if width:
            codes = [_bins(inputs["numeric"][rows, n + part]) for part in range(width)]
            n += width
        else:
            codes = [inputs[CATEGORICAL][rows, m]]
            m += 1
        found[column.name] = max(_cross_fitted_auc(code, y) for code in codes)
    return found


def _bins(values: NDArray[np.float32]) -> NDArray[np.int64]:
    known = values[~np.isnan(values)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1])) if len(known) else np.zeros(0)
    return np.where(np.isnan(values), 0, 1 + np.searchsorted(edges, values, side="right")).astype(np.int64)


def _cross_fitted_auc(codes: NDArray[np.int64], y: NDArray[np.float64]) -> float:
    half = np.arange(len(y)) % 2 == 0  # the rows are in random order
    aucs = []
    for learn in (half, ~half):
        counts = np.bincount(codes[learn], minlength=int(codes.max()) + 1)
        sums = np.bincount(codes[learn], y[learn], minlength=len(counts))
        score = (sums + y[learn].mean()) / (counts + 1.0)
        judged = y[~learn]
        if 0 < judged.sum() < len(judged):
            aucs.append(float(roc_auc_score(judged, score[codes[~learn]])))
    return float(np.mean(aucs)) if aucs else 0.5
