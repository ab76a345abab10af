"""Answers of DynamoDB that come in pieces: pages of a query, keys and items that were not processed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from personalization.core.errors import StateUnavailable
from personalization.state.dynamodb import Put, StateTable, Update

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def table(dynamodb: DynamoDBClient) -> StateTable:
    return StateTable(dynamodb, "test-state", sleep=lambda seconds: None)


def fill(table: StateTable, count: int) -> list[tuple[str, str]]:
    keys = [("user#u", f"{n:03d}") for n in range(count)]
    for pk, sk in keys:
        assert table.put(Put({"pk": {"S": pk}, "sk": {"S": sk}}, "attribute_not_exists(pk)")).held
    return keys


def test_a_query_follows_its_pages(table: StateTable, dynamodb: DynamoDBClient) -> None:
    fill(table, 7)

    def two_items_a_page(params: dict[str, Any], **_: object) -> None:
        params["Limit"] = 2

    dynamodb.meta.events.register("provide-client-params.dynamodb.Query", two_items_a_page)
    assert [item["sk"]["S"] for item in table.query("user#u")] == [f"{n:03d}" for n in range(7)]
    assert [item["sk"]["S"] for item in table.query("user#u", ("001", "005"))] == [f"{n:03d}" for n in range(1, 6)]


def leave_half(operation: str, client: DynamoDBClient) -> None:
    """DynamoDB processes the first half of what it is sent, and returns the rest."""
    left: list[Any] = []

    def send_half(params: dict[str, Any], **_: object) -> None:
        requests = params["RequestItems"]["test-state"]
        entries = requests["Keys"] if operation == "BatchGetItem" else requests
        half = (len(entries) + 1) // 2
        left[:] = entries[half:]
        kept = entries[:half]
        params["RequestItems"]["test-state"] = requests | {"Keys": kept} if operation == "BatchGetItem" else kept

    def return_rest(parsed: dict[str, Any], **_: object) -> None:
        if operation == "BatchGetItem":
            parsed["UnprocessedKeys"] = {"test-state": {"Keys": list(left), "ConsistentRead": True}} if left else {}
        else:
            parsed["UnprocessedItems"] = {"test-state": list(left)} if left else {}

    client.meta.events.register(f"provide-client-params.dynamodb.{operation}", send_half)
    client.meta.events.register(f"after-call.dynamodb.{operation}", return_rest)


def test_keys_that_were_not_processed_are_read_again(table: StateTable, dynamodb: DynamoDBClient) -> None:
    keys = fill(table, 120)
    leave_half("BatchGetItem", dynamodb)
    assert set(table.get([*keys[:20], ("user#u", "no such item")])) == set(keys[:20])
    with pytest.raises(StateUnavailable, match="unread after 6 tries"):
        table.get(keys)  # a hundred at once are not halved to none in six tries


def test_items_that_were_not_processed_are_deleted_again(table: StateTable, dynamodb: DynamoDBClient) -> None:
    keys = fill(table, 60)
    leave_half("BatchWriteItem", dynamodb)
    table.delete(keys)
    assert table.query("user#u") == []


def test_a_condition_that_does_not_hold_returns_the_item(table: StateTable) -> None:
    item = {"pk": {"S": "user#u"}, "sk": {"S": "a"}, "n": {"N": "1"}}
    new = Put(item, "attribute_not_exists(pk)")
    assert table.put(new).held
    refused = table.put(new)
    assert (refused.held, refused.item) == (False, item)
    add = Update("user#u", "a", "SET n = n + :one", "n < :most", {":one": 1, ":most": 2})
    added, refused = table.update(add), table.update(add)
    assert (added.held, refused.held) == (True, False)
    assert added.item == refused.item == item | {"n": {"N": "2"}}
