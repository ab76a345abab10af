"""An upgrade with stored data: what version 0.1 wrote to S3 and DynamoDB is read with the answers that version 0.1 gave."""

from __future__ import annotations

import base64
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.api_shop import Shop

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

STORED = Path(__file__).parents[1] / "fixtures" / "stored_by_0_1"
NEW_EACH_TIME = {"request_id", "recommendation_id"}
WORDING = {"detail", "warnings", "text"}


@pytest.fixture
def stored(s3: S3Client, dynamodb: DynamoDBClient, shop: Shop) -> Shop:
    """A shop over the bundles, catalogues, user state and budgets of version 0.1."""
    with zipfile.ZipFile(STORED / "s3.zip") as archive:
        for name in archive.namelist():
            bucket, _, key = name.partition("/")
            s3.put_object(Bucket=bucket, Key=key, Body=archive.read(name))
    for item in json.loads((STORED / "dynamodb.json").read_text()):
        dynamodb.put_item(TableName="test-state", Item={name: _attribute(value) for name, value in item.items()})
    return shop


def _attribute(value: dict[str, Any]) -> dict[str, Any]:
    ((kind, content),) = value.items()
    return {kind: base64.b64decode(content["base64"])} if kind == "B" else value


def comparable(content: Any) -> Any:
    """Without ids of requests and sentences."""
    match content:
        case dict():
            return {name: comparable(part) for name, part in content.items() if name not in NEW_EACH_TIME | WORDING}
        case list():
            return [comparable(part) for part in content]
        case _:
            return content


def within_rounding(content: Any) -> Any:
    """Equal to what `comparable` returns, with numbers to 1e-5."""
    match content:
        case dict():
            return {name: within_rounding(part) for name, part in content.items()}
        case list():
            return [within_rounding(part) for part in content]
        case float():
            return pytest.approx(content, rel=1e-5, abs=1e-5)
        case _:
            return content


def test_stored_data_is_read_with_the_same_answers(stored: Shop) -> None:
    recorded = json.loads((STORED / "answers.json").read_text())
    stored.clock.now = recorded["now"]
    for request in recorded["requests"]:
        reply = stored.call(request["function"], request["method"], request["path"], request["body"], request["headers"])
        named = f"{request['method']} {request['path']} {request['body']}"
        assert reply.status == request["status"], named
        assert comparable(reply.body) == within_rounding(comparable(request["response"])), named
        stored.clock.go_on(3)
