"""The DynamoDB table of the stack: the few calls that user state, budgets and exposures are made of.

Every method raises `StateUnavailable` where the table does not respond in time. No message of botocore is kept, because it may
name keys, and keys hold user ids.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from personalization.core.errors import Conflict, StateUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]  # attribute values as the low-level client has them: {"S": …}, {"N": …}, {"B": …}
Key = tuple[str, str]  # pk, sk
Value = bool | int | str | bytes | frozenset[str]

MAX_TRANSACTION: Final = 100  # operations
_GET_BATCH: Final = 100
_DELETE_BATCH: Final = 25
_TRIES: Final = 6
_CONFLICTS: Final = frozenset(
    ("ConditionalCheckFailedException", "TransactionConflictException", "ConditionalCheckFailed", "TransactionConflict")
)


@dataclass(frozen=True, slots=True)
class Put:
    """Writes a whole item; `condition` is on the item that has its key before."""

    item: Item
    condition: str
    values: Mapping[str, Value] = field(default_factory=dict)

    def request(self, table: str) -> dict[str, Any]:
        return {"TableName": table, "Item": self.item, "ConditionExpression": self.condition} | _placeholders(self.values)


@dataclass(frozen=True, slots=True)
class Update:
    """Changes attributes of one item. `names` are needed for words that DynamoDB reserves."""

    pk: str
    sk: str
    expression: str
    condition: str
    values: Mapping[str, Value]
    names: Mapping[str, str] | None = None

    def request(self, table: str) -> dict[str, Any]:
        request = {"TableName": table, "Key": _key(self.pk, self.sk), "UpdateExpression": self.expression}
        if self.condition:
            request["ConditionExpression"] = self.condition
        return request | _placeholders(self.values, self.names)


@dataclass(frozen=True, slots=True)
class WriteResult:
    """Whether the condition held, and the item: after an update, or the one that the condition refused. It may be empty."""

    held: bool
    item: Item


@dataclass(frozen=True)
class StateTable:
    """One table with the keys `pk` and `sk`.

    sleep, random   for the waits between tries
    """

    client: DynamoDBClient
    name: str
    sleep: Callable[[float], None] = time.sleep
    random: Random = field(default_factory=Random)

    def query(self, pk: str, between: tuple[str, str] | None = None, *, keys_only: bool = False) -> list[Item]:
        """All items of a partition as they are now, ordered by sort key; `between` two sort keys, both included."""
        request: dict[str, Any] = {
            "TableName": self.name,
            "KeyConditionExpression": "pk = :pk" + (" AND sk BETWEEN :first AND :last" if between else ""),
            "ConsistentRead": True,
            **_placeholders({":pk": pk} | dict(zip((":first", ":last"), between or (), strict=False))),
        }
        if keys_only:
            request["ProjectionExpression"] = "pk, sk"
        items: list[Item] = []
        while True:
            with _errors():
                page = self.client.query(**request)
            items += page["Items"]
            if not page.get("LastEvaluatedKey"):
                return items
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def get(self, keys: Sequence[Key], *, consistent: bool = True) -> dict[Key, Item]:
        """The items of different keys; a key without an item is left out."""
        items: dict[Key, Item] = {}
        for start in range(0, len(keys), _GET_BATCH):
            unread: Any = {"Keys": [_key(*key) for key in keys[start : start + _GET_BATCH]], "ConsistentRead": consistent}
            for attempt in range(_TRIES):
                with _errors():
                    page = self.client.batch_get_item(RequestItems={self.name: unread})
                items |= {(item["pk"]["S"], item["sk"]["S"]): item for item in page["Responses"].get(self.name, [])}
                unread = (page.get("UnprocessedKeys") or {}).get(self.name)
                if not unread:
                    break
                self.wait(attempt)
            else:
                raise StateUnavailable(f"DynamoDB left keys unread after {_TRIES} tries")
        return items

    def put(self, put: Put) -> WriteResult:
        """Write an item under a condition."""
        return self._write(self.client.put_item, put.request(self.name))

    def update(self, update: Update) -> WriteResult:
        """Change an item, which is created where there is none, under a condition where there is one."""
        return self._write(self.client.update_item, update.request(self.name) | {"ReturnValues": "ALL_NEW"})

    def transact(self, writes: Sequence[Put | Update]) -> None:
        """All of at most `MAX_TRANSACTION` writes or none. Raises `Conflict` where a condition did not hold."""
        operations: Any = [{type(write).__name__: write.request(self.name)} for write in writes]
        with _errors():
            self.client.transact_write_items(TransactItems=operations)

    def delete(self, keys: Sequence[Key]) -> None:
        """Remove items, however many."""
        for start in range(0, len(keys), _DELETE_BATCH):
            left: Any = [{"DeleteRequest": {"Key": _key(*key)}} for key in keys[start : start + _DELETE_BATCH]]
            for attempt in range(_TRIES):
                with _errors():
                    response = self.client.batch_write_item(RequestItems={self.name: left})
                left = response.get("UnprocessedItems", {}).get(self.name)
                if not left:
                    break
                self.wait(attempt)
            else:
                raise StateUnavailable(f"DynamoDB left items undeleted after {_TRIES} tries")

    def wait(self, attempt: int) -> None:
        """Sleep, longer after each try, with full jitter so that writers that met do not meet again."""
        self.sleep(self.random.uniform(0, min(1.0, 0.05 * 2**attempt)))

    def _write(self, call: Callable[..., Any], request: dict[str, Any]) -> WriteResult:
        with _errors():
            try:
                response = call(**request, ReturnValuesOnConditionCheckFailure="ALL_OLD")
            except ClientError as error:
                if _code(error) not in _CONFLICTS:
                    raise
                refused: Any = error.response
                return WriteResult(False, refused.get("Item") or {})
        return WriteResult(True, response.get("Attributes", {}))


def attribute(value: Value) -> dict[str, Any]:
    """A value as the low-level client has it."""
    match value:
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case str():
            return {"S": value}
        case bytes():
            return {"B": value}
        case _:
            return {"SS": sorted(value)}


def number(item: Item, name: str) -> int:
    """An integer attribute, 0 where the item has none."""
    return int(item[name]["N"]) if name in item else 0


def _key(pk: str, sk: str) -> Item:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _placeholders(values: Mapping[str, Value], names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The values and names of an expression; DynamoDB refuses empty ones."""
    request: dict[str, Any] = {}
    if values:
        request["ExpressionAttributeValues"] = {name: attribute(value) for name, value in values.items()}
    if names:
        request["ExpressionAttributeNames"] = dict(names)
    return request


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "an error"))


@contextmanager
def _errors() -> Iterator[None]:
    """Map botocore's errors to ours. botocore has used up its own retries by then."""
    try:
        yield
    except ClientError as error:
        reasons: Any = error.response.get("CancellationReasons", [])
        if not _CONFLICTS.isdisjoint([_code(error), *(reason.get("Code") for reason in reasons)]):
            raise Conflict("the item was changed by somebody else in between") from None
        raise StateUnavailable(f"DynamoDB returned {_code(error)}") from None
    except BotoCoreError as error:
        raise StateUnavailable(f"DynamoDB does not respond ({type(error).__name__})") from None
