"""The feature module against hand-computed values, and against itself: alone, among others, and with evicted sums."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personalization import features
from personalization.core.events import Events, concatenate
from personalization.features import FEATURES, TEXT_FEATURES, HistoryWindow
from tests.support import DAY_MS as DAY
from tests.support import events_of

NOON = 1_500_000_000_000 // DAY * DAY + DAY // 2  # some day at 12:00 UTC


def one(rows: list[dict[str, Any]], as_of: int = NOON, window: HistoryWindow | None = None, **options: Any) -> dict[str, Any]:
    columns = features.compute(
        events_of([{"user_id": "a", "item_id": "i"} | row for row in rows]), as_of, window or HistoryWindow(), **options
    )
    return {name: content[0] for name, content in columns.items()}


@pytest.fixture(scope="module")
def shopper() -> dict[str, Any]:
    """Two orders (one of two lines), a partly returned one, views and a rating; asked at NOON."""
    return one(
        [
            {
                "timestamp": NOON - 40 * DAY,
                "event_type": "purchase",
                "order_id": "o1",
                "quantity": 1,
                "event_value": 10.0,
                "category": "tea",
            },
            {
                "timestamp": NOON - 40 * DAY,
                "event_type": "purchase",
                "order_id": "o1",
                "quantity": 2,
                "event_value": 6.0,
                "category": "tea",
            },
            {"timestamp": NOON - 20 * DAY, "view_duration": 30.0, "category": "cups", "item_id": "x"},
            {
                "timestamp": NOON - 10 * DAY,
                "event_type": "purchase",
                "quantity": 1,
                "event_value": 24.0,
                "category": "cups",
                "item_id": "x",
            },
            {"timestamp": NOON - 9 * DAY, "event_type": "refund", "quantity": 1, "event_value": -4.0, "item_id": "x"},
            {"timestamp": NOON - 2 * DAY, "view_duration": 10.0, "channel": "app"},
            {"timestamp": NOON - 2 * DAY, "event_type": "rate", "rating": 4.0},
        ]
    )


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        ("recency_days", 2.0),
        ("recency_purchase_days", 10.0),
        ("tenure_days", 40.0),
        ("events", 7),
        ("orders", 2),
        ("units", 4),
        ("purchase_lines", 3),
        ("views", 2),
        ("returns", 1),
        ("ratings", 1),
        ("items", 2),
        ("order_gap_days", 30.0),
        ("overdue", 10 / 30),
        ("monetary", 10 + 6 + 24 - 4),
        ("average_order_value", 36 / 2),
        ("last_order_value", 24.0),
        ("returned_share", 4 / 40),
        ("view_share", 2 / 7),
        ("conversion", 2 / 2),
        ("view_duration", 40.0),
        ("view_duration_mean", 20.0),
        ("rating_mean", 4.0),
        ("preferred_category", "tea"),
        ("preferred_category_share", 2 / 3),
        ("preferred_channel", "app"),
        ("orders_14d", 1),
        ("orders_28d", 1),
        ("orders_91d", 2),
        ("monetary_28d", 20.0),
        ("events_28d", 5),
        ("trend_events", math.log1p(5) - math.log1p(2)),
        ("lifetime_events", 7),
        ("lifetime_monetary", 36.0),
    ],
)
def test_a_shopper_by_hand(shopper: dict[str, Any], feature: str, expected: Any) -> None:
    received = shopper[feature]
    assert received == expected if isinstance(expected, str) else received == pytest.approx(expected)


def test_nothing_to_measure_is_missing_and_counts_are_zero() -> None:
    nothing = one([{"timestamp": NOON + DAY}])
    assert nothing["events"] == nothing["orders"] == nothing["monetary"] == 0
    for name in ("recency_days", "average_order_value", "rating_mean", "view_share", "overdue"):
        assert math.isnan(nothing[name])
    assert nothing["preferred_category"] is None


def test_every_feature_is_there_and_of_its_kind(shopper: dict[str, Any]) -> None:
    assert shopper.keys() == FEATURES.keys() | TEXT_FEATURES.keys()
    columns = features.compute(events_of([{"user_id": "a", "timestamp": NOON}]), NOON, HistoryWindow())
    assert {name for name, content in columns.items() if content.dtype == np.float64} == FEATURES.keys()


def test_a_late_event_is_not_known_before_it_was_received() -> None:
    late = {"timestamp": NOON - 5 * DAY, "received_at": NOON + DAY, "event_type": "purchase", "event_value": 9.0}
    assert one([late])["orders"] == 0
    assert one([late], as_of=NOON + 2 * DAY)["orders"] == 1


def test_the_event_at_the_moment_of_the_question_counts_and_the_next_does_not() -> None:
    assert one([{"timestamp": NOON}, {"timestamp": NOON + 1}])["events"] == 1


def test_days_and_weekdays_are_the_shops() -> None:
    # 2017-10-01 02:00 UTC is still Saturday evening in New York.
    moment = int(datetime(2017, 10, 1, 2, tzinfo=UTC).timestamp() * 1000)
    there = one([{"timestamp": moment}], as_of=moment, zone=ZoneInfo("America/New_York"))
    assert (there["asked_weekday"], there["evening_share"]) == (5, 1.0)
    here = one([{"timestamp": moment}], as_of=moment)
    assert (here["asked_weekday"], here["evening_share"]) == (6, 0.0)


def test_the_window_keeps_the_newest_and_forgets_the_old() -> None:
    rows = [{"timestamp": NOON - days * DAY, "event_type": "purchase", "event_value": 1.0} for days in (400, 3, 2, 1)]
    assert one(rows)["orders"] == 3
    few = one(rows, window=HistoryWindow(max_events=2))
    assert (few["orders"], few["recency_days"], few["lifetime_purchases"], few["tenure_days"]) == (2, 1.0, 4, 400.0)


@st.composite
def shops(draw: st.DrawFn) -> Events:
    """A few users with events around the moment of the question, some received late."""
    rows = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "user_id": st.sampled_from("abcd"),
                    "item_id": st.sampled_from("xyz"),
                    "event_type": st.sampled_from(["view_item", "purchase", "refund", "add_to_cart", "rate"]),
                    "timestamp": st.integers(-500, 3).map(lambda days: NOON + days * DAY // 2),
                    "event_value": st.sampled_from([math.nan, 2.5, 7.0]),
                    "quantity": st.sampled_from([math.nan, 1.0, -1.0, 3.0]),
                    "rating": st.sampled_from([math.nan, 1.0, 5.0]),
                    "category": st.sampled_from([None, "p", "q", "茶"]),
                    "order_id": st.sampled_from([None, "1", "2"]),
                    "late": st.sampled_from([0, 0, DAY, 300 * DAY]),
                }
            ),
            min_size=1,
            max_size=60,
        )
    )
    for row in rows:
        row["received_at"] = row["timestamp"] + row.pop("late")
        if row["order_id"]:
            row["order_id"] += row["user_id"]
    return events_of(rows)


def alone(events: Events, user: int) -> Events:
    rows = events.take(events.user == user)
    return replace(rows, user=np.zeros(len(rows), dtype=np.int32), users=[events.users[user]])


WINDOW = HistoryWindow(max_events=8, max_days=100)


@settings(max_examples=40, deadline=None)
@given(shops())
def test_a_user_alone_equals_the_user_among_all(events: Events) -> None:
    among = features.compute(events, NOON, WINDOW)
    for user in range(len(events.users)):
        single = features.compute(alone(events, user), NOON, WINDOW)
        for name in among:
            np.testing.assert_equal(single[name][0], among[name][user], err_msg=name)


@settings(max_examples=40, deadline=None)
@given(shops())
def test_own_moments_equal_one_moment_each(events: Events) -> None:
    moments = np.array([NOON - user * 7 * DAY for user in range(len(events.users))], dtype=np.int64)
    together = features.compute(events, moments, WINDOW)
    for user, moment in enumerate(moments):
        single = features.compute(alone(events, user), int(moment), WINDOW)
        for name in together:
            np.testing.assert_equal(single[name][0], together[name][user], err_msg=name)


@settings(max_examples=40, deadline=None)
@given(shops())
def test_events_out_of_the_window_may_live_on_as_sums(events: Events) -> None:
    """What state does: keep the window, and of the rest only the lifetime sums."""
    events = features.events_known_at(events, NOON)
    kept = features.truncate_to_window(events, NOON, WINDOW)
    gone = np.ones(len(events), dtype=bool)
    keys = lambda e: list(zip(e.user, e.timestamp, e.item, e.event_type, e.order, strict=True))  # noqa: E731
    remaining = keys(kept)
    for row in reversed(range(len(events))):  # the newest of equals are the kept ones
        key = keys(events.take(np.array([row])))[0]
        if key in remaining:
            remaining.remove(key)
            gone[row] = False
    whole = features.compute(events, NOON, WINDOW)
    parts = features.compute(kept, NOON, WINDOW, evicted=features.lifetime(events.take(gone)))
    for name in whole:
        if name not in TEXT_FEATURES:
            np.testing.assert_allclose(parts[name], whole[name], rtol=1e-12, err_msg=name)


@settings(max_examples=40, deadline=None)
@given(shops(), shops())
def test_joined_parts_equal_the_whole(first: Events, second: Events) -> None:
    joined = concatenate([first, second])
    assert len(joined) == len(first) + len(second)
    counts = features.compute(joined, NOON + 900 * DAY, HistoryWindow(10_000, 10_000))["events"]
    for user, count in zip(joined.users, counts, strict=True):
        parts = sum(int(np.sum(part.user == part.users.index(user))) for part in (first, second) if user in part.users)
        assert count == parts
