"""That the account of these tests really checks: what a role does not allow is refused."""

from __future__ import annotations

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.e2e.account import Account

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("function", "service", "call", "arguments"),
    [
        ("ProfilesApiFunction", "s3", "get_object", {"Bucket": "local-modelsbucket", "Key": "models/ads-table/current.json"}),
        ("ProfilesBatchFunction", "s3", "put_object", {"Bucket": "local-modelsbucket", "Key": "models/profiles/current.json"}),
        ("AdsBatchFunction", "s3", "put_object", {"Bucket": "local-databucket", "Key": "results/profiles/x"}),
        ("EventsApiFunction", "s3", "get_object", {"Bucket": "local-databucket", "Key": "inbox/profiles/orders.csv"}),
        ("AdsApiFunction", "dynamodb", "scan", {"TableName": "local-StateTable"}),
    ],
)
def test_what_a_role_does_not_allow_is_refused(account: Account, function, service, call, arguments):
    environment = account.environment(function)
    client = boto3.client(
        service,
        endpoint_url=account.endpoint,
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
    with pytest.raises(ClientError) as refused:
        getattr(client, call)(**arguments)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
