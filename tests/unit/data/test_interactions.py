"""Cells of interactions to events: what is refused, what is netted, what counts twice."""

from __future__ import annotations

import math
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalization.core.schema import EVENT_TYPES
from personalization.data import ParsedEvents, SeenIds, parse_events
from personalization.data.duplicates import count_suspected_duplicates
from personalization.data.interactions import basket_codes

NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z
GOOD = {"user_id": "u1", "item_id": "i1", "event_type": "purchase", "timestamp": "2026-01-01T12:00:00Z"}


def parse(*rows: dict[str, Any], **options: Any) -> ParsedEvents:
    names = dict.fromkeys(name for row in rows for name in row)
    return parse_events({name: [row.get(name) for row in rows] for name in names}, len(rows), **options)


def test_a_row_of_text_and_a_row_of_json_are_the_same_event():
    text = GOOD | {"quantity": "2", "unit_price": "2.5", "rating": "", "received_at": "1767268801"}
    json = {"user_id": " u1 ", "item_id": "i1", "event_type": "Purchase", "timestamp": NOON, "quantity": 2}
    parsed = parse(text, json | {"unit_price": 2.5, "rating": math.nan, "received_at": NOON + 1000})
    events = parsed.events
    assert parsed.faults == []
    assert parsed.kept.tolist() == [0, 1]
    for column in ("user", "item", "event_type", "timestamp", "received_at", "quantity", "unit_price", "event_value", "order"):
        assert getattr(events, column)[0] == getattr(events, column)[1], column
    assert (events.users, events.items) == (["u1"], ["i1"])
    assert (events.timestamp[0], events.received_at[0], events.event_value[0]) == (NOON, NOON + 1000, 5.0)
    assert np.isnan(events.rating).all()


@pytest.mark.parametrize(
    ("cells", "column", "reason"),
    [
        ({"user_id": ""}, "user_id", "expected an id, received nothing"),
        ({"user_id": None, "session_id": "s"}, "user_id", "expected an id, received nothing"),
        ({"user_id": "NULL"}, "user_id", "expected an id, received nothing"),
        ({"user_id": "u" * 257}, "user_id", "expected at most 256 characters, received more"),
        ({"user_id": ["u1"]}, "user_id", "expected an id, received another kind of value"),
        ({"item_id": "  "}, "item_id", "expected an id, received nothing"),
        ({"event_type": "-"}, "event_type", "expected a word, received nothing"),
        ({"event_type": ""}, "event_type", "expected a word, received nothing"),
        ({"timestamp": "yesterday"}, "timestamp", "expected RFC 3339 or unix time, received 'yesterday'"),
        ({"timestamp": ""}, "timestamp", "expected RFC 3339 or unix time, received nothing"),
        ({"timestamp": "2026-02-30"}, "timestamp", "expected RFC 3339 or unix time, received '2026-02-30'"),
        ({"received_at": "later"}, "received_at", "expected RFC 3339 or unix time, received 'later'"),
        ({"quantity": "two"}, "quantity", "expected a number, received 'two'"),
        ({"event_value": "1e999"}, "event_value", "expected a number, received '1e999'"),
        ({"rating": "inf"}, "rating", "expected a number, received 'inf'"),
        ({"unit_price": "-0.01"}, "unit_price", "expected zero or more, received '-0.01'"),
        ({"view_duration": -1}, "view_duration", "expected zero or more, received '-1'"),
        (
            {"quantity": 1e300, "unit_price": 1e300},
            "unit_price",
            "expected a price, received an infinite line total",
        ),
    ],
)
def test_a_bad_cell_refuses_its_row(cells: dict[str, Any], column: str, reason: str):
    parsed = parse(GOOD, GOOD | {"user_id": "u9", "item_id": "i9"} | cells, GOOD | {"user_id": "u2"})
    assert [tuple(fault) for fault in parsed.faults] == [(1, column, reason)]
    assert parsed.kept.tolist() == [0, 2]
    assert (parsed.events.users, parsed.events.items) == (["u1", "u2"], ["i1"])  # nobody without an event is listed


def test_a_missing_column_is_missing_in_every_row():
    parsed = parse_events({"user_id": ["u1"], "item_id": ["i1"], "timestamp": ["1"]}, 1)
    assert [fault.column for fault in parsed.faults] == ["event_type"]


def test_where_bad_cells_count_as_missing_only_what_is_required_refuses():
    rows = [GOOD | {"quantity": "two", "unit_price": "3", "received_at": "?!"}, GOOD | {"timestamp": "?!"}]
    parsed = parse(*rows, bad_cells="missing")
    assert [(fault.row, fault.column) for fault in parsed.faults] == [(1, "timestamp")]
    assert parsed.events.event_value.tolist() == [3.0]
    assert parsed.events.received_at.tolist() == [NOON]


@pytest.mark.parametrize(
    ("cells", "quantity", "value"),
    [
        ({}, 1, math.nan),
        ({"unit_price": 4}, 1, 4),
        ({"quantity": 3, "unit_price": 4}, 3, 12),
        ({"quantity": 3, "unit_price": 4, "event_value": 10}, 3, 10),  # the line total wins: a discount
        ({"quantity": 0, "unit_price": 4}, 0, 0),
        ({"quantity": -2, "unit_price": 4}, -2, -8),
        ({"quantity": -2, "event_value": 8}, -2, -8),
        ({"quantity": -2, "event_value": -8}, -2, -8),
        ({"event_type": "refund", "quantity": 2, "unit_price": 4}, 2, -8),
        ({"event_type": "return", "event_value": 8}, 1, -8),
        ({"event_type": "refund", "event_value": -8}, 1, -8),
        ({"event_type": "view", "event_value": 5}, math.nan, 5),
        ({"event_type": "view", "unit_price": 5}, math.nan, math.nan),
    ],
)
def test_line_totals_are_netted(cells: dict[str, Any], quantity: float, value: float):
    parsed = parse(GOOD | cells)
    assert parsed.faults == []
    assert parsed.events.quantity.tolist() == pytest.approx([quantity], nan_ok=True)
    assert parsed.events.event_value.tolist() == pytest.approx([value], nan_ok=True)


def test_event_types_of_others_are_ours_and_unknown_ones_are_other():
    words = ["click", "Detail-Page-View", "add to cart", "BUY", "return", "gift_wrap"]
    parsed = parse(*(GOOD | {"event_type": word} for word in words))
    found = [EVENT_TYPES[code] for code in parsed.events.event_type]
    assert found == ["view_item", "view_item", "add_to_cart", "purchase", "refund", "other"]


def test_a_time_without_offset_is_in_the_shops_zone():
    parsed = parse(GOOD | {"timestamp": "2026-01-01T13:00:00"}, zone=ZoneInfo("Europe/Berlin"))
    assert parsed.events.timestamp.tolist() == [NOON]


def test_engagement_time_of_ga4_is_in_milliseconds():
    assert parse(GOOD | {"view_duration_ms": "1500"}).events.view_duration.tolist() == [1.5]


def test_only_a_repeated_event_id_is_a_duplicate():
    bad = GOOD | {"event_id": "e3", "timestamp": "?!"}
    rows = [GOOD | {"event_id": "e1"}, GOOD, GOOD, GOOD | {"event_id": "e1", "item_id": "i2"}, bad, GOOD | {"event_id": "e3"}]
    seen = SeenIds()
    parsed = parse(*rows, seen=seen)
    assert parsed.duplicates == [3]
    assert parsed.kept.tolist() == [0, 1, 2, 5]  # e3 was not seen: its first row is no event
    assert parsed.event_ids == ["e1", None, None, "e3"]
    assert parse(GOOD | {"event_id": "e1"}, GOOD | {"event_id": "e4"}, seen=seen).duplicates == [0]
    assert parse(GOOD | {"event_id": "e1"}).duplicates == []  # another request knows nothing of these


@given(st.lists(st.lists(st.sampled_from([None, *"abcdefgh"]), max_size=6), max_size=30))
def test_seen_ids_are_those_of_a_set(calls: list[list[str | None]]):
    seen, known = SeenIds(), set[str]()
    for ids in calls:
        expected = []
        for event_id in ids:
            expected.append(event_id in known)
            known |= {event_id} if event_id else set()
        assert seen.repeated(ids).tolist() == expected


def test_exact_copies_without_an_id_are_suspected():
    rows = [GOOD, GOOD | {"quantity": 1}, GOOD, GOOD | {"item_id": "i2"}, GOOD | {"event_id": "e1"}, GOOD | {"rating": 4}]
    parsed = parse(*rows)
    identified = np.array([event_id is not None for event_id in parsed.event_ids])
    assert (
        count_suspected_duplicates(parsed.events, identified) == 2
    )  # rows 1 and 2 say what row 0 says, one piece being the default


def test_a_basket_is_an_order_or_else_a_moment():
    user = np.array([0, 0, 0, 1, 0, 0, 1], dtype=np.int32)
    order = np.array([5, 5, -1, 5, -1, 7, -1], dtype=np.int32)
    moment = np.array([1, 2, 1, 1, 1, 9, 3])
    codes = basket_codes(user, order, moment).tolist()
    groups = [[row for row, code in enumerate(codes) if code == wanted] for wanted in dict.fromkeys(codes)]
    assert groups == [[0, 1], [2, 4], [3], [5], [6]]


CELLS = st.one_of(
    st.none(), st.text(max_size=4), st.floats(), st.booleans(), st.integers(), st.lists(st.integers(), max_size=2)
)


@given(st.lists(st.dictionaries(st.sampled_from([*GOOD, "quantity", "event_id"]), CELLS), max_size=8))
def test_every_row_is_kept_or_at_fault_or_a_duplicate(rows: list[dict[str, Any]]):
    rows = [GOOD | row for row in rows]
    parsed = parse(*rows)
    at_fault = {fault.row for fault in parsed.faults}
    accounted = sorted([*parsed.kept.tolist(), *at_fault, *parsed.duplicates])
    assert accounted == list(range(len(rows)))
    assert len(parsed.events) == len(parsed.kept) == len(parsed.event_ids) == len(parsed.order_ids)
    assert set(parsed.events.user.tolist()) == set(range(len(parsed.events.users)))
