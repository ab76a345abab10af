"""Conditional updates of single items: DynamoDB does each at once and in some order, whoever else writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from personalization.core.errors import StateUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]

_GET_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Update:
    """One UpdateItem. Values are integers, texts, bytes or sets of texts; names are needed where DynamoDB reserves a word."""

    pk: str
    sk: str
    expression: str
    condition: str
    values: Mapping[str, int | str | bytes | frozenset[str]]
    names: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """Whether the condition held, and the item as it is after (held) or was before (not held); empty where there is none."""

    held: bool
    item: Item


@dataclass(frozen=True)
class CounterTable:
    """The state table, as counters use it. Every method raises `StateUnavailable` where it does not answer in time."""

    client: DynamoDBClient
    name: str

    def update(self, update: Update) -> Done:
        request: dict[str, Any] = {
            "TableName": self.name,
            "Key": {"pk": {"S": update.pk}, "sk": {"S": update.sk}},
            "UpdateExpression": update.expression,
            "ExpressionAttributeValues": {name: attribute(value) for name, value in update.values.items()},
            "ReturnValues": "ALL_NEW",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if update.condition:
            request["ConditionExpression"] = update.condition
        if update.names:
            request["ExpressionAttributeNames"] = dict(update.names)
        with _errors():
            try:
                return Done(True, self.client.update_item(**request).get("Attributes", {}))
            except self.client.exceptions.ConditionalCheckFailedException as error:
                return Done(False, _found(error))

    def put_new(self, item: Item) -> Done:
        """Write an item where none has its key; otherwise the one that is there."""
        with _errors():
            try:
                self.client.put_item(
                    TableName=self.name,
                    Item=item,
                    ConditionExpression="attribute_not_exists(pk)",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except self.client.exceptions.ConditionalCheckFailedException as error:
                return Done(False, _found(error))
        return Done(True, item)

    def get(self, keys: Sequence[tuple[str, str]], *, consistent: bool = True) -> dict[tuple[str, str], Item]:
        """The items that there are of these different keys (pk, sk)."""
        found: dict[tuple[str, str], Item] = {}
        left = list(keys)
        while left:
            part, left = left[:_GET_AT_ONCE], left[_GET_AT_ONCE:]
            wanted: Any = {"Keys": [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in part], "ConsistentRead": consistent}
            with _errors():
                answer = self.client.batch_get_item(RequestItems={self.name: wanted})
            for item in answer["Responses"].get(self.name, []):
                found[item["pk"]["S"], item["sk"]["S"]] = item
            unprocessed: Any = answer.get("UnprocessedKeys") or {}
            unread = unprocessed[self.name]["Keys"] if self.name in unprocessed else []
            if len(unread) == len(part):
                raise StateUnavailable("the state table left all counters unread")
            left += [(key["pk"]["S"], key["sk"]["S"]) for key in unread]
        return found

    def between(self, pk: str, first_sk: str, last_sk: str) -> list[Item]:
        """The items of a partition between two sort keys, both included; they fit into one page."""
        with _errors():
            return self.client.query(
                TableName=self.name,
                KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
                ExpressionAttributeValues={":pk": {"S": pk}, ":first": {"S": first_sk}, ":last": {"S": last_sk}},
                ConsistentRead=True,
            )["Items"]


def attribute(value: int | str | bytes | frozenset[str]) -> dict[str, Any]:
    """A value as the low-level client has it."""
    if isinstance(value, frozenset):
        return {"SS": sorted(value)}
    if isinstance(value, bytes):
        return {"B": value}
    return {"N": str(value)} if isinstance(value, int) else {"S": value}


def number(item: Item, name: str) -> int:
    """An integer attribute, 0 where the item has none."""
    return int(item[name]["N"]) if name in item else 0


def _found(error: ClientError) -> Item:
    """The item that a condition was held against; empty where there was none."""
    response: Any = error.response
    return dict(response.get("Item") or {})


@contextmanager
def _errors() -> Iterator[None]:
    """botocore's errors as ours. No message of theirs is kept: it may name keys."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "an error")
        raise StateUnavailable(f"the state table answered {code}") from None
    except BotoCoreError as error:
        raise StateUnavailable(f"the state table does not answer ({type(error).__name__})") from None
