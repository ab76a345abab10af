"""What all tests stand on: made-up credentials, the functions' environment, an AWS in this process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

# Before anything imports boto3 or a function: no test may find real credentials, or wait for a metadata service.
os.environ.update(
    AWS_ACCESS_KEY_ID="testing",
    AWS_SECRET_ACCESS_KEY="testing",
    AWS_SESSION_TOKEN="testing",
    AWS_DEFAULT_REGION="eu-central-1",
    AWS_REGION="eu-central-1",
    AWS_EC2_METADATA_DISABLED="true",
    AWS_CONFIG_FILE=os.devnull,
    AWS_SHARED_CREDENTIALS_FILE=os.devnull,
    SAM_CLI_TELEMETRY="0",
    ORT_DISABLE_TELEMETRY="1",
    MODELS_BUCKET="test-models",
    DATA_BUCKET="test-data",
    STATE_TABLE="test-state",
    MODEL_CACHE_DIR=os.path.join(tempfile.gettempdir(), f"test-models-{os.getpid()}"),  # noqa: PTH118
    POWERTOOLS_SERVICE_NAME="test",
    POWERTOOLS_METRICS_NAMESPACE="test",
    POWERTOOLS_LOG_LEVEL="INFO",
)
for unwanted in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "MODEL_STORE", "POWERTOOLS_DEV", "POWERTOOLS_TRACE_DISABLED"):
    os.environ.pop(unwanted, None)

import boto3  # noqa: E402
import moto  # noqa: E402 – at import it hooks into botocore, so that clients made later are covered, by functions' modules too
import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

# Examples are the same in every run; a machine that is busy is no failure.
settings.register_profile(
    "tests", derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("tests")


@pytest.fixture
def aws() -> Iterator[None]:
    """An empty AWS account in this process."""
    with moto.mock_aws():
        yield


@pytest.fixture
def s3(aws: None) -> S3Client:
    """A client of an S3 with the models and the data bucket."""
    client = boto3.client("s3")
    for name in (os.environ["MODELS_BUCKET"], os.environ["DATA_BUCKET"]):
        client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return client


@pytest.fixture
def dynamodb(aws: None) -> DynamoDBClient:
    """A client of a DynamoDB with the state table."""
    client = boto3.client("dynamodb")
    create_state_table(client)
    return client


@pytest.fixture
def sqs(aws: None) -> SQSClient:
    return boto3.client("sqs")


def create_state_table(client: DynamoDBClient, name: str | None = None) -> None:
    """The table as template.yaml declares it (a test of the template compares)."""
    client.create_table(
        TableName=name or os.environ["STATE_TABLE"],
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    )
