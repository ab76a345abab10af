"""The DynamoDB calls that state is made of, with one error for «not now» and one for «somebody was faster»."""

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

GET_AT_ONCE: Final = 100
DELETE_AT_ONCE: Final = 25
WRITE_TOGETHER: Final = 100
TRIES: Final = 6
_LOST_RACES: Final = frozenset({"ConditionalCheckFailed", "TransactionConflict"})


@dataclass(frozen=True)
class StateTable:
    """One table with the keys `pk` and `sk`.

    sleep, random   for the waits between tries
    """

    client: DynamoDBClient
    name: str
    sleep: Callable[[float], None] = time.sleep
    random: Random = field(default_factory=Random)

    def query(self, pk: str, *, keys_only: bool = False) -> list[Item]:
        """All items under one partition key, as they are now, in the order of their sort keys."""
        request: dict[str, Any] = {
            "TableName": self.name,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": pk}},
            "ConsistentRead": True,
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

    def get(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Item]:
        """The items that there are of at most `GET_AT_ONCE` different keys (pk, sk)."""
        wanted: Any = {self.name: {"Keys": [_key(pk, sk) for pk, sk in keys], "ConsistentRead": True}}
        found: dict[tuple[str, str], Item] = {}
        for tried in range(TRIES):
            with _errors():
                answer = self.client.batch_get_item(RequestItems=wanted)
            for item in answer["Responses"].get(self.name, []):
                found[item["pk"]["S"], item["sk"]["S"]] = item
            wanted = answer.get("UnprocessedKeys")
            if not wanted:
                return found
            self.wait(tried)
        raise StateUnavailable(f"the state table left keys unread after {TRIES} tries")

    def put(self, item: Item, condition: str, values: Mapping[str, Any]) -> bool:
        """Write an item under a condition on the one that is there; whether it held."""
        request: dict[str, Any] = {"TableName": self.name, "Item": item, "ConditionExpression": condition}
        if values:
            request["ExpressionAttributeValues"] = dict(values)
        try:
            with _errors():
                self.client.put_item(**request)
        except Conflict:
            return False
        return True

    def write_together(self, operations: Sequence[Mapping[str, Any]]) -> None:
        """All of at most `WRITE_TOGETHER` operations or none. Raises `Conflict` where a condition did not hold."""
        with _errors():
            self.client.transact_write_items(TransactItems=list(operations))  # type: ignore[arg-type]

    def delete(self, keys: Sequence[tuple[str, str]]) -> None:
        """Remove items, however many."""
        for start in range(0, len(keys), DELETE_AT_ONCE):
            requests = [{"DeleteRequest": {"Key": _key(pk, sk)}} for pk, sk in keys[start : start + DELETE_AT_ONCE]]
            wanted: Any = {self.name: requests}
            for tried in range(TRIES):
                with _errors():
                    wanted = self.client.batch_write_item(RequestItems=wanted).get("UnprocessedItems")
                if not wanted:
                    break
                self.wait(tried)
            else:
                raise StateUnavailable(f"the state table left items undeleted after {TRIES} tries")

    def wait(self, tried: int) -> None:
        """Longer after each try, and never for everybody the same (full jitter)."""
        self.sleep(self.random.uniform(0, min(1.0, 0.05 * 2**tried)))


def _key(pk: str, sk: str) -> Item:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


@contextmanager
def _errors() -> Iterator[None]:
    """botocore's errors as ours; it has used up its own retries by then. No message of theirs is kept: it may name keys."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "an error")
        reasons = {reason.get("Code") for reason in error.response.get("CancellationReasons", [])}
        if code in ("ConditionalCheckFailedException", "TransactionConflictException") or reasons & _LOST_RACES:
            raise Conflict("the user's state was changed in between") from None
        raise StateUnavailable(f"the state table answered {code}") from None
    except BotoCoreError as error:
        raise StateUnavailable(f"the state table does not answer ({type(error).__name__})") from None
