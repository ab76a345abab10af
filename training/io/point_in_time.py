"""Point in time: which events features may see, which events labels count, and the cuts at which the two meet.

A cut is a start_of_day in the shop's time zone. Features see the events that happened and were received before it. Labels count
the events from it up to the end of the label window, if they were received before that end. The label windows of training end
where the validation cut lies, and those of validation end where the test cut lies, so no training label looks into the test.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.errors import InvalidInput
from personalization.core.time import DAY_MS, HOUR_MS

MIN_HISTORY_DAYS: Final = 28
# Features look back 91 days. Cuts with less history are left out where at least `_ENOUGH_CUTS` others remain.
GOOD_HISTORY_DAYS: Final = 91
_ENOUGH_CUTS: Final = 8
# Not a whole number of weeks, so that training cuts fall on every weekday.
STEP_DAYS: Final = 8
MAX_TRAINING_CUTS: Final = 40
_MIN_LABEL_DAYS: Final = 7
_GOOD_LABEL_DAYS: Final = 28


Times = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cut:
    """time        first millisecond after the history: features end before it, labels begin with it
    label_end   first millisecond after the label window
    """

    time: int
    label_end: int

    @property
    def label_days(self) -> float:
        """Length of the label window in days."""
        return (self.label_end - self.time) / DAY_MS


@dataclass(frozen=True, slots=True)
class TemporalSplit:
    """The cuts of one training.

    train         oldest first
    validation    the last cut before `test`; where `by_user`, the training cuts themselves, with other users
    test          None where nothing is held out
    cutoff        milliseconds; training uses nothing that happened later
    by_user       the data is too short to separate training and validation in time
    extrapolated  no cut has both enough history and a full horizon: label windows are shorter and end at the cutoff
    notes         remarks for readers of the metrics
    """

    train: tuple[Cut, ...]
    validation: tuple[Cut, ...]
    test: Cut | None
    cutoff: int
    by_user: bool = False
    extrapolated: bool = False
    notes: tuple[str, ...] = ()

    def to_json(self, zone: tzinfo) -> dict[str, Any]:
        """`cuts` of metrics.json, in days of the shop."""

        def days(cuts: tuple[Cut, ...]) -> list[str]:
            return [local_day(cut.time, zone).isoformat() for cut in cuts]

        return {
            "train": days(self.train),
            "validation": days(self.validation),
            "test": None if self.test is None else days((self.test,))[0],
            "validation_of_other_users": self.by_user,
            "extrapolated": self.extrapolated,
            "notes": list(self.notes),
        }


def received_before(timestamp: Times, received_at: Times, cutoff: int) -> Mask:
    """(N,) events for features: those that happened before the cutoff and were received before it. All in milliseconds."""
    return (timestamp < cutoff) & (received_at < cutoff)


def received_after(timestamp: Times, received_at: Times, cut: Cut) -> Mask:
    """(N,) events for labels: those that happened from the cut on, and were received before its label window ends."""
    return (timestamp >= cut.time) & received_before(timestamp, received_at, cut.label_end)


def label_window_closed(timestamp: Times, window_ms: int, observed_until: int) -> Mask:
    """(N,) rows whose label window of `window_ms` after `timestamp` ends by `observed_until`. All in milliseconds."""
    return timestamp + window_ms <= observed_until


def horizon_observed(observed_days: float | NDArray[Any], horizon: float | NDArray[Any]) -> Mask:
    """Whether that many days after a cut cover the horizon in days; an hour may be missing where clocks change."""
    return np.asarray(observed_days >= np.asarray(horizon) - 1 / 24)


def temporal_split(
    first: int,
    newest: int,
    zone: tzinfo = UTC,
    *,
    horizon: int = 14,
    cutoff: date | None = None,
    hold_out_test: bool = True,
    step: int = STEP_DAYS,
) -> TemporalSplit:
    """Cuts for events from `first` to `newest`, in milliseconds. The day of the newest event counts as complete.

    horizon        days of the headline label
    cutoff         the test cut; by default the last day after which a full horizon fits
    hold_out_test  False: train up to the cutoff, or to the end of the data; the last cut is validation
    step           days between training cuts

    Raises `InvalidInput` where the events before the cutoff span fewer days than one history and one label window need.
    """
    notes: list[str] = []
    last_day = local_day(newest, zone)
    end = start_of_day(last_day + timedelta(days=1), zone)
    test: Cut | None = None
    if hold_out_test:
        day = cutoff or last_day - timedelta(days=horizon)
        test_time = start_of_day(day, zone)
        if cutoff is None:
            notes.append(f"cutoff {day}: the newest day minus the horizon of {horizon} days")
        if test_time + horizon * DAY_MS <= end + HOUR_MS:
            test = Cut(test_time, end)
        else:
            notes.append(f"no test: the data ends less than {horizon} days after the cutoff {day}")
    else:
        test_time = start_of_day(cutoff, zone) if cutoff else end
        notes.append("no test was asked for; the last cut is validation")
    test_time = min(test_time, end)
    earliest = first + MIN_HISTORY_DAYS * DAY_MS
    validation_time = _days_before(test_time, horizon, zone)
    latest_train = _days_before(validation_time, horizon, zone)
    if latest_train >= earliest:
        train = _training_cuts(latest_train, earliest, validation_time, step, zone)
        return TemporalSplit(train, (Cut(validation_time, test_time),), test, test_time, notes=tuple(notes))
    if validation_time >= earliest:
        notes.append("too short for training cuts before validation's: they share cuts, and validation holds out users")
        shared = _training_cuts(validation_time, earliest, test_time, step, zone)
        return TemporalSplit(shared, shared, test, test_time, by_user=True, notes=tuple(notes))
    label_days = next(
        (days for days in (_GOOD_LABEL_DAYS, _MIN_LABEL_DAYS) if _days_before(test_time, days, zone) >= earliest), None
    )
    if label_days is None:
        received = (test_time - first) / DAY_MS
        raise InvalidInput(
            f"expected at least {MIN_HISTORY_DAYS + _MIN_LABEL_DAYS} days of events before the cutoff, received {received:.1f}"
        )
    shared = _training_cuts(_days_before(test_time, label_days, zone), earliest, test_time, step, zone)
    notes.append(
        f"no cut before the cutoff has {MIN_HISTORY_DAYS} days of history and {horizon} days of labels: label windows of "
        f"{label_days} to {shared[0].label_days:.0f} days end at the cutoff, and the horizon is extrapolated; validation holds "
        "out users"
    )
    return TemporalSplit(shared, shared, test, test_time, by_user=True, extrapolated=True, notes=tuple(notes))


def _training_cuts(latest: int, earliest: int, label_end: int, step: int, zone: tzinfo) -> tuple[Cut, ...]:
    """Midnights from `latest` back to `earliest`, oldest first; only those with good history where enough have it."""
    times: list[int] = []
    day = local_day(latest, zone)
    while (midnight := start_of_day(day, zone)) >= earliest and len(times) < MAX_TRAINING_CUTS:
        times.append(midnight)
        day -= timedelta(days=step)
    with_good_history = sum(at >= earliest + (GOOD_HISTORY_DAYS - MIN_HISTORY_DAYS) * DAY_MS for at in times)
    if with_good_history >= _ENOUGH_CUTS:
        times = times[:with_good_history]
    return tuple(Cut(at, label_end) for at in reversed(times))


def _days_before(milliseconds: int, days: int, zone: tzinfo) -> int:
    return start_of_day(local_day(milliseconds, zone) - timedelta(days=days), zone)


def start_of_day(day: date, zone: tzinfo) -> int:
    """Milliseconds at which a day begins in a time zone."""
    return round(datetime.combine(day, time(), zone).timestamp() * 1000)


def local_day(milliseconds: int, zone: tzinfo) -> date:
    """The day of a time in milliseconds in a time zone."""
    return datetime.fromtimestamp(milliseconds / 1000, zone).date()
