"""Logs and metrics, and the rules that keep user ids, paths, bodies and file contents out of them:

* A request is logged by its route template (``GET /v1/users/{user_id}``), never by its path or body (`Monitor.log_request`).
* A decision about ads is logged by its id and the ads that won, without the user (`Monitor.log_decision`).
* An unexpected error is logged by its type and place. Its message is logged only if it is ours or botocore's, because other
  messages quote data (`describe_error`). Our messages hold no ids: `core.errors` requires it, and `state.dynamodb` drops
  DynamoDB's messages, which name keys.
* A batch job is logged by the key of the dropped object, counts of rows and the reason of a failure, never by a row.

No function logs its event.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from botocore.exceptions import BotoCoreError, ClientError

from personalization.core.errors import PersonalizationError


@dataclass(slots=True)
class RequestRecord:
    """The facts of one request that are logged.

    route            template, such as ``GET /v1/users/{user_id}``
    degraded_reason  empty for a response that is not degraded
    model            name and version
    model_age_days   `None` without a model
    """

    route: str = "unknown"
    status: int = 500
    milliseconds: float = 0.0
    request_id: str = ""
    degraded_reason: str = ""
    model: str = ""
    model_age_days: float | None = None


class Monitor:
    """The log and the metrics of one function; `service` (the job's name) is the metrics' only dimension.

    Metrics: ``Answers``, ``DegradedAnswers``, ``RefusedRequests`` (4xx), ``FailedRequests`` (5xx), ``Latency``,
    ``ModelAgeDays``, and ``ModelRefreshFailures`` where a new model or catalog could not be loaded.
    """

    def __init__(self, service: str) -> None:
        self.logger = Logger(service=service, location=None)
        self._metrics = Metrics(service=service)

    def log_request(self, record: RequestRecord) -> None:
        """Write one log line and one metrics line."""
        extra: dict[str, Any] = {
            "route": record.route,
            "status": record.status,
            "ms": round(record.milliseconds, 2),
            "request_id": record.request_id,
            "model": record.model,
        }
        if record.degraded_reason:
            extra["degraded_reason"] = record.degraded_reason
        self.logger.info("request", extra=extra)
        self._count("Answers", 1)
        self._count("DegradedAnswers", 1 if record.degraded_reason else 0)
        self._count("RefusedRequests", 1 if 400 <= record.status < 500 else 0)
        self._count("FailedRequests", 1 if record.status >= 500 else 0)
        self._metrics.add_metric(name="Latency", unit=MetricUnit.Milliseconds, value=record.milliseconds)
        if record.model_age_days is not None:
            self._count("ModelAgeDays", record.model_age_days)
        self._metrics.flush_metrics()

    def log_decision(self, decision: Mapping[str, Any]) -> None:
        """Log which ads won with which propensity, as off-policy evaluation needs it.

        decision   the response of an ad decision
        """
        winners = [
            {"slot_id": slot["slot_id"]} | {name: slot["winner"][name] for name in ("ad_id", "propensity", "explored")}
            for slot in decision["slots"]
            if slot["winner"]
        ]
        facts = {"decision_id": decision["decision_id"], "exploration": decision["exploration"], "winners": winners}
        self.logger.info("decision", extra=facts)

    def log_error(self, route: str, request_id: str, error: BaseException) -> None:
        """Log an unexpected error."""
        self.logger.error("unexpected error", extra={"route": route, "request_id": request_id} | describe_error(error))

    def count_refresh_failure(self, _cause: str) -> None:
        """For `SnapshotReader`, which has logged the cause. The metric is written with that of the request."""
        self._count("ModelRefreshFailures", 1)

    def _count(self, name: str, value: float) -> None:
        self._metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)


def describe_error(error: BaseException) -> dict[str, Any]:
    """What may be logged of an error: its type and place, and the message of our own and botocore's errors."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    facts: dict[str, Any] = {
        "error": type(error).__name__,
        "at": [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames],
    }
    if isinstance(error, PersonalizationError | BotoCoreError | ClientError):
        facts["cause"] = str(error)
    return facts
