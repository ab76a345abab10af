"""Impossible events are dropped or corrected, and counted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tests.event_factory import CUT, DAY_MS, events_by_day
from training.io import cleaning
from training.io.cleaning import clean

NOW = datetime.fromtimestamp(CUT / 1000, UTC)


def test_possible_events_stay_unchanged() -> None:
    events = events_by_day([("ann", -3.0, "purchase", 5.0), ("ann", -2.0, "view_item"), ("bob", -1.0, "refund", -5.0)])
    cleaned, counts = clean(events, NOW)
    assert cleaned is events
    assert counts == {}


def test_events_more_than_a_day_in_the_future_are_dropped() -> None:
    rows = [("ann", -3.0, "purchase"), ("ann", -2.0, "purchase"), ("ann", 0.9, "purchase"), ("bob", 1.1, "purchase")]
    cleaned, counts = clean(events_by_day(rows), NOW)
    assert counts == {cleaning.FUTURE: 1}
    assert cleaned.user.tolist() == [0, 0, 0]


def test_none_is_dropped_where_most_events_are_in_the_future() -> None:
    events = events_by_day([("ann", -3.0, "purchase"), ("ann", -2.0, "purchase")])
    assert clean(events, NOW - timedelta(days=400)) == (events, {})


def test_timestamps_of_unset_clocks_are_dropped_but_old_data_sets_stay() -> None:
    events = events_by_day([("ann", -3.0, "purchase"), ("ann", -2.0, "purchase"), ("ann", -1.0, "purchase")])
    unset = replace(events, timestamp=np.array([0, *events.timestamp[1:]]), received_at=np.array([0, *events.received_at[1:]]))
    cleaned, counts = clean(unset, NOW)
    assert (len(cleaned), counts) == (2, {cleaning.ANCIENT: 1})
    order_only = replace(events, timestamp=np.arange(3), received_at=np.arange(3))
    assert clean(order_only, NOW)[1] == {}


@pytest.mark.parametrize(("value", "dropped"), [(np.nan, 1), (0.0, 1), (3.0, 0)])
def test_a_purchase_without_quantity_and_value_is_dropped(value: float, dropped: int) -> None:
    events = events_by_day([("ann", -3.0, "purchase", value), ("ann", -2.0, "purchase", 0.0)])
    events = replace(events, quantity=np.array([0.0, 1.0]))
    cleaned, counts = clean(events, NOW)
    assert counts.get(cleaning.EMPTY_PURCHASE, 0) == dropped
    assert len(cleaned) == 2 - dropped


def test_impossible_values_are_corrected_not_dropped() -> None:
    events = events_by_day([("ann", -3.0, "view_item", None, None, None, -4.0), ("ann", -2.0, "view_item")])
    events = replace(events, view_duration=np.array([90_000.0, 30.0]))
    cleaned, counts = clean(events, NOW)
    assert counts == {cleaning.LONG_VIEW: 1, cleaning.RECEIVED_EARLY: 1}
    np.testing.assert_array_equal(cleaned.view_duration, [np.nan, 30.0])
    assert cleaned.received_at.tolist() == [CUT - 3 * DAY_MS, CUT - 2 * DAY_MS]
