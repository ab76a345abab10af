"""Identities of events."""

from __future__ import annotations

import numpy as np
import pytest

from personalization.state.event_batch import EventBatch, content_hashes, event_batches, event_keys, order_keys
from tests.support import events_of

ROW = {"user_id": "u", "item_id": "i", "timestamp": 1_000, "event_type": "purchase", "quantity": 2.0, "event_value": 5.0}


def key(**changes: object) -> int:
    return int(event_keys(events_of([ROW | changes]))[0])


@pytest.mark.parametrize(
    "changes",
    [{"item_id": "j"}, {"item_id": None}, {"timestamp": 1_001}, {"event_type": "refund"}, {"quantity": 3.0}, {"rating": 0.0}],
)
def test_another_content_is_another_event(changes: dict[str, object]) -> None:
    assert key(**changes) != key()


@pytest.mark.parametrize("changes", [{"received_at": 9_999}, {"category": "shoes"}, {"channel": "app"}, {"order_id": "o"}])
def test_labels_and_arrival_do_not_make_another_event(changes: dict[str, object]) -> None:
    assert key(**changes) == key()


def test_a_key_does_not_depend_on_the_other_events_of_a_delivery() -> None:
    among_others = events_of([ROW | {"item_id": "a"}, ROW | {"user_id": "v"}, ROW, ROW | {"timestamp": 5}])
    assert event_keys(among_others)[2] == key()


def test_zero_and_minus_zero_are_one_value() -> None:
    assert key(event_value=-0.0) == key(event_value=0.0)


def test_copies_within_a_delivery_are_numbered_downwards_for_each_user() -> None:
    keys = event_keys(events_of([ROW, ROW | {"user_id": "v"}, ROW, ROW]))
    assert keys[0] == keys[1] == key()
    assert [int(keys[0]) - int(keys[n]) for n in (2, 3)] == [1, 2]


def test_an_event_id_is_the_identity_whatever_the_content() -> None:
    events = events_of([ROW, ROW | {"item_id": "other"}, ROW])
    keys = event_keys(events, ["e1", "e1", None])
    assert keys[0] == keys[1] != keys[2] == key()


def test_named_events_do_not_count_as_copies_of_nameless_ones() -> None:
    assert event_keys(events_of([ROW, ROW]), ["e1", None])[1] == key()


def test_only_keys_that_the_content_does_not_give_are_stored() -> None:
    events = events_of([ROW, ROW, ROW | {"item_id": "j"}])
    ((_, batch),) = event_batches(events, [None, "e1", None])
    explicit = batch.minimal_keys()
    assert explicit.tolist() == [0, batch.keys[1], 0]
    assert EventBatch(batch.events, batch.orders, explicit).keys.tolist() == event_keys(events, [None, "e1", None]).tolist()


def test_a_second_copy_whose_first_is_elsewhere_keeps_its_key() -> None:
    ((_, both),) = event_batches(events_of([ROW, ROW]))
    second = both.take(np.array([1]))
    assert EventBatch(second.events, second.orders, second.minimal_keys()).keys.tolist() == [both.keys[1]]


def test_orders_go_by_their_id_or_by_their_lines() -> None:
    lines = [ROW | {"order_id": "o"}, ROW | {"item_id": "j", "order_id": "o"}, ROW | {"item_id": "k"}]
    events = events_of(lines)
    by_lines = order_keys(events)
    assert by_lines[0] == by_lines[1] == content_hashes(events)[:2].min()
    assert by_lines[2] == 0
    by_id = order_keys(events, ["o", "o", None])
    assert by_id[0] == by_id[1] != 0
    assert by_id[2] == 0


def test_a_hundred_thousand_different_events_have_different_keys() -> None:
    rows = [ROW | {"timestamp": n // 10, "item_id": f"i{n % 10}"} for n in range(100_000)]
    assert len(np.unique(event_keys(events_of(rows)))) == 100_000
