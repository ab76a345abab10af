"""The log of impressions in columns, with outcomes that have had the time to come."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.ads.exposure import ExposureLog
from personalization.core import cells
from personalization.core.categorical import Vocabulary
from personalization.core.errors import InvalidInput
from personalization.core.schema import AD_ID, IMPRESSIONS, TIMESTAMP, USER_ID
from personalization.core.time import DAY_MS, MISSING_TIME
from training.io.tables import read_chunks

# Without a word on when clicks and conversions came: days after which they are taken to be all there.
CLICK_DAYS: Final = 1.0
CONVERSION_DAYS: Final = 7.0
LONGEST_DAYS: Final = 60.0
# Share of conversions that a found attribution window holds.
_COVERED: Final = 0.95
HELD_OUT: Final = "treatment"  # 1 shown (as are all rows without the column), 0 held back on purpose
_READ: Final = frozenset({*IMPRESSIONS.columns, HELD_OUT})


@dataclass(frozen=True)
class Impressions:
    """I impressions of U users and A ads.

    user, ad             (I,) int codes
    moment               (I,) milliseconds
    position             (I,) 1 for the first place, NaN where not known
    placement, channel   (I,) words or None
    click, conversion    (I,) 0 or 1; None where the log has no such column
    clicked_at, converted_at   (I,) when the outcome was known, `MISSING_TIME` without one
    weight               (I,) how many impressions the row stands for
    shown                (I,) whether the ad was shown, not held back
    """

    users: list[str]
    ads: list[str]
    user: NDArray[np.int64]
    ad: NDArray[np.int64]
    moment: NDArray[np.int64]
    position: NDArray[np.float64]
    placement: NDArray[np.object_]
    channel: NDArray[np.object_]
    click: NDArray[np.float64] | None
    conversion: NDArray[np.float64] | None
    clicked_at: NDArray[np.int64]
    converted_at: NDArray[np.int64]
    weight: NDArray[np.float64]
    shown: NDArray[np.bool_]
    report: dict[str, Any]

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: NDArray[Any]) -> Impressions:
        """The impressions at these indices or under this mask."""
        names = ("user", "ad", "moment", "position", "placement", "channel", "clicked_at", "converted_at", "weight", "shown")
        parts = {name: getattr(self, name)[rows] for name in names}
        parts |= {name: None if getattr(self, name) is None else getattr(self, name)[rows] for name in ("click", "conversion")}
        return replace(self, **parts)

    @property
    def exposures(self) -> ExposureLog:
        """The same as a log that can be asked what was known before a moment. What was held back was not seen."""
        seen = self.shown
        return ExposureLog(self.user[seen], self.ad[seen], self.moment[seen], self.clicked_at[seen], self.converted_at[seen])

    @property
    def end(self) -> int:
        """The last moment that the log knows of."""
        return max(int(times.max(initial=0)) for times in (self.moment, self.clicked_at, self.converted_at))


def read_impressions(path: Path, mapping: Mapping[str, str] | None = None, zone: tzinfo = UTC) -> Impressions:
    """Read a table of impressions. An empty outcome is none; a time of one is one.

    Raises `InvalidInput` where a column is missing, there is neither click nor conversion, or no row can be used.
    """
    users, ads, rejected = Vocabulary(), Vocabulary(), Counter[str]()
    parts: list[dict[str, Any]] = []
    outcomes: set[str] = set()
    for columns, rows, bad in read_chunks(path, IMPRESSIONS.required, mapping=mapping, only=_READ, zone=zone):
        rejected.update(bad)
        outcomes |= {name for name in ("click", "conversion") if name in columns}
        outcomes |= {name for name, time in (("click", "clicked_at"), ("conversion", "converted_at")) if time in columns}
        part = _typed(columns, rows, zone)
        part["user"] = users.codes(cells.words(columns[USER_ID])).astype(np.int64)
        part["ad"] = ads.codes(cells.words(columns[AD_ID])).astype(np.int64)
        known = (part["user"] >= 0) & (part["ad"] >= 0) & (part["moment"] != MISSING_TIME)
        usable = known & (part["weight"] > 0)
        rejected.update(
            {"no user, ad or timestamp": int((~known).sum()), "sample_weight not above 0": int((known & ~usable).sum())}
        )
        parts.append({name: values[usable] for name, values in part.items()})
    joined: dict[str, Any] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
    if not joined or not len(joined["user"]):
        raise InvalidInput(f"{path.name}: expected rows with user_id, ad_id and {TIMESTAMP}, found none")
    if not outcomes:
        raise InvalidInput(f"{path.name}: expected click or conversion, found neither")
    absent = dict.fromkeys({"click", "conversion"} - outcomes)
    report: dict[str, Any] = {"rejected": {reason: n for reason, n in rejected.items() if n}}
    found = Impressions(users.words, ads.words, report=report, **(joined | absent))
    return _consistent(found)


def attribution_window(log: Impressions) -> float:
    """Days after which `_COVERED` of the conversions (of the clicks, where those are all there is) have come.

    At least 1, at most `LONGEST_DAYS`; a usual number where the log has few times of outcomes.
    """
    outcome, times = (log.conversion, log.converted_at) if log.conversion is not None else (log.click, log.clicked_at)
    assert outcome is not None
    delays = (times - log.moment)[(outcome > 0) & (times > log.moment)] / DAY_MS
    if len(delays) < 20:
        return CLICK_DAYS if log.conversion is None else CONVERSION_DAYS
    return float(min(max(math.ceil(float(np.quantile(delays, _COVERED))), 1.0), LONGEST_DAYS))


def _typed(columns: Mapping[str, Sequence[Any]], rows: int, zone: tzinfo) -> dict[str, NDArray[Any]]:
    empty = [None] * rows

    def numbers(name: str) -> NDArray[np.float64]:
        return cells.numbers(columns.get(name, empty))[0]

    def times(name: str) -> NDArray[np.int64]:
        return cells.timestamps(columns.get(name, empty), zone)[0]

    def words(name: str) -> NDArray[np.object_]:
        out = np.empty(rows, dtype=object)
        out[:] = cells.words(columns.get(name, empty))
        return out

    weight = numbers("sample_weight") if "sample_weight" in columns else np.ones(rows)
    found: dict[str, NDArray[Any]] = {
        "moment": times(TIMESTAMP), "position": numbers("position"), "placement": words("placement"),
        "channel": words("channel"), "weight": np.where(np.isnan(weight), 1.0, weight),
        "shown": numbers(HELD_OUT) != 0, "clicked_at": times("clicked_at"), "converted_at": times("converted_at"),
    }  # fmt: skip
    for name, time in (("click", "clicked_at"), ("conversion", "converted_at")):
        happened = (numbers(name) > 0) | (found[time] != MISSING_TIME)
        found[name] = happened.astype(np.float64)
        # Without a time of its own an outcome is known from the impression on, a conversion after the usual wait.
        wait = 0 if name == "click" else round(CONVERSION_DAYS * DAY_MS)
        told = np.where(found[time] == MISSING_TIME, found["moment"] + wait, found[time])
        found[time] = np.where(happened, np.maximum(told, found["moment"]), MISSING_TIME)
    return found


def _consistent(log: Impressions) -> Impressions:
    """Whoever converts by way of the ad has clicked it: a conversion without a click counts as a click too."""
    if log.click is None or log.conversion is None:
        return log
    lacking = (log.conversion > 0) & (log.click == 0) & log.shown
    log.report["conversions_without_a_click"] = int(lacking.sum())
    if not lacking.any():
        return log
    clicked_at = np.where(lacking, log.converted_at, log.clicked_at)
    return replace(log, click=np.where(lacking, 1.0, log.click), clicked_at=clicked_at)
