"""From a queue's messages to jobs: what the three functions share.

A message is answered for as failed, and so repeated, where the cause lies with us or cannot be understood; a file that
cannot be scored is done with once its manifest says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from personalization.batch.jobs import Job, ObjectRef, job_of_key
from personalization.batch.runner import JobResult
from personalization.batch.triggers import object_refs
from personalization.core.errors import PersonalizationError
from personalization.core.observability import cause
from personalization.core.schema import job_of

Answer = dict[str, list[dict[str, str]]]


class BatchHandler:
    """Answers the messages of one job's queue.

    job      whose models it loads: files of other jobs are left alone
    bucket   whose inbox it works on
    run      scores one file
    """

    def __init__(self, job: str, bucket: str, run: Callable[[Job], JobResult], logger: Logger, metrics: Metrics) -> None:
        self._job, self._bucket, self._run = job, bucket, run
        self._logger, self._metrics = logger, metrics

    def __call__(self, event: Mapping[str, Any], _context: Any = None) -> Answer:
        """``{"batchItemFailures": [{"itemIdentifier": message id}]}``: the messages that are to come again."""
        self._count("FailedJobs", 0)
        failed = [record["messageId"] for record in event.get("Records", []) if not self._message(record)]
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}

    def _message(self, record: Mapping[str, Any]) -> bool:
        try:
            refs = object_refs(record["body"])
        except (KeyError, PersonalizationError) as error:
            self._logger.error("a message cannot be understood", extra={"cause": str(error)})
            return False
        done = [self._object(ref) for ref in refs]  # each of them, whatever becomes of the others
        return all(done)

    def _object(self, ref: ObjectRef) -> bool:
        job = job_of_key(ref.key)
        if ref.bucket != self._bucket or job is None or job_of(job.name) != self._job:
            self._logger.info("not a file of this job, left alone", extra={"object_key": ref.key})
            return True
        started = monotonic()
        try:
            outcome = self._run(job)
        except Exception as error:  # whatever it is: the message comes again, and in the end lies among the dead letters
            self._logger.error("a job broke off, it will be repeated", extra={"object_key": ref.key} | cause(error))
            return False
        self._report(ref, outcome, monotonic() - started)
        return True

    def _report(self, ref: ObjectRef, outcome: JobResult, seconds: float) -> None:
        facts: dict[str, Any] = {"object_key": ref.key, "status": outcome.status, "seconds": round(seconds, 3)}
        facts |= {"results": outcome.results} if outcome.results else {}
        if outcome.row_counts is not None:
            row_counts = outcome.row_counts
            facts |= {"rows_in": row_counts.rows_in, "rows_used": row_counts.rows_used, "rejected": row_counts.rejected}
            facts |= {"missing_columns": row_counts.missing_columns} if row_counts.missing_columns else {}
            self._count("RowsIn", row_counts.rows_in)
            self._count("RowsRejected", row_counts.rejected)
            self._metrics.add_metric(name="JobSeconds", unit=MetricUnit.Seconds, value=seconds)
        if outcome.status == "failed":
            self._count("FailedJobs", 1)
            self._logger.error("a job failed", extra=facts | {"cause": outcome.because})
        else:
            self._count("Jobs", 1)
            self._logger.info("a job is over", extra=facts)

    def _count(self, name: str, value: float) -> None:
        self._metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
