"""Moves the messages of dropped files from a job's dead-letter queue back to its queue.

    python -m deploy.redrive profiles --stack personalization

Remove the cause first: the function's log names it.
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
    """Start to move the messages back to their queue; returns their approximate number."""
    names = ("QueueArn", "ApproximateNumberOfMessages")
    attributes = sqs.get_queue_attributes(QueueUrl=dead_letters_url, AttributeNames=list(names))["Attributes"]  # type: ignore[arg-type]
    waiting = int(attributes["ApproximateNumberOfMessages"])
    if waiting:
        sqs.start_message_move_task(SourceArn=attributes["QueueArn"])  # without a destination: to the queue of each message
    return waiting


def main() -> None:
    parser = argparse.ArgumentParser(description="Move dropped files from the dead-letter queue back to the queue.")
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("--stack", default="personalization")
    options = parser.parse_args()
    stack = outputs(boto3.client("cloudformation"), options.stack)
    waiting = redrive(boto3.client("sqs"), stack[f"{options.job.capitalize()}DeadLetters"])
    print(
        f"{waiting} files of {options.job} return to the queue"
        if waiting
        else f"the dead-letter queue of {options.job} is empty"
    )


if __name__ == "__main__":
    main()
