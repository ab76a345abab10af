"""Cuts in time: full horizons, label windows that end at the next cut, and short data."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from personalization.core.errors import InvalidInput
from personalization.core.time import DAY_MS
from training.io.point_in_time import (
    MAX_TRAINING_CUTS,
    Cut,
    horizon_observed,
    label_window_closed,
    local_day,
    received_after,
    received_before,
    start_of_day,
    temporal_split,
)

FIRST = start_of_day(date(2025, 1, 1), UTC) + 9 * 3_600_000


def at(day: date, hour: int = 12) -> int:
    return round(datetime(day.year, day.month, day.day, hour, tzinfo=UTC).timestamp() * 1000)


def day(cut: Cut) -> date:
    return local_day(cut.time, UTC)


def test_the_default_cutoff_leaves_a_full_horizon_before_the_newest_event() -> None:
    cuts = temporal_split(FIRST, at(date(2025, 10, 31)), horizon=14)
    assert cuts.test is not None
    assert day(cuts.test) == date(2025, 10, 17)
    assert cuts.test.label_end == start_of_day(date(2025, 11, 1), UTC)
    assert any("2025-10-17" in note for note in cuts.notes)


def test_training_labels_end_at_the_validation_cut_and_validation_labels_at_the_test_cut() -> None:
    cuts = temporal_split(FIRST, at(date(2025, 12, 31)), horizon=14, cutoff=date(2025, 10, 1))
    (validation,) = cuts.validation
    assert cuts.test == Cut(start_of_day(date(2025, 10, 1), UTC), start_of_day(date(2026, 1, 1), UTC))
    assert day(validation) == date(2025, 9, 17)
    assert validation.label_end == cuts.test.time
    assert day(cuts.train[-1]) == date(2025, 9, 3)
    assert {cut.label_end for cut in cuts.train} == {validation.time}
    assert all(cut.label_days >= 14 for cut in cuts.train)


def test_training_cuts_fall_on_all_weekdays_as_far_as_history_reaches() -> None:
    cuts = temporal_split(FIRST, at(date(2025, 12, 31)), horizon=14, cutoff=date(2025, 10, 1))
    days = [day(cut) for cut in cuts.train]
    assert [later - earlier for earlier, later in pairwise(days)] == [timedelta(8)] * (len(days) - 1)
    assert {d.weekday() for d in days} == set(range(7))
    # 91 days of history from January 1, 09:00: the first cut of the series not before April 2.
    assert days[0] == date(2025, 9, 3) - timedelta(19 * 8) == date(2025, 4, 4)


def test_cuts_with_short_history_are_used_where_few_others_exist() -> None:
    cuts = temporal_split(FIRST, at(date(2025, 4, 30)), horizon=14)
    # Cutoff April 16, validation April 2, training from March 19 back: 28 days after January 1 is January 29, 09:00.
    assert [day(cut) for cut in cuts.train] == [date(2025, 3, 19) - timedelta(8 * k) for k in range(6, -1, -1)]
    assert not cuts.by_user


def test_a_long_history_gives_the_newest_cuts() -> None:
    cuts = temporal_split(FIRST - 2_000 * DAY_MS, at(date(2025, 12, 31)), horizon=14)
    assert len(cuts.train) == MAX_TRAINING_CUTS
    assert day(cuts.train[-1]) == date(2025, 12, 17) - timedelta(28)


def test_users_are_held_out_where_time_is_too_short_for_two_cuts() -> None:
    # Cutoff February 13, validation January 30 with 28 days of history; an earlier cut would have 15.
    cuts = temporal_split(FIRST, at(date(2025, 2, 27)), horizon=14)
    assert cuts.by_user
    assert not cuts.extrapolated
    assert cuts.train == cuts.validation
    assert [day(cut) for cut in cuts.train] == [date(2025, 1, 30)]


def test_labels_are_extrapolated_where_no_cut_has_both_history_and_a_horizon() -> None:
    # 273 days before the cutoff and a horizon of 273: the protocol of the CDNOW papers.
    cuts = temporal_split(FIRST, at(date(2026, 6, 30)), horizon=273, cutoff=date(2025, 10, 1))
    assert cuts.extrapolated
    assert cuts.by_user
    assert cuts.test is not None
    assert {cut.label_end for cut in cuts.train} == {start_of_day(date(2025, 10, 1), UTC)}
    windows = [cut.label_days for cut in cuts.train]
    assert min(windows) == 28
    assert max(windows) < 273 - 28
    assert any("extrapolated" in note for note in cuts.notes)
    assert cuts.to_json(UTC)["extrapolated"] is True


def test_too_short_a_history_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"at least 35 days of events before the cutoff, received 2\d"):
        temporal_split(FIRST, at(date(2025, 2, 10)), horizon=14)


def test_without_a_test_the_last_cut_is_validation() -> None:
    newest = at(date(2025, 10, 31))
    cuts = temporal_split(FIRST, newest, horizon=14, hold_out_test=False)
    assert cuts.test is None
    assert cuts.cutoff == start_of_day(date(2025, 11, 1), UTC)
    assert [day(cut) for cut in cuts.validation] == [date(2025, 10, 18)]


def test_no_test_where_the_data_ends_before_the_horizon() -> None:
    cuts = temporal_split(FIRST, at(date(2025, 10, 31)), horizon=14, cutoff=date(2025, 10, 25))
    assert cuts.test is None
    assert any("no test" in note for note in cuts.notes)


def test_the_newest_day_counts_as_complete() -> None:
    """Sets that know days only have their last events at midnight: 273 days from October 1 reach the end of June 30."""
    newest = start_of_day(date(2026, 6, 30), UTC)
    assert temporal_split(FIRST, newest, horizon=273, cutoff=date(2025, 10, 1)).test is not None
    assert temporal_split(FIRST, newest - DAY_MS, horizon=273, cutoff=date(2025, 10, 1)).test is None


def test_cuts_are_midnights_of_the_shops_time_zone() -> None:
    zone = ZoneInfo("America/New_York")
    cuts = temporal_split(FIRST, at(date(2025, 12, 31)), zone, horizon=14, cutoff=date(2025, 10, 1))
    assert cuts.cutoff == round(datetime(2025, 10, 1, 4, tzinfo=UTC).timestamp() * 1000)
    assert {datetime.fromtimestamp(cut.time / 1000, zone).hour for cut in cuts.train} == {0}


def test_features_need_events_that_were_received_before_the_cut_and_labels_those_received_before_the_window_ends() -> None:
    cut = Cut(100, 200)
    happened = np.array([99, 99, 100, 150, 150, 200])
    received = np.array([99, 100, 100, 199, 200, 200])
    assert received_before(happened, received, cut.time).tolist() == [True, False, False, False, False, False]
    assert received_after(happened, received, cut).tolist() == [False, False, True, True, False, False]


def test_a_label_window_is_closed_when_it_ends_within_what_was_observed() -> None:
    assert label_window_closed(np.array([0, 50, 51]), 50, 100).tolist() == [True, True, False]


def test_a_horizon_counts_as_observed_on_the_day_that_is_an_hour_short() -> None:
    assert horizon_observed(np.array([14.0, 14 - 1 / 24, 13.9]), 14).tolist() == [True, True, False]
