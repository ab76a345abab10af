"""Gives dropped files that were given up another try.

    python -m deploy.redrive profiles --stack personalization

Mend the cause first: the function's log names it, and the job's manifest where it got that far.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import boto3

from deploy.stack import outputs
from personalization.core.schema import JOBS

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


def redrive(sqs: SQSClient, dead_letters_url: str) -> int:
    """Start moving the messages back to the queue they came from; about how many there are."""
    wanted = ("QueueArn", "ApproximateNumberOfMessages")
    attributes = sqs.get_queue_attributes(QueueUrl=dead_letters_url, AttributeNames=list(wanted))["Attributes"]  # type: ignore[arg-type]
    waiting = int(attributes["ApproximateNumberOfMessages"])
    if waiting:
        sqs.start_message_move_task(SourceArn=attributes["QueueArn"])  # without a destination: where each came from
    return waiting


def main() -> None:
    parser = argparse.ArgumentParser(description="Give files that were given up another try.")
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("--stack", default="personalization")
    asked = parser.parse_args()
    found = outputs(boto3.client("cloudformation"), asked.stack)
    waiting = redrive(boto3.client("sqs"), found[f"{asked.job.capitalize()}DeadLetters"])
    print(f"{waiting} file(s) of {asked.job} go back to their queue" if waiting else f"no file of {asked.job} was given up")


if __name__ == "__main__":
    main()
