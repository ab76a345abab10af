"""The way of a dropped file: rule, queue, dead letters, function, alarms."""

from __future__ import annotations

import json
import urllib.parse
from typing import Any

import pytest
from moto.events.models import EventPattern

from personalization.core.schema import JOBS
from tests.cloud import ROOT, plan, resolved

QUEUES = resolved("AWS::SQS::Queue")
ALARMS = resolved("AWS::CloudWatch::Alarm")
RULES = resolved("AWS::Events::Rule")


def queue_of(job: str) -> dict[str, Any]:
    return QUEUES[f"{job.capitalize()}Queue"]


def object_created(key: str, bucket: str = "shop-databucket") -> dict[str, Any]:
    return {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": bucket}, "object": {"key": key, "size": 1}},
    }


def rules_for(event: dict[str, Any]) -> set[str]:
    """Which rules pass an event on, by moto's reading of patterns."""
    return {name for name, rule in RULES.items() if EventPattern.load(json.dumps(rule["EventPattern"])).matches_event(event)}


@pytest.mark.parametrize("job", JOBS)
def test_a_file_goes_to_its_job_and_nowhere_else(job):
    rule = f"{job.capitalize()}InboxRule"
    for key in (f"inbox/{job}/orders.csv", f"inbox/{job}-table/a b/user_data.csv", f"inbox/{job}/items/new.jsonl"):
        assert rules_for(object_created(key)) == {rule}
    (target,) = RULES[rule]["Targets"]
    assert target["Arn"] == plan().resolver.arn(f"{job.capitalize()}Queue")


@pytest.mark.parametrize(
    "event",
    [
        object_created("results/profiles/orders.csv/0011-v1/part-00000.jsonl"),  # or a job would start the next for ever
        object_created("inbox/profilesx/orders.csv"),
        object_created("inbox/orders.csv"),
        object_created("inbox/profiles/orders.csv", bucket="another-bucket"),
        object_created("inbox/profiles/orders.csv") | {"detail-type": "Object Deleted"},
    ],
    ids=["result", "other prefix", "no job", "other bucket", "deletion"],
)
def test_nothing_else_starts_a_job(event):
    assert rules_for(event) == set()


def test_sample_events_hold_keys_that_the_rules_pass_on():
    """What events/ shows as a drop is one that would really arrive at that function."""
    checked = 0
    for file in sorted((ROOT / "events").glob("sqs_*.json")):
        for record in json.loads(file.read_text(encoding="utf-8"))["Records"]:
            body = json.loads(record["body"])
            if body.get("detail-type") == "Object Created":
                key, queue = body["detail"]["object"]["key"], record["eventSourceARN"].rsplit(":", 1)[1]
            elif body.get("Records"):
                key = urllib.parse.unquote_plus(body["Records"][0]["s3"]["object"]["key"])
                queue = record["eventSourceARN"].rsplit(":", 1)[1]
            else:  # s3:TestEvent names no object
                continue
            (rule,) = rules_for(object_created(key))
            assert queue.endswith(rule.replace("InboxRule", "Queue")), file.name
            checked += 1
    assert checked


@pytest.mark.parametrize("job", JOBS)
def test_a_file_is_one_job_tried_three_times_then_kept(job):
    (source,) = [s for s in plan().sources if s.function == f"{job.capitalize()}BatchFunction"]
    assert source.queue_arn == plan().resolver.arn(f"{job.capitalize()}Queue")
    assert (source.batch_size, source.partial) == (1, True)
    assert source.concurrency >= 2
    function = plan().functions[source.function]
    queue = queue_of(job)
    assert queue["VisibilityTimeout"] >= 6 * function.timeout
    redrive = queue["RedrivePolicy"]
    assert redrive == {"deadLetterTargetArn": plan().resolver.arn(f"{job.capitalize()}DeadLetters"), "maxReceiveCount": 3}
    assert QUEUES[f"{job.capitalize()}DeadLetters"]["MessageRetentionPeriod"] >= queue["MessageRetentionPeriod"]


def test_every_queue_is_encrypted_and_is_or_has_a_dead_letter_queue():
    dead = {q["RedrivePolicy"]["deadLetterTargetArn"] for q in QUEUES.values() if "RedrivePolicy" in q}
    for name, queue in QUEUES.items():
        assert queue["SqsManagedSseEnabled"] is True
        assert ("RedrivePolicy" in queue) != (plan().resolver.arn(name) in dead)


def alarm_on(metric: str, queue: str) -> dict[str, Any]:
    (found,) = [
        alarm
        for alarm in ALARMS.values()
        if alarm.get("MetricName") == metric and alarm["Dimensions"] == [{"Name": "QueueName", "Value": f"shop-{queue}"}]
    ]
    return found


@pytest.mark.parametrize("job", JOBS)
def test_a_file_that_was_given_up_or_waits_too_long_rings(job):
    title = job.capitalize()
    given_up = alarm_on("ApproximateNumberOfMessagesVisible", f"{title}DeadLetters")
    assert (given_up["Threshold"], given_up["ComparisonOperator"]) == (0, "GreaterThanThreshold")
    waiting = alarm_on("ApproximateAgeOfOldestMessage", f"{title}Queue")
    # one failed try makes a file wait for the visibility timeout: that alone is no reason to ring
    assert waiting["Threshold"] > queue_of(job)["VisibilityTimeout"]
