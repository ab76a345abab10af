"""Where things are kept: privately, encrypted, for as long as is said."""

from __future__ import annotations

from typing import Any

import pytest

from personalization.core.settings import Settings
from tests.cloud import plan, resolved

BUCKETS = resolved("AWS::S3::Bucket")


def rules(bucket: str) -> dict[str, dict[str, Any]]:
    return {rule["Id"]: rule for rule in BUCKETS[bucket]["LifecycleConfiguration"]["Rules"]}


def test_there_are_a_bucket_for_models_and_one_for_data():
    assert set(BUCKETS) == {"ModelsBucket", "DataBucket"}


@pytest.mark.parametrize("bucket", BUCKETS)
def test_buckets_are_private_encrypted_and_ask_for_tls(bucket):
    properties = BUCKETS[bucket]
    public = properties["PublicAccessBlockConfiguration"]
    assert public == dict.fromkeys(
        ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True
    )  # fmt: skip
    (encryption,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"] in ("AES256", "aws:kms")
    assert properties["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    name = plan().resolver.name(bucket)
    (policy,) = [p for p in resolved("AWS::S3::BucketPolicy").values() if p["Bucket"] == name]
    (denied,) = policy["PolicyDocument"]["Statement"]
    assert sorted(denied["Resource"]) == [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_deleted_stack_leaves_the_data(bucket):
    for name in (bucket, "StateTable"):
        resource = plan().resolver.resources[name]
        assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"


def test_an_overwritten_pointer_can_be_had_back_for_a_time():
    assert BUCKETS["ModelsBucket"]["VersioningConfiguration"] == {"Status": "Enabled"}
    assert int(rules("ModelsBucket")["old-versions"]["NoncurrentVersionExpiration"]["NoncurrentDays"]) == 90
    # a model that serves must never expire by age
    assert not any("ExpirationInDays" in rule for rule in rules("ModelsBucket").values())


def test_dropped_files_and_results_expire_when_the_receipt_says_and_have_no_old_versions():
    days = str(Settings.from_environment(plan().functions["EventsApiFunction"].environment).results_days)
    assert {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules("DataBucket").values() if "Prefix" in rule} == {
        "inbox/": days,
        "results/": days,
    }
    assert "VersioningConfiguration" not in BUCKETS["DataBucket"]


def test_dropped_files_are_announced_through_eventbridge():
    enabled = BUCKETS["DataBucket"]["NotificationConfiguration"]
    assert enabled == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}


def test_state_costs_by_use_expires_and_can_be_restored():
    (table,) = resolved("AWS::DynamoDB::Table").values()
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["SSESpecification"] == {"SSEEnabled": True}
    assert {key["AttributeName"]: key["KeyType"] for key in table["KeySchema"]} == {"pk": "HASH", "sk": "RANGE"}
