"""Which features of the users the network takes, and why the others are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
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
        decision = _decide(name, content)
        if decision.action == "numeric" and (twin := first_with.setdefault(content.tobytes(), name)) != name:
            decision = replace(decision, action="dropped", reason=f"the same as {twin}", column=None)
        decisions.append(decision)
    return decisions


def _decide(name: str, content: NDArray[Any]) -> ColumnDecision:
    text = name in TEXT_FEATURES
    known: Any = [word for word in content.tolist() if word is not None] if text else content[~np.isnan(content)]
    counts = Counter(known if text else known[:_DISTINCT_SAMPLE].tolist())
    missing = 1.0 - len(known) / max(len(content), 1)
    decision = ColumnDecision(name, "dropped", "", missing=missing, distinct=len(counts))
    if not len(known):
        return replace(decision, reason="the events have no value for it")
    if missing == 0 and (len(counts) == 1 if text else known.min() == known.max()):
        return replace(decision, reason="the same for every user")
    if not text and missing > MAX_MISSING:
        return replace(decision, reason=f"{missing:.1%} of the users have none")
    if not text:
        return replace(decision, action="numeric", reason="numbers", column=Column(name, "numeric"))
    frequent = sorted((word for word in counts if counts[word] >= _MIN_WORD_COUNT), key=lambda word: (-counts[word], word))
    listed = tuple(frequent[:LISTED_WORDS])
    if not listed:
        return replace(decision, reason="no word is frequent enough")
    reason = f"{len(listed)} words" if len(listed) == len(counts) else f"the {len(listed)} most frequent of {len(counts)} words"
    return replace(decision, action="categorical", reason=reason, column=Column(name, "categorical", listed))
