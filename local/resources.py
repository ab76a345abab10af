"""Creates the template's buckets, queues, tables and event rules in the embedded services.

moto's CloudFormation would create most of them, but it silently ignores the bucket's EventBridge notification and versioning,
which the stack needs. So each property that matters is set by a call. Properties without effect on one machine (encryption,
public access blocks, policies, lifecycle rules) are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from local.intrinsics import text
from local.plan import Plan


def create_resources(plan: Plan, client: Callable[[str], Any]) -> None:
    """Create the template's resources; `client` returns a boto3 client by service name."""
    _buckets(plan, client("s3"))
    _queues(plan, client("sqs"))
    _tables(plan, client("dynamodb"))
    _rules(plan, client("events"))


def _buckets(plan: Plan, s3: Any) -> None:
    for logical_id in plan.of_type("AWS::S3::Bucket"):
        name = plan.resolver.name(logical_id)
        properties = plan.resolver.properties(logical_id)
        s3.create_bucket(Bucket=name)
        if versioning := properties.get("VersioningConfiguration"):
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": versioning["Status"]})
        bridge = properties.get("NotificationConfiguration", {}).get("EventBridgeConfiguration")
        if bridge and text(bridge.get("EventBridgeEnabled", True)) == "true":
            s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration={"EventBridgeConfiguration": {}})


def _queues(plan: Plan, sqs: Any) -> None:
    redrives = {}
    for logical_id in plan.of_type("AWS::SQS::Queue"):
        properties = plan.resolver.properties(logical_id)
        name = plan.resolver.name(logical_id)
        attributes = {
            key: json.dumps(value) if isinstance(value, dict) else text(value)
            for key, value in properties.items()
            if key not in ("QueueName", "Tags") and not key.startswith("Kms")
        }
        redrive = attributes.pop("RedrivePolicy", None)
        url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        if redrive:
            redrives[url] = redrive
    for url, redrive in redrives.items():  # once every dead-letter queue is there
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": redrive})


def _tables(plan: Plan, dynamodb: Any) -> None:
    passed_on = (
        "AttributeDefinitions", "KeySchema", "BillingMode", "ProvisionedThroughput", "GlobalSecondaryIndexes",
        "LocalSecondaryIndexes",
    )  # fmt: skip
    for logical_id in plan.of_type("AWS::DynamoDB::Table"):
        properties = plan.resolver.properties(logical_id)
        name = plan.resolver.name(logical_id)
        arguments = {key: properties[key] for key in passed_on if key in properties}
        if stream := properties.get("StreamSpecification"):
            arguments["StreamSpecification"] = {"StreamEnabled": True, **stream}
        dynamodb.create_table(TableName=name, **arguments)
        expiry = properties.get("TimeToLiveSpecification")
        if expiry and text(expiry.get("Enabled")) == "true":
            specification = {"Enabled": True, "AttributeName": expiry["AttributeName"]}
            dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=specification)


def _rules(plan: Plan, events: Any) -> None:
    for logical_id in plan.of_type("AWS::Events::Rule"):
        properties = plan.resolver.properties(logical_id)
        # moto silently stops at the first target that it does not support, so only queues are passed to it.
        targets = [target for target in properties.get("Targets", []) if ":sqs:" in str(target.get("Arn"))]
        pattern = properties.get("EventPattern")
        if not targets or not pattern:
            continue
        name = plan.resolver.name(logical_id)
        bus = {"EventBusName": properties["EventBusName"]} if "EventBusName" in properties else {}
        events.put_rule(Name=name, EventPattern=json.dumps(pattern), State=properties.get("State", "ENABLED"), **bus)
        answer = events.put_targets(Rule=name, Targets=targets, **bus)
        if answer.get("FailedEntryCount"):
            raise RuntimeError(f"the targets of rule {logical_id} were refused: {answer['FailedEntries']}")
