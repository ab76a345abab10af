"""What an operator does with a stack: checks, redrive, taking down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.stub import Stubber

from deploy.checks import CheckFailed, SmokeTarget, checks
from deploy.redrive import redrive
from deploy.stack import StackMissing, delete_stack, empty_bucket, outputs
from local.stack import Stack
from tests.ads_bundle import ads_bundle
from tests.bundles import flat_bundle, profiles_bundle

COLUMNS = ("click_count", "view_duration", "channel")  # of the flat bundle


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    bundles = tmp_path_factory.mktemp("bundles")
    profiles_bundle(bundles / "profiles")
    flat_bundle(bundles / "ads-table", "ads-table")
    ads_bundle(bundles / "ads")
    with Stack(home=tmp_path_factory.mktemp("home"), api_key="a-key") as stack:
        stack.publish([bundles / "profiles", bundles / "ads-table", bundles / "ads"])
        yield stack


def target(stack: Stack, models: dict[str, tuple[str, ...]], key: str = "a-key") -> SmokeTarget:
    return SmokeTarget(stack.url, key, stack.aws.client("s3"), stack.variable("DATA_BUCKET"), models, wait_seconds=60)


def test_a_stack_that_works_passes_every_check(stack: Stack):
    names = []
    for name, check in checks(target(stack, {"profiles": (), "ads-table": COLUMNS, "ads": ()})):
        check()
        names.append(name)
    assert len(names) == 4 + 2 * 3


def test_a_stack_without_the_model_fails_its_check(stack: Stack):
    by_name = dict(checks(target(stack, {"recommendations-table": COLUMNS})))
    with pytest.raises(CheckFailed, match="expected status 200, received 503"):
        by_name["recommendations-table answers a request"]()


def test_a_wrong_key_fails(stack: Stack):
    with pytest.raises(CheckFailed, match="expected status 200, received 403"):
        dict(checks(target(stack, {}, key="another")))["models are listed"]()


@pytest.mark.parametrize("waiting", [0, 2])
def test_files_that_were_given_up_go_back_to_where_they_came_from(waiting: int):
    """Against botocore's own description of the service: moto does not know this call."""
    sqs = boto3.client("sqs", region_name="eu-central-1")
    arn, url = "arn:aws:sqs:eu-central-1:123456789012:dead", "https://sqs.eu-central-1.amazonaws.com/123456789012/dead"
    asked = {"QueueUrl": url, "AttributeNames": ["QueueArn", "ApproximateNumberOfMessages"]}
    with Stubber(sqs) as calls:
        attributes = {"QueueArn": arn, "ApproximateNumberOfMessages": str(waiting)}
        calls.add_response("get_queue_attributes", {"Attributes": attributes}, asked)
        if waiting:
            calls.add_response("start_message_move_task", {"TaskHandle": "t"}, {"SourceArn": arn})
        assert redrive(sqs, url) == waiting
        calls.assert_no_pending_responses()


TEMPLATE = {
    "Resources": {
        "Models": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "tried-models"}, "DeletionPolicy": "Retain"},
        "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "tried-queue"}},
    },
    "Outputs": {
        "ModelsBucket": {"Value": {"Ref": "Models"}},
        "DataBucket": {"Value": "tried-data"},
        "StateTable": {"Value": "tried-state"},
    },
}


def test_outputs_and_taking_down_leaves_nothing(aws: None, tmp_path: Path):
    session = boto3.Session(region_name="us-east-1")
    cloudformation, s3, dynamodb = (session.client(name) for name in ("cloudformation", "s3", "dynamodb"))
    with pytest.raises(StackMissing, match="no stack 'tried'"):
        outputs(cloudformation, "tried")
    cloudformation.create_stack(StackName="tried", TemplateBody=json.dumps(TEMPLATE))
    found = outputs(cloudformation, "tried")
    assert found == {"ModelsBucket": "tried-models", "DataBucket": "tried-data", "StateTable": "tried-state"}

    s3.create_bucket(Bucket="tried-data")
    keys = {"AttributeName": "pk", "KeyType": "HASH"}
    dynamodb.create_table(
        TableName="tried-state",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[keys],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
    )
    s3.put_bucket_versioning(Bucket="tried-models", VersioningConfiguration={"Status": "Enabled"})
    for content in (b"one", b"two"):
        s3.put_object(Bucket="tried-models", Key="models/profiles/current.json", Body=content)
    s3.delete_object(Bucket="tried-models", Key="models/profiles/current.json")  # leaves a marker
    s3.put_object(Bucket="tried-data", Key="inbox/profiles/x.csv", Body=b"x")

    delete_stack(session, "tried", found)
    assert s3.list_buckets()["Buckets"] == []
    assert dynamodb.list_tables()["TableNames"] == []
    assert cloudformation.list_stacks()["StackSummaries"][0]["StackStatus"] == "DELETE_COMPLETE"


def test_emptying_counts_versions_and_markers(aws: None):
    s3 = boto3.client("s3", region_name="us-east-1")
    s3.create_bucket(Bucket="full")
    s3.put_bucket_versioning(Bucket="full", VersioningConfiguration={"Status": "Enabled"})
    for _ in range(3):
        s3.put_object(Bucket="full", Key="a", Body=b"x")
    s3.delete_object(Bucket="full", Key="a")
    assert empty_bucket(s3, "full") == 4
    assert "Versions" not in s3.list_object_versions(Bucket="full")
