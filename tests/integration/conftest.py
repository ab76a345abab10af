"""The shop that the API tests call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.api_shop import Shop

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client


@pytest.fixture
def shop(s3: S3Client, dynamodb: DynamoDBClient, tmp_path: Path) -> Shop:
    """The functions, without any model yet."""
    return Shop(s3, dynamodb, tmp_path / "models")
