"""Lambda's event source mappings: polls queues, invokes functions with batches of messages, retries failures."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any, Final

from local.intrinsics import REGION
from local.plan import QueueSource
from local.pool import FunctionPool, InvocationFailed

_WAIT_SECONDS: Final = 1  # of one long poll, which a stop may wait for
RETRY_SECONDS: Final = 1  # in AWS a failed message returns after the queue's visibility timeout
logger = logging.getLogger(__name__)


class QueuePoller:
    """Invokes one function with the messages of one queue.

    url       of the queue, in the embedded services
    workers   limit of concurrent invocations, beside the mapping's own
    """

    def __init__(self, source: QueueSource, url: str, sqs: Any, pool: FunctionPool, workers: int = 2) -> None:
        self._source = source
        self._url = url
        self._sqs = sqs
        self._pool = pool
        self._stopping = threading.Event()
        self._slots = threading.Semaphore(min(workers, source.concurrency or workers))
        # One receiver: moto may return one message to two concurrent receivers.
        self._thread = threading.Thread(target=self._run, name=f"queue-of-{source.function}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Receive no more messages. A running invocation ends with its function's pool."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            with self._slots:  # wait for a free worker: a received message is invisible meanwhile
                pass
            try:
                messages = self._receive()
            except Exception:
                if not self._stopping.wait(1.0):
                    logger.exception("the queue of %s cannot be read", self._source.function)
                continue
            if messages:
                self._slots.acquire()
                threading.Thread(target=self._work, args=(messages,), daemon=True).start()

    def _receive(self) -> list[dict[str, Any]]:
        answer = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=min(10, self._source.batch_size),
            WaitTimeSeconds=_WAIT_SECONDS,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def _work(self, messages: list[dict[str, Any]]) -> None:
        try:
            failed = self._invoke(messages)
            done = [message for message in messages if message["MessageId"] not in failed]
            for message in done:
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
            for message in messages:
                if message["MessageId"] in failed:
                    self._sqs.change_message_visibility(
                        QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=RETRY_SECONDS
                    )
        except Exception:
            if not self._stopping.is_set():
                logger.exception("messages of the queue of %s were neither deleted nor returned", self._source.function)
        finally:
            self._slots.release()

    def _invoke(self, messages: list[dict[str, Any]]) -> set[str]:
        """Ids of the messages that the function did not process."""
        ids = {message["MessageId"] for message in messages}
        try:
            answer = self._pool.invoke({"Records": [sqs_record(m, self._source.queue_arn) for m in messages]})
        except InvocationFailed as failure:
            logger.error("%s: %s", self._source.function, failure)
            return ids
        return failed_ids(answer, ids) if self._source.partial else set()


def sqs_record(message: Mapping[str, Any], queue_arn: str) -> dict[str, Any]:
    """A received message as Lambda's SQS record."""
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {
            name: {key[0].lower() + key[1:]: value for key, value in attribute.items()}
            for name, attribute in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": REGION,
    }


def failed_ids(answer: Any, ids: set[str]) -> set[str]:
    """The messages that a ``batchItemFailures`` result names; all messages where it is malformed, as in Lambda."""
    if answer is None or answer == {}:
        return set()
    failures = (answer.get("batchItemFailures") or []) if isinstance(answer, dict) else None
    if not isinstance(failures, list):
        return set(ids)
    named = {str(failure.get("itemIdentifier")) if isinstance(failure, dict) else "" for failure in failures}
    return named if named <= ids else set(ids)
