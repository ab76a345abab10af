"""What is told of each request: one JSON line, and metrics in the embedded metric format. Never a user, a path or a body."""

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
class Observed:
    """What is logged of one request.

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
    ``ModelAgeDays``, and ``ModelRefreshFailures`` when the model store had nothing good.
    """

    def __init__(self, service: str) -> None:
        self.logger = Logger(service=service, location=None)
        self._metrics = Metrics(service=service)

    def answered(self, what: Observed) -> None:
        """One log line and one metrics line."""
        degraded = {"degraded_reason": what.degraded_reason} if what.degraded_reason else {}
        self.logger.info(
            "request",
            extra={
                "route": what.route,
                "status": what.status,
                "ms": round(what.milliseconds, 2),
                "request_id": what.request_id,
                "model": what.model,
                **degraded,
            },
        )
        self._count("Answers", 1)
        self._count("DegradedAnswers", 1 if what.degraded_reason else 0)
        self._count("RefusedRequests", 1 if 400 <= what.status < 500 else 0)
        self._count("FailedRequests", 1 if what.status >= 500 else 0)
        self._metrics.add_metric(name="Latency", unit=MetricUnit.Milliseconds, value=what.milliseconds)
        if what.model_age_days is not None:
            self._count("ModelAgeDays", what.model_age_days)
        self._metrics.flush_metrics()

    def decided(self, decision: Mapping[str, Any]) -> None:
        """What was shown, and with what chance: what an off-policy evaluation needs of it. Nothing says for whom."""
        winners = {slot["slot_id"]: slot["winner"] for slot in decision["slots"] if slot["winner"]}
        self.logger.info(
            "decision",
            extra={
                "decision_id": decision["decision_id"],
                "exploration": decision["exploration"],
                "winners": [
                    {"slot_id": slot, **{name: winner[name] for name in ("ad_id", "propensity", "explored")}}
                    for slot, winner in winners.items()
                ],
            },
        )

    def failed(self, route: str, request_id: str, error: BaseException) -> None:
        """An error that nobody expected, without its words: they may quote data."""
        self.logger.error("unexpected error", extra={"route": route, "request_id": request_id} | cause(error))

    def model_not_refreshed(self, _cause: str) -> None:
        """For `ModelStore`, which has logged the cause; the metric leaves with the request's."""
        self._count("ModelRefreshFailures", 1)

    def _count(self, name: str, value: float) -> None:
        self._metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)


def cause(error: BaseException) -> dict[str, Any]:
    """What a log may say of an error: the words of ours and botocore's, of others only where they arose (they quote data)."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    facts: dict[str, Any] = {
        "error": type(error).__name__,
        "at": [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames],
    }
    if isinstance(error, PersonalizationError | BotoCoreError | ClientError):
        facts["cause"] = str(error)
    return facts
