"""Outputs of a deployed stack, and its deletion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Outputs of template.yaml that name the resources with data, which a deleted stack retains.
BUCKETS: Final = ("ModelsBucket", "DataBucket")
TABLE: Final = "StateTable"


class StackMissing(RuntimeError):
    """The stack does not exist, or its creation is not complete; the message says which."""


def outputs(cloudformation: Any, stack: str) -> dict[str, str]:
    """The outputs of template.yaml by name. Raises `StackMissing`."""
    from botocore.exceptions import ClientError

    try:
        (described,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "ValidationError":
            raise
        raise StackMissing(f"there is no stack {stack!r} in this account and region") from None
    found = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
    if not found:
        raise StackMissing(f"stack {stack!r} has no outputs; its status is {described['StackStatus']}")
    return found


def empty_bucket(s3: S3Client, bucket: str) -> int:
    """Delete every object, version and delete marker; returns their number."""
    deleted = 0
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        versions: list[Any] = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if versions:
            objects = [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in versions]
            s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})  # type: ignore[typeddict-item]
            deleted += len(objects)
    return deleted


def delete_stack(session: Any, stack: str, found: Mapping[str, str]) -> None:
    """Delete a stack, its retained buckets and its table, with all data. For stacks of smoke tests."""
    cloudformation, s3, dynamodb = (session.client(service) for service in ("cloudformation", "s3", "dynamodb"))
    cloudformation.delete_stack(StackName=stack)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=stack)
    for output in BUCKETS:
        empty_bucket(s3, found[output])
        s3.delete_bucket(Bucket=found[output])
    dynamodb.delete_table(TableName=found[TABLE])
