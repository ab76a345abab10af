"""User state in a table: reading, repeating, erasing, and a table that does not respond."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from hypothesis import given
from hypothesis import strategies as st

from personalization.core.errors import StateUnavailable
from personalization.state import AppendResult, StateStore, WindowsWritten, store
from tests.conftest import create_state_table
from tests.support import DAY_MS, Clock, events_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TABLE = "test-state"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(dynamodb: DynamoDBClient, clock: Clock) -> StateStore:
    return StateStore(dynamodb, TABLE, clock=clock, sleep=lambda seconds: None, workers=4)


def buys(moments: list[int], user_id: str = "u") -> list[dict[str, Any]]:
    """One purchase at each moment, worth as much."""
    return [
        {"user_id": user_id, "timestamp": t, "item_id": f"i{t}", "event_type": "purchase", "event_value": float(t)}
        for t in moments
    ]


def totals(state: StateStore, user_id: str = "u") -> tuple[list[int], float, float]:
    """Moments of the events that are read, and number and value of all events ever."""
    user = state.read(user_id)
    events, value = float(len(user.events)), float(user.events.event_value.sum())
    if user.evicted is not None:
        events, value = events + user.evicted.events[0], value + user.evicted.value[0]
    return user.events.timestamp.tolist(), events, value


def items_of(client: DynamoDBClient, user_id: str = "u") -> list[dict[str, Any]]:
    response = client.query(
        TableName=TABLE, KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": {"S": f"user#{user_id}"}}
    )
    return response["Items"]


def test_a_new_user_has_no_state(state: StateStore) -> None:
    user = state.read("u")
    assert (len(user.events), user.events.users, user.evicted, user.exists) == (0, ["u"], None, False)


def test_a_file_and_calls_are_read_together(state: StateStore) -> None:
    state.write_windows(events_of(buys([1, 3], "u") + buys([2], "v")))
    assert state.append_events(events_of(buys([4]))) == AppendResult(1, 0)
    assert totals(state) == ([1, 3, 4], 3, 8)
    assert totals(state, "v") == ([2], 1, 2)


def test_a_repeated_call_is_recognised(state: StateStore) -> None:
    rows = events_of(buys([1, 2]))
    assert state.append_events(rows, ["e1", None]) == AppendResult(2, 0)
    assert state.append_events(rows, ["e1", None]) == AppendResult(0, 2)
    assert totals(state) == ([1, 2], 2, 3)


def test_exact_copies_in_one_call_count_and_a_repeated_id_does_not(state: StateStore) -> None:
    assert state.append_events(events_of(buys([1, 1]))) == AppendResult(2, 0)
    assert state.append_events(events_of(buys([5, 5])), ["e", "e"]) == AppendResult(1, 1)
    assert totals(state) == ([1, 1, 5], 3, 7)


def test_an_event_of_a_call_and_a_file_counts_once(state: StateStore) -> None:
    state.append_events(events_of(buys([1, 2])), ["e1", None])
    state.write_windows(events_of(buys([1, 2, 3])), ["e1", None, None])
    assert totals(state) == ([1, 2, 3], 3, 6)


def test_the_same_file_again_writes_nothing(state: StateStore, dynamodb: DynamoDBClient) -> None:
    rows = events_of(buys([1, 2, 3, 4]) + buys([5], "v"))
    assert state.write_windows(rows, max_events=2) == WindowsWritten(2, 0)
    before = items_of(dynamodb)
    assert state.write_windows(rows, max_events=2) == WindowsWritten(0, 2)
    assert items_of(dynamodb) == before


def test_api_events_are_compacted_when_a_file_evicts_events(state: StateStore, dynamodb: DynamoDBClient) -> None:
    state.append_events(events_of(buys([1, 2, 9])))
    state.write_windows(events_of(buys([3, 4, 5, 6])), max_events=3)
    assert totals(state) == ([5, 6, 9], 7, 30)
    assert all("absorbed" in item for item in items_of(dynamodb) if item["sk"]["S"].startswith("event#"))
    assert state.append_events(events_of(buys([1, 2, 9]))) == AppendResult(0, 3)
    assert totals(state) == ([5, 6, 9], 7, 30)


def test_more_api_events_than_one_transaction_holds_are_compacted_exactly(state: StateStore) -> None:
    state.append_events(events_of(buys(list(range(1, 251)))))
    state.write_windows(events_of(buys(list(range(200, 301)))), max_events=20)
    assert totals(state) == (list(range(281, 301)), 300, sum(range(1, 301)))


def test_late_events_are_added_to_the_sums_once(state: StateStore) -> None:
    state.write_windows(events_of(buys([2, 4, 6, 8])), max_events=2)
    for _ in range(2):
        state.append_events(events_of(buys([1, 3])))
        assert totals(state) == ([6, 8], 6, 24)
    state.write_windows(events_of(buys([10])), max_events=2)  # compacts
    state.append_events(events_of(buys([1, 3])))
    assert totals(state) == ([8, 10], 7, 34)


def test_calls_alone_compact_their_events_from_time_to_time(
    state: StateStore, dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "COMPACT_EVERY", 4)
    for moment in range(40):
        state.append_events(events_of(buys([moment])))
    assert totals(state) == (list(range(40)), 40, sum(range(40)))
    assert sum("absorbed" in item for item in items_of(dynamodb)) > 10


def test_sessions_and_users_of_the_same_name_are_different(state: StateStore) -> None:
    state.append_events(events_of(buys([1])), kind="session")
    assert not state.read("u").exists
    assert state.read("u", "session").exists


def test_state_expires(state: StateStore, clock: Clock, dynamodb: DynamoDBClient) -> None:
    state.write_windows(events_of(buys([1])))
    clock.go_on(300 * 86_400)
    state.append_events(events_of(buys([2])))
    clock.go_on(100 * 86_400)  # moto never deletes, DynamoDB not at once: the reader must not count it
    assert totals(state) == ([2], 1, 2)
    clock.go_on(300 * 86_400)
    assert not state.read("u").exists
    assert state.append_events(events_of(buys([2]))) == AppendResult(1, 0)
    state.write_windows(events_of(buys([3])))
    assert totals(state) == ([2, 3], 2, 5)


def test_a_repeated_file_extends_the_expiry(state: StateStore, clock: Clock) -> None:
    rows = events_of(buys([1]))
    state.write_windows(rows)
    clock.go_on(300 * 86_400)
    assert state.write_windows(rows) == WindowsWritten(1, 0)


def test_everything_is_exported_and_then_erased(state: StateStore, dynamodb: DynamoDBClient) -> None:
    state.write_windows(events_of(buys([1, 2, 3])), max_events=2)
    state.append_events(events_of([{"user_id": "u", "timestamp": DAY_MS, "item_id": "x", "category": "c"}]), ["e1"])
    dynamodb.put_item(
        TableName=TABLE,
        Item={
            "pk": {"S": "user#u"},
            "sk": {"S": "state"},
            "expires_at": {"N": "1999999999"},
            "caps": {"M": {"ad": {"N": "2"}}},
        },
    )
    exported = state.export("u")
    assert [event["item_id"] for event in exported["events"]] == ["i2", "i3", "x"]
    assert exported["events"][2] == {
        "event_type": "view_item",
        "timestamp": "1970-01-02T00:00:00.000Z",
        "received_at": "1970-01-02T00:00:00.000Z",
        "item_id": "x",
        "category": "c",
    }
    assert exported["older"] == {
        "events": 1,
        "purchases": 1,
        "value": 1.0,
        "first": "1970-01-01T00:00:00.001Z",
        "last": "1970-01-01T00:00:00.001Z",
    }
    assert [item["key"] for item in exported["items"]] == ["event#0000086400000#e1", "state", "window"]
    assert exported["items"][1]["content"] == {"caps": {"ad": 2}}
    assert state.erase("u") == {"event": 1, "state": 1, "window": 1}
    assert items_of(dynamodb) == []
    assert state.erase("u") == {}
    assert not state.read("u").exists


def test_a_user_with_many_items_is_erased(state: StateStore, dynamodb: DynamoDBClient) -> None:
    state.append_events(events_of(buys(list(range(60)))))
    assert state.erase("u")["event"] == 60
    assert items_of(dynamodb) == []


def test_a_window_too_large_for_an_item_loses_its_oldest_events_to_the_sums(state: StateStore) -> None:
    random = Random(0)
    rows = [row | {"item_id": f"{random.getrandbits(600):x}"} for row in buys(list(range(1, 8_001)))]
    state.write_windows(events_of(rows), max_events=8_000)
    moments, events, value = totals(state)
    assert moments == list(range(8_001 - len(moments), 8_001))
    assert 1_000 < len(moments) <= 4_000
    assert (events, value) == (8_000, sum(range(1, 8_001)))


def test_concurrent_writers_lose_nothing(state: StateStore) -> None:
    """Four files of one user at the same time, each conditional on what it read."""
    start = threading.Barrier(4)

    def drop(part: int) -> None:
        start.wait()
        state.write_windows(events_of(buys(list(range(part, 40, 4)))))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(drop, range(4)))
    assert totals(state) == (list(range(40)), 40, sum(range(40)))


def test_an_erased_window_is_not_written_back(dynamodb: DynamoDBClient, clock: Clock) -> None:
    """A writer that read before the erasure finds its condition broken, and begins anew with nothing."""
    state = StateStore(dynamodb, TABLE, clock=clock, sleep=lambda seconds: None)
    state.write_windows(events_of(buys([1, 2])))
    eraser = StateStore(boto3.client("dynamodb"), TABLE, clock=clock)
    seen: list[str] = []

    def erase_before_the_first_put(**_: object) -> None:
        if not seen:
            seen.append("put")
            eraser.erase("u")

    dynamodb.meta.events.register("before-call.dynamodb.PutItem", erase_before_the_first_put)
    state.write_windows(events_of(buys([3])))
    assert totals(state) == ([3], 1, 3)


# --- a table that does not respond -----------------------------------------------------------------------------------


def throttled(client: DynamoDBClient, operation: str, after: int = 0) -> list[str]:
    """Make the table refuse an operation after some that work; returns the list of tries."""
    tried: list[str] = []
    lock = threading.Lock()

    def refuse(**_: object) -> tuple[AWSResponse, dict[str, Any]] | None:
        with lock:
            tried.append(operation)
            if len(tried) <= after:
                return None
        error = {"Code": "ProvisionedThroughputExceededException", "Message": "too much for user#u"}
        return AWSResponse("https://dynamodb.test/", 400, {}, None), {"Error": error}

    client.meta.events.register_first(f"before-call.dynamodb.{operation}", refuse)
    return tried


@pytest.fixture
def impatient(aws: None, clock: Clock) -> tuple[DynamoDBClient, StateStore]:
    client = boto3.client("dynamodb")
    create_state_table(client)
    return client, StateStore(client, TABLE, clock=clock, sleep=lambda seconds: None, workers=4)


@pytest.mark.parametrize("operation", ["Query", "PutItem", "BatchGetItem"])
def test_a_throttled_table_is_unavailable(impatient: tuple[DynamoDBClient, StateStore], operation: str) -> None:
    client, state = impatient
    throttled(client, operation)
    rows = events_of(buys(list(range(30))))
    calls = {
        "Query": lambda: state.read("u"),
        "PutItem": lambda: state.append_events(rows),
        "BatchGetItem": lambda: state.write_windows(rows),
    }
    with pytest.raises(StateUnavailable) as caught:
        calls[operation]()
    assert "ProvisionedThroughputExceededException" in caught.value.detail
    assert "user#" not in caught.value.detail
    assert caught.value.__cause__ is None


def test_a_call_that_failed_half_way_may_be_repeated(impatient: tuple[DynamoDBClient, StateStore]) -> None:
    client, state = impatient
    tried = throttled(client, "PutItem", after=10)
    rows = events_of(buys(list(range(100))))
    with pytest.raises(StateUnavailable):
        state.append_events(rows)
    assert len(tried) < 100  # the rest is not even begun
    fresh = StateStore(boto3.client("dynamodb"), TABLE, clock=state._clock, workers=4)
    assert fresh.append_events(rows) == AppendResult(90, 10)
    assert totals(fresh) == (list(range(100)), 100, sum(range(100)))


def test_a_missing_table_is_unavailable(aws: None) -> None:
    state = StateStore(boto3.client("dynamodb"), "no-such-table", sleep=lambda seconds: None)
    with pytest.raises(StateUnavailable, match="ResourceNotFoundException"):
        state.read("u")


# --- properties -------------------------------------------------------------------------------------------------------

KEEP = 5


names = map("user {}".format, count())  # of examples, each on its own in one table


@given(st.data())
def test_any_split_in_any_order_with_repeats_gives_the_same_newest_events(state: StateStore, data: st.DataObject) -> None:
    user_id = next(names)
    moments = data.draw(st.lists(st.integers(0, 60), min_size=1, max_size=25, unique=True))
    named = data.draw(st.sets(st.sampled_from(moments)))
    deliveries = data.draw(
        st.lists(st.tuples(st.booleans(), st.lists(st.sampled_from(moments), unique=True, max_size=12)), max_size=6)
    )
    missing = sorted(set(moments) - {moment for _, part in deliveries for moment in part})
    deliveries.insert(data.draw(st.integers(0, len(deliveries))), (data.draw(st.booleans()), missing))
    for by_file, part in deliveries:
        ids = [f"e{moment}" if moment in named else None for moment in part]
        if by_file:
            state.write_windows(events_of(buys(part, user_id)), ids, max_events=KEEP)
        else:
            state.append_events(events_of(buys(part, user_id)), ids)
    recent = state.read(user_id).events.timestamp.tolist()
    assert recent[-KEEP:] == sorted(moments)[-KEEP:]
    assert len(set(recent)) == len(recent)


@given(st.data())
def test_days_of_calls_and_nights_of_files_count_every_event_once(state: StateStore, data: st.DataObject) -> None:
    """A file holds the whole history or an increment; calls come in any order, some repeated, and files repeat them."""
    user_id = next(names)
    total: set[int] = set()
    for night in range(1, data.draw(st.integers(1, 4)) + 1):
        today = data.draw(st.sets(st.integers(night * 100, night * 100 + 99), max_size=8))
        called = data.draw(st.lists(st.sampled_from(sorted(today)), max_size=8)) if today else []
        for moment in called:
            state.append_events(events_of(buys([moment], user_id)))
        filed = sorted(total | today) if data.draw(st.booleans()) else sorted(today)
        total |= set(called)
        if filed and data.draw(st.booleans()):
            for _ in range(data.draw(st.integers(1, 2))):
                state.write_windows(events_of(buys(filed, user_id)), max_events=KEEP)
            total |= today
    _, events, value = totals(state, user_id)
    assert events == len(total)
    assert value == sum(total)
