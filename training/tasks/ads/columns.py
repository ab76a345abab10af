"""Which columns of an impression the network sees, decided on training rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization import features
from personalization.ads.features import AD_PREFIX, CONTEXT, USER_AD_CROSS_FEATURES
from personalization.core import cells
from personalization.core.encoder import Column
from personalization.profiles.predict import ATTRIBUTE_PREFIX
from training.tasks.profiles.feature_selection import select_features
from training.tasks.tabular.columns import LISTED_WORDS, ColumnDecision, decide_columns

# Columns of the ads table that name things, whatever they look like.
NAMES: Final = tuple(
    AD_PREFIX + name for name in ("ad_id", "campaign_id", "item_id", "category", "creative", "channel", "brand")
)
_LEAST_COUNT: Final = 5  # training rows with a word, for it to be listed
_LARGEST_BUCKETS: Final = 1 << 14
_UNIQUE: Final = 0.5  # words in this share of the rows occur once: they name rows, not things


def decide(
    columns: Mapping[str, NDArray[Any]], user: NDArray[np.int64], ad: NDArray[np.int64], salt: str
) -> list[ColumnDecision]:
    """One decision for each column of N training rows.

    user, ad   (N,) codes: what is told of a user or an ad is looked at once for each of them
    salt       hexadecimal key of the hash of columns with too many words to list
    """
    numbers = {
        name: columns[name] for name in (*features.FEATURES, *USER_AD_CROSS_FEATURES, "hour", "weekday") if name in columns
    }
    texts = {name: columns[name] for name in features.TEXT_FEATURES if name in columns}
    decisions = select_features(numbers | texts)
    named = [name for name in (*NAMES, *(n for n in CONTEXT if n not in numbers)) if name in columns]
    decisions += [_words(name, columns[name], salt) for name in named]
    known = {decision.name for decision in decisions}
    for prefix, code in ((AD_PREFIX, ad), (ATTRIBUTE_PREFIX, user)):
        # In no order: sizes of eight ads that happen to ascend do not count rows.
        once = np.random.default_rng(0).permutation(np.unique(code, return_index=True)[1])
        others = {name: c[once].tolist() for name, c in columns.items() if name.startswith(prefix) and name not in known}
        decisions += decide_columns(others, len(once), salt=salt)
    return _without_twins(decisions, columns)


def _words(name: str, content: NDArray[Any], salt: str) -> ColumnDecision:
    """A column of names: listed where there are few, hashed where there are many."""
    words = cells.words(content)
    counts = Counter(word for word in words if word is not None)
    missing = 1.0 - sum(counts.values()) / max(len(words), 1)
    if not counts:
        return ColumnDecision(name, "dropped", "all cells are missing", missing=missing)
    if len(counts) == 1 and missing == 0:
        return ColumnDecision(name, "dropped", "the same in every row", distinct=1)
    once = sum(count == 1 for count in counts.values())
    if len(counts) > LISTED_WORDS and once > _UNIQUE * len(words):
        return ColumnDecision(
            name, "dropped", f"{len(counts)} different words, most of them in one row only", distinct=len(counts)
        )
    if len(counts) <= LISTED_WORDS:
        frequent = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
        listed = tuple(word for word, count in frequent if count >= _LEAST_COUNT)
        if not listed:
            return ColumnDecision(name, "dropped", "no word is frequent enough", missing=missing, distinct=len(counts))
        reason = f"{len(listed)} words" + (
            f"; {len(counts) - len(listed)} rare ones count as unknown" if len(listed) < len(counts) else ""
        )
        return ColumnDecision(name, "categorical", reason, Column(name, "categorical", listed), missing, distinct=len(counts))
    buckets = min(_LARGEST_BUCKETS, 1 << (2 * len(counts)).bit_length())
    reason = f"{len(counts)} different words: hashed to {buckets} buckets"
    return ColumnDecision(
        name, "hashed", reason, Column(name, "hashed", buckets=buckets, salt=salt), missing, distinct=len(counts)
    )


def _without_twins(decisions: list[ColumnDecision], columns: Mapping[str, NDArray[Any]]) -> list[ColumnDecision]:
    """A campaign of one ad has two names for one thing: the first of two equal columns stays."""
    seen: dict[bytes, str] = {}
    out = []
    for decision in decisions:
        if decision.column is not None and decision.column.kind in ("categorical", "hashed"):
            words = cells.words(columns[decision.name])
            codes: dict[str | None, int] = {}
            key = np.array([codes.setdefault(word, len(codes)) for word in words], dtype=np.int32).tobytes()
            twin = seen.setdefault(key, decision.name)
            if twin != decision.name:
                out.append(ColumnDecision(decision.name, "dropped", f"tells the same as {twin}", missing=decision.missing))
                continue
        out.append(decision)
    return out
