"""Where the past ends and the future begins: the moments at which features stop and labels start.

A cut is a midnight of the shop. Features see what happened and was received before it, labels what happened from then on,
up to a limit that is the cut of whoever judges: so training labels end where validation's begin, and those where test's do.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, Final

from personalization.core.errors import InvalidInput

DAY_MS: Final = 86_400_000
MIN_HISTORY_DAYS: Final = 28
# Features look back 91 days: younger cuts resemble the future less, and are left out where enough others remain.
GOOD_HISTORY_DAYS: Final = 91
_ENOUGH_CUTS: Final = 8
# Steps are no whole weeks, so that training asks on every weekday, as a shop will.
STEP_DAYS: Final = 8
MAX_TRAINING_CUTS: Final = 40
_MIN_WINDOW_DAYS: Final = 7
_GOOD_WINDOW_DAYS: Final = 28


@dataclass(frozen=True, slots=True)
class Cut:
    """`moment`: the first millisecond of the future; `limit`: the first one of which labels know nothing."""

    moment: int
    limit: int

    @property
    def window_days(self) -> float:
        return (self.limit - self.moment) / DAY_MS


@dataclass(frozen=True, slots=True)
class Cuts:
    """The cuts of one training.

    train         oldest first
    validation    the last cut before `test`; where `by_user`, the training cuts themselves, of other users
    test          None where nothing is held out
    cutoff        the moment after which training knows nothing
    by_user       the data is too short to keep training and validation apart in time
    extrapolated  no cut has both enough history and a full horizon: label windows are shorter and end at the cutoff
    notes         what a reader of the metrics has to know
    """

    train: tuple[Cut, ...]
    validation: tuple[Cut, ...]
    test: Cut | None
    cutoff: int
    by_user: bool = False
    extrapolated: bool = False
    notes: tuple[str, ...] = ()

    def to_json(self, zone: tzinfo) -> dict[str, Any]:
        """For `metrics.json`: days of the shop."""

        def days(cuts: tuple[Cut, ...]) -> list[str]:
            return [shop_day(cut.moment, zone).isoformat() for cut in cuts]

        return {
            "train": days(self.train),
            "validation": days(self.validation),
            "test": None if self.test is None else shop_day(self.test.moment, zone).isoformat(),
            "validation_of_other_users": self.by_user,
            "extrapolated": self.extrapolated,
            "notes": list(self.notes),
        }


def choose_cuts(
    first: int,
    newest: int,
    zone: tzinfo = UTC,
    *,
    horizon: int = 14,
    cutoff: date | None = None,
    hold_out_test: bool = True,
    step: int = STEP_DAYS,
) -> Cuts:
    """Cuts for data whose events run from `first` to `newest` (milliseconds; the newest day counts as complete).

    cutoff         the test cut; without one the last day that a full horizon fits behind
    hold_out_test  False: train up to the cutoff, or to the end of the data; what is last is validation

    Raises `InvalidInput` where the data before the cutoff is too short to learn anything from.
    """
    notes: list[str] = []
    last_day = shop_day(newest, zone)
    end = midnight(last_day + timedelta(days=1), zone)
    test: Cut | None = None
    if hold_out_test:
        day = cutoff or last_day - timedelta(days=horizon)
        moment = midnight(day, zone)
        if cutoff is None:
            notes.append(f"cutoff {day}: the newest day minus the horizon of {horizon} days")
        if moment + horizon * DAY_MS <= end + _HOUR_MS:
            test = Cut(moment, end)
        else:
            notes.append(f"no test: the data ends less than {horizon} days after the cutoff {day}")
    else:
        moment = min(midnight(cutoff, zone), end) if cutoff else end
        notes.append("no test was asked for; the last cut is validation")
    moment = min(moment, end)
    earliest = first + MIN_HISTORY_DAYS * DAY_MS
    validation = _before(moment, horizon, zone)
    latest_train = _before(validation, horizon, zone)
    if latest_train >= earliest:
        train = [Cut(m, validation) for m in _backwards(latest_train, earliest, step, zone)]
        return Cuts(tuple(train), (Cut(validation, moment),), test, moment, notes=tuple(notes))
    if validation >= earliest:
        notes.append("too short for training cuts before validation's: they share cuts, and validation holds out users")
        shared = tuple(Cut(m, moment) for m in _backwards(validation, earliest, step, zone))
        return Cuts(shared, shared, test, moment, by_user=True, notes=tuple(notes))
    return _extrapolated(earliest, moment, horizon, zone, test, step, notes)


def _extrapolated(
    earliest: int, cutoff: int, horizon: int, zone: tzinfo, test: Cut | None, step: int, notes: list[str]
) -> Cuts:
    window = next((w for w in (_GOOD_WINDOW_DAYS, _MIN_WINDOW_DAYS) if _before(cutoff, w, zone) >= earliest), None)
    if window is None:
        received = (cutoff - earliest) / DAY_MS + MIN_HISTORY_DAYS
        raise InvalidInput(
            f"expected at least {MIN_HISTORY_DAYS + _MIN_WINDOW_DAYS} days of events before the cutoff, received {received:.1f}"
        )
    cuts = tuple(Cut(m, cutoff) for m in _backwards(_before(cutoff, window, zone), earliest, step, zone))
    longest = cuts[0].window_days
    notes.append(
        f"no cut before the cutoff has {MIN_HISTORY_DAYS} days of history and {horizon} days of labels: label windows of "
        f"{window} to {longest:.0f} days end at the cutoff, and the horizon is extrapolated; validation holds out users"
    )
    return Cuts(cuts, cuts, test, cutoff, by_user=True, extrapolated=True, notes=tuple(notes))


_HOUR_MS: Final = 3_600_000  # a day may be an hour short where clocks change


def _backwards(latest: int, earliest: int, step: int, zone: tzinfo) -> list[int]:
    """Midnights from `latest` back to `earliest`, oldest first: the newest ones, with good history where enough have it."""
    moments: list[int] = []
    day = shop_day(latest, zone)
    while (moment := midnight(day, zone)) >= earliest and len(moments) < MAX_TRAINING_CUTS:
        moments.append(moment)
        day -= timedelta(days=step)
    seasoned = sum(moment >= earliest + (GOOD_HISTORY_DAYS - MIN_HISTORY_DAYS) * DAY_MS for moment in moments)
    return moments[: seasoned if seasoned >= _ENOUGH_CUTS else None][::-1]


def _before(moment: int, days: int, zone: tzinfo) -> int:
    return midnight(shop_day(moment, zone) - timedelta(days=days), zone)


def midnight(day: date, zone: tzinfo) -> int:
    """Milliseconds at which a day of the shop begins."""
    return round(datetime.combine(day, time(), zone).timestamp() * 1000)


def shop_day(moment: int, zone: tzinfo) -> date:
    """The shop's day of a moment in milliseconds."""
    return datetime.fromtimestamp(moment / 1000, zone).date()
