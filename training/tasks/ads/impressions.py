"""The log of impressions: reading it, its attribution window, and its split into training, validation and test."""

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
from training.io.point_in_time import label_window_closed
from training.io.tables import read_chunks

# Days after which outcomes are complete, for logs without times of clicks and conversions.
CLICK_DAYS: Final = 1.0
CONVERSION_DAYS: Final = 7.0
MAX_ATTRIBUTION_DAYS: Final = 60.0
_COVERED: Final = 0.95  # share of the conversions within the attribution window
_TEST_SHARE: Final = 0.15
_VALIDATION_SHARE: Final = 0.15
TREATMENT: Final = "treatment"  # 1 shown (as are all rows without the column), 0 withheld from a control group
_READ: Final = frozenset({*IMPRESSIONS.columns, TREATMENT})


@dataclass(frozen=True)
class Impressions:
    """I impressions of U users and A ads.

    user, ad             (I,) int codes
    timestamp            (I,) milliseconds
    position             (I,) 1 for the first, NaN where not known
    placement, channel   (I,) words or None
    click, conversion    (I,) 0 or 1; None where the log has no such column
    clicked_at, converted_at   (I,) milliseconds from which the outcome was known, `MISSING_TIME` without one
    weight               (I,) number of impressions that the row represents
    shown                (I,) whether the ad was shown; False for the control group
    report               counts of rows, for metrics.json
    """

    users: list[str]
    ads: list[str]
    user: NDArray[np.int64]
    ad: NDArray[np.int64]
    timestamp: NDArray[np.int64]
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
        names = ("user", "ad", "timestamp", "position", "placement", "channel", "clicked_at", "converted_at", "weight", "shown")
        parts = {name: getattr(self, name)[rows] for name in names}
        parts |= {name: None if getattr(self, name) is None else getattr(self, name)[rows] for name in ("click", "conversion")}
        return replace(self, **parts)

    @property
    def exposures(self) -> ExposureLog:
        """The log by which earlier impressions of a user are counted. Impressions of the control group are left out."""
        shown = self.shown
        columns = (self.user, self.ad, self.timestamp, self.clicked_at, self.converted_at)
        return ExposureLog(*(column[shown] for column in columns))

    @property
    def end(self) -> int:
        """The newest timestamp of the log, of impressions and of outcomes."""
        return max(int(times.max(initial=0)) for times in (self.timestamp, self.clicked_at, self.converted_at))


def read_impressions(path: Path, mapping: Mapping[str, str] | None = None, zone: tzinfo = UTC) -> Impressions:
    """Read a table of impressions. An empty outcome counts as 0, and a time of an outcome as 1.

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
        known = (part["user"] >= 0) & (part["ad"] >= 0) & (part["timestamp"] != MISSING_TIME)
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
    log = Impressions(users.words, ads.words, report=report, **(joined | absent))
    return _clicks_of_conversions(log)


def attribution_window(log: Impressions) -> float:
    """Days within which 95 % of the conversions follow their impression; of the clicks, in a log without conversions.

    At least 1, at most `MAX_ATTRIBUTION_DAYS`; the default where the log has few times of outcomes.
    """
    outcome, times = (log.conversion, log.converted_at) if log.conversion is not None else (log.click, log.clicked_at)
    assert outcome is not None
    delays = (times - log.timestamp)[(outcome > 0) & (times > log.timestamp)] / DAY_MS
    if len(delays) < 20:
        return CLICK_DAYS if log.conversion is None else CONVERSION_DAYS
    return float(min(max(math.ceil(float(np.quantile(delays, _COVERED))), 1.0), MAX_ATTRIBUTION_DAYS))


def drop_late_conversions(log: Impressions, attribution_days: float) -> Impressions:
    """The log in which conversions after the attribution window do not count. Their number is added to the report."""
    if log.conversion is None:
        return log
    late = (log.conversion > 0) & (log.converted_at > log.timestamp + round(attribution_days * DAY_MS))
    report = log.report | {"conversions_after_the_window": int(late.sum())}
    return replace(log, conversion=np.where(late, 0.0, log.conversion), report=report)


@dataclass(frozen=True)
class ImpressionSplit:
    """train, valid, test   (I,) masks; `test` is empty where nothing is held out
    test_from       first timestamp of the test, None without one
    immature        number of impressions whose attribution window is not over
    unknown_at_test number of older ones whose outcome was not known when the test begins
    by_user         the log has no order in time: validation and test are other users
    """

    train: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    test: NDArray[np.bool_]
    immature: int
    unknown_at_test: int
    test_from: int | None
    by_user: bool = False


def split_impressions(log: Impressions, attribution_days: float, *, no_test: bool = False, seed: int = 0) -> ImpressionSplit:
    """The last 15 % of the mature impressions are test, the last 15 % of those before it validation.

    An impression is mature when its attribution window lies within the log. Training and validation impressions were mature
    when the test begins, so that no outcome from the time of the test is used.
    """
    window = round(attribution_days * DAY_MS)
    mature = label_window_closed(log.timestamp, window, log.end)
    if mature.sum() < 0.2 * len(log):  # a short log, or one without times: waiting would leave nothing
        mature = np.ones(len(log), dtype=bool)
    timestamps = log.timestamp[mature]
    if len(np.unique(timestamps)) < 3:
        return _split_by_user(log, mature, no_test, seed)
    test_from = None if no_test else int(np.quantile(timestamps, 1 - _TEST_SHARE, method="nearest"))
    test = np.zeros(len(log), dtype=bool) if test_from is None else mature & (log.timestamp >= test_from)
    earlier = mature & ~test
    known = earlier if test_from is None else earlier & label_window_closed(log.timestamp, window, test_from)
    if known.sum() < 0.3 * earlier.sum():
        known = earlier  # the window is about as long as the log: better late outcomes than none
    valid_from = int(np.quantile(log.timestamp[known], 1 - _VALIDATION_SHARE, method="nearest"))
    valid = known & (log.timestamp >= valid_from)
    train = known & ~valid
    if not train.any():
        return _split_by_user(log, mature, no_test, seed)
    return ImpressionSplit(train, valid, test, int((~mature).sum()), int((earlier & ~known).sum()), test_from)


def _split_by_user(log: Impressions, mature: NDArray[np.bool_], no_test: bool, seed: int) -> ImpressionSplit:
    draw = np.random.default_rng(seed).random(len(log.users))[log.user]
    test = np.zeros(len(log), dtype=bool) if no_test else mature & (draw < _TEST_SHARE)
    valid = mature & ~test & (draw >= 1 - _VALIDATION_SHARE)
    return ImpressionSplit(mature & ~test & ~valid, valid, test, int((~mature).sum()), 0, None, by_user=True)


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
    typed: dict[str, NDArray[Any]] = {
        "timestamp": times(TIMESTAMP), "position": numbers("position"), "placement": words("placement"),
        "channel": words("channel"), "weight": np.where(np.isnan(weight), 1.0, weight),
        "shown": numbers(TREATMENT) != 0, "clicked_at": times("clicked_at"), "converted_at": times("converted_at"),
    }  # fmt: skip
    for name, time in (("click", "clicked_at"), ("conversion", "converted_at")):
        happened = (numbers(name) > 0) | (typed[time] != MISSING_TIME)
        typed[name] = happened.astype(np.float64)
        # Without a time of its own an outcome is known from the impression on, a conversion after the usual wait.
        wait = 0 if name == "click" else round(CONVERSION_DAYS * DAY_MS)
        known_at = np.where(typed[time] == MISSING_TIME, typed["timestamp"] + wait, typed[time])
        typed[time] = np.where(happened, np.maximum(known_at, typed["timestamp"]), MISSING_TIME)
    return typed


def _clicks_of_conversions(log: Impressions) -> Impressions:
    """A conversion without a click counts as a click too: conversions of an ad come by way of its click."""
    if log.click is None or log.conversion is None:
        return log
    lacking = (log.conversion > 0) & (log.click == 0) & log.shown
    return replace(
        log,
        click=np.where(lacking, 1.0, log.click),
        clicked_at=np.where(lacking, log.converted_at, log.clicked_at),
        report=log.report | {"conversions_without_a_click": int(lacking.sum())},
    )
