"""Which features of the users the network takes, and why the others are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.encoder import Column
from personalization.features import TEXT_FEATURES
from training.tasks.profiles.pareto_nbd import COLUMNS
from training.tasks.tabular.columns import LISTED_WORDS, ColumnDecision

MAX_MISSING: Final = 0.99
_MIN_WORD_COUNT: Final = 5  # training rows with a word, for it to be listed
_DISTINCT_SAMPLE: Final = 50_000  # rows among which distinct values are counted: a sort of all would cost seconds


def select_features(columns: Mapping[str, NDArray[Any]]) -> list[ColumnDecision]:
    """One decision for each feature, on training rows: float columns with NaN where missing, object columns of words.

    Left out are constants, columns that are almost always missing, and exact copies of an earlier column, or of one that the
    Pareto/NBD mixture needs.
    """
    first_with = {columns[name].tobytes(): name for name in COLUMNS if name in columns}
    decisions = []
    for name, content in columns.items():
        if name in TEXT_FEATURES:
            decisions.append(_words(name, content))
        else:
            decision = _number(name, content)
            if decision.column is not None:
                twin = first_with.setdefault(content.tobytes(), name)
                if twin != name:
                    decision = ColumnDecision(name, "dropped", f"the same as {twin}", missing=decision.missing)
            decisions.append(decision)
    return decisions


def _number(name: str, content: NDArray[Any]) -> ColumnDecision:
    known = content[~np.isnan(content)]
    missing = 1.0 - len(known) / max(len(content), 1)
    if not len(known):
        return ColumnDecision(name, "dropped", "the events have no value for it", missing=missing)
    if missing > MAX_MISSING:
        return ColumnDecision(name, "dropped", f"{missing:.1%} of the users have none", missing=missing)
    if known.min() == known.max() and missing == 0:
        return ColumnDecision(name, "dropped", "the same for every user", missing=missing, distinct=1)
    distinct = len(np.unique(known[:_DISTINCT_SAMPLE]))
    return ColumnDecision(name, "numeric", "numbers", Column(name, "numeric"), missing, distinct=distinct)


def _words(name: str, content: NDArray[Any]) -> ColumnDecision:
    counts = Counter(word for word in content.tolist() if word is not None)
    missing = 1.0 - sum(counts.values()) / max(len(content), 1)
    if not counts:
        return ColumnDecision(name, "dropped", "the events have no value for it", missing=missing)
    if len(counts) == 1 and missing == 0:
        return ColumnDecision(name, "dropped", "the same for every user", missing=missing, distinct=1)
    frequent = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    listed = tuple(word for word, count in frequent if count >= _MIN_WORD_COUNT)[:LISTED_WORDS]
    if not listed:
        return ColumnDecision(name, "dropped", "no word is frequent enough", missing=missing, distinct=len(counts))
    reason = f"{len(listed)} words" if len(listed) == len(counts) else f"the {len(listed)} most frequent of {len(counts)} words"
    return ColumnDecision(name, "categorical", reason, Column(name, "categorical", listed), missing, distinct=len(counts))
