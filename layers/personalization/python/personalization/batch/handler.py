"""From the messages of a queue to batch jobs.

A message is reported as failed, and SQS delivers it again, when a job was interrupted (a store did not answer, no model could
be loaded) or when the message is not an S3 event. A file that cannot be scored is not delivered again: its manifest and
``_FAILED`` say why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Final
from urllib.parse import unquote_plus

import orjson
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes import S3Event, S3EventBridgeNotificationEvent
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from personalization.batch.jobs import Job, ObjectRef, job_of_key
from personalization.batch.runner import JobResult
from personalization.core.errors import InvalidInput, PersonalizationError
from personalization.core.observability import describe_error
from personalization.core.schema import job_of

_CREATED: Final = "Object Created"


class JobInterrupted(PersonalizationError):
    """A job of this message did not end; SQS delivers the message again."""


class BatchHandler:
    """Works on the messages of one job's queue.

    job      profiles | recommendations | ads; files of other jobs are ignored
    bucket   the bucket of the inbox; files of other buckets are ignored
    run      scores one file (`Runner.run`)
    """

    def __init__(self, job: str, bucket: str, run: Callable[[Job], JobResult], logger: Logger, metrics: Metrics) -> None:
        self._job, self._bucket, self._run = job, bucket, run
        self._logger, self._metrics = logger, metrics
        self._processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)

    def __call__(self, event: dict[str, Any], context: Any = None) -> Mapping[str, Any]:
        """``{"batchItemFailures": [{"itemIdentifier": message id}]}``: the messages that SQS delivers again."""
        self._count("FailedJobs", 0)
        return process_partial_response(event, self._handle_message, self._processor, context)

    def _handle_message(self, record: SQSRecord) -> None:
        try:
            refs = object_refs(record.body)
        except InvalidInput as error:
            self._logger.error("a message is not an S3 event", extra={"cause": error.detail})
            raise
        ended = [self._handle_object(ref) for ref in refs]  # one interrupted job does not stop the others
        if not all(ended):
            raise JobInterrupted("a job was interrupted")

    def _handle_object(self, ref: ObjectRef) -> bool:
        """Run the job of one object; False where it was interrupted."""
        job = job_of_key(ref.key)
        if ref.bucket != self._bucket or job is None or job_of(job.name) != self._job:
            self._logger.info("an object is not a file of this job and is ignored", extra={"object_key": ref.key})
            return True
        started = monotonic()
        try:
            result = self._run(job)
        except Exception as error:  # whatever it is, SQS delivers the message again and moves it to the dead letters in the end
            self._logger.error(
                "a job was interrupted and will be repeated", extra={"object_key": ref.key} | describe_error(error)
            )
            return False
        self._report(ref, result, monotonic() - started)
        return True

    def _report(self, ref: ObjectRef, result: JobResult, seconds: float) -> None:
        facts: dict[str, Any] = {"object_key": ref.key, "status": result.status, "seconds": round(seconds, 3)}
        if result.results:
            facts["results"] = result.results
        if counts := result.row_counts:
            facts |= {"rows_in": counts.rows_in, "rows_used": counts.rows_used, "rejected": counts.rejected}
            if counts.missing_columns:
                facts["missing_columns"] = counts.missing_columns
            self._count("RowsIn", counts.rows_in)
            self._count("RowsRejected", counts.rejected)
            self._metrics.add_metric(name="JobSeconds", unit=MetricUnit.Seconds, value=seconds)
        if result.status == "failed":
            self._count("FailedJobs", 1)
            self._logger.error("a job failed", extra=facts | {"cause": result.reason})
        else:
            self._count("Jobs", 1)
            self._logger.info("a job ended", extra=facts)

    def _count(self, name: str, value: float) -> None:
        self._metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)


def object_refs(body: str) -> list[ObjectRef]:
    """The objects whose creation a message announces; none for a test event or an event of another kind.

    Takes both shapes: EventBridge's event, whose key is plain, and S3's own notification, whose key is URL-encoded.

    Raises `InvalidInput` for a body of neither shape.
    """
    try:
        event = orjson.loads(body)
        if "detail-type" in event:
            detail = S3EventBridgeNotificationEvent(event).detail
            # EventBridge does not URL-encode keys; Powertools 3.37 decodes `detail.object.key` all the same.
            return [ObjectRef(detail.bucket.name, detail.object["key"])] if event["detail-type"] == _CREATED else []
        if event.get("Event") == "s3:TestEvent":
            return []
        return [
            ObjectRef(record.s3.bucket.name, unquote_plus(record.s3.get_object.key))
            for record in S3Event(event).records
            if record.event_name.removeprefix("s3:").startswith("ObjectCreated:")
        ]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(
            f"expected an S3 event as the message's body, received another shape ({type(error).__name__})"
        ) from None
