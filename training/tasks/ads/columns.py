"""The columns of impressions: described by the runtime's own code, and selected on training rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization import features
from personalization.ads.exposure import ExposureLog
from personalization.ads.features import (
    AD_PREFIX,
    CONTEXT_FEATURES,
    USER_AD_CROSS_FEATURES,
    AdFeatures,
    Columns,
    ImpressionRows,
    impression_columns,
)
from personalization.core import cells
from personalization.core.encoder import Column
from personalization.core.events import Events
from personalization.features import HistoryWindow
from personalization.profiles.predict import ATTRIBUTE_PREFIX
from training.tasks.ads.impressions import Impressions
from training.tasks.profiles.feature_selection import select_features
from training.tasks.tabular.columns import LISTED_WORDS, ColumnDecision, decide_columns

# Columns of the ads table that are categories, even where they hold numbers.
_CATEGORIES: Final = tuple(
    AD_PREFIX + name for name in ("ad_id", "campaign_id", "item_id", "category", "creative", "channel", "brand")
)
_MIN_WORD_COUNT: Final = 5  # training rows with a word, for it to be listed
_MAX_BUCKETS: Final = 1 << 14
_UNIQUE: Final = 0.5  # share of the rows with a word of their own, from which a column is an id of rows


@dataclass(frozen=True)
class ImpressionSources:
    """Data that impressions are described with.

    events       of the log's users, in the log's order of users
    attributes   columns of the users table, (U,) each
    ads          in the log's order of ads
    exposures    the whole log, for earlier impressions of the users
    """

    events: Events
    attributes: Mapping[str, NDArray[Any]]
    ads: AdFeatures
    exposures: ExposureLog
    window: HistoryWindow
    zone: tzinfo

    def describe(self, log: Impressions) -> Columns:
        """Columns of the impressions of `log`, float32 or object, as the model's encoder takes them."""
        exposure = self.exposures.before(log.user, log.ad, log.timestamp)
        placement, channel = log.placement.tolist(), log.channel.tolist()
        impressions = ImpressionRows(log.user, log.ad, log.timestamp, exposure, placement, channel)
        return impression_columns(impressions, self.events, self.attributes, self.ads, self.window, self.zone)


def select_columns(
    columns: Mapping[str, NDArray[Any]], user: NDArray[np.int64], ad: NDArray[np.int64], salt: str
) -> list[ColumnDecision]:
    """One decision for each column of N training rows.

    user, ad   (N,) codes: attributes of users and ads are looked at once for each user or ad
    salt       hexadecimal key of the hash of columns with too many words to list
    """
    numbers = {
        name: columns[name] for name in (*features.FEATURES, *USER_AD_CROSS_FEATURES, "hour", "weekday") if name in columns
    }
    texts = {name: columns[name] for name in features.TEXT_FEATURES if name in columns}
    decisions = select_features(numbers | texts)
    categories = [name for name in (*_CATEGORIES, *(n for n in CONTEXT_FEATURES if n not in numbers)) if name in columns]
    decisions += [_category(name, columns[name], salt) for name in categories]
    decided = {decision.name for decision in decisions}
    for prefix, code in ((AD_PREFIX, ad), (ATTRIBUTE_PREFIX, user)):
        # Shuffled: a column of few ads that happens to ascend would look like a row number.
        once = np.random.default_rng(0).permutation(np.unique(code, return_index=True)[1])
        others = {name: c[once].tolist() for name, c in columns.items() if name.startswith(prefix) and name not in decided}
        decisions += decide_columns(others, len(once), salt=salt)
    return _drop_equal_columns(decisions, columns)


def _category(name: str, content: NDArray[Any], salt: str) -> ColumnDecision:
    """Words are listed where they are few, hashed where they are many."""
    words = cells.words(content)
    counts = Counter(word for word in words if word is not None)
    draft = ColumnDecision(name, "dropped", "", missing=1.0 - sum(counts.values()) / max(len(words), 1), distinct=len(counts))
    if not counts:
        return replace(draft, reason="all cells are missing")
    if len(counts) == 1 and draft.missing == 0:
        return replace(draft, reason="the same in every row")
    if len(counts) > LISTED_WORDS:
        if sum(count == 1 for count in counts.values()) > _UNIQUE * len(words):
            return replace(draft, reason=f"{len(counts)} different words, most of them in one row only")
        buckets = min(_MAX_BUCKETS, 1 << (2 * len(counts)).bit_length())
        column = Column(name, "hashed", buckets=buckets, salt=salt)
        reason = f"{len(counts)} different words: hashed to {buckets} buckets"
        return replace(draft, action="hashed", reason=reason, column=column)
    by_count = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    listed = tuple(word for word, count in by_count if count >= _MIN_WORD_COUNT)
    if not listed:
        return replace(draft, reason="no word is frequent enough")
    rare = len(counts) - len(listed)
    reason = f"{len(listed)} words" + (f"; {rare} rare ones count as unknown" if rare else "")
    return replace(draft, action="categorical", reason=reason, column=Column(name, "categorical", listed))


def _drop_equal_columns(decisions: list[ColumnDecision], columns: Mapping[str, NDArray[Any]]) -> list[ColumnDecision]:
    """Of categorical columns that divide the rows alike (campaigns of one ad each) only the first is used."""
    first_with: dict[bytes, str] = {}
    unique = []
    for decision in decisions:
        if decision.column is not None and decision.column.kind in ("categorical", "hashed"):
            codes: dict[str | None, int] = {}
            words = cells.words(columns[decision.name])
            key = np.array([codes.setdefault(word, len(codes)) for word in words], dtype=np.int32).tobytes()
            first = first_with.setdefault(key, decision.name)
            if first != decision.name:
                reason = f"divides the rows as {first} does"
                unique.append(ColumnDecision(decision.name, "dropped", reason, missing=decision.missing))
                continue
        unique.append(decision)
    return unique
