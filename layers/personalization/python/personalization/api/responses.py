"""What every answer says about itself, and how it leaves the house."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from personalization.api.requests import Call
from personalization.bundles.bundle import Bundle
from personalization.core.time import DAY_MS, format_timestamp, parse_timestamp


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """What a route answers.

    content          its own part of the body
    bundle           that answered, `None` where none was needed or none could be had
    variant          ``champion`` or ``challenger``, `None` without a bundle
    degraded_reason  why the answer is less than it should be, empty where it is not
    warnings         what the caller may want to know
    """

    content: dict[str, Any]
    bundle: Bundle | None = None
    variant: str | None = None
    degraded_reason: str = ""
    warnings: list[str] = field(default_factory=list)

    @property
    def model(self) -> dict[str, str] | None:
        return {"name": self.bundle.name, "version": self.bundle.version} if self.bundle else None

    def age_days(self, now: float) -> float | None:
        """Age of the model that answered."""
        if self.bundle is None:
            return None
        created = parse_timestamp(self.bundle.manifest["created_at"])
        return None if created is None else max(0.0, (now * 1000 - created) / DAY_MS)


def body(answer: ApiResponse, call: Call) -> str:
    """The JSON of an answer. No NaN and no infinity leave: as numbers they are written as null, «not known».

    Routes whose numbers must be known (probabilities, scores) check them before.
    """
    envelope: dict[str, Any] = {
        "request_id": call.request_id,
        "model": answer.model,
        "variant": answer.variant,
        "degraded": bool(answer.degraded_reason),
    }
    if answer.degraded_reason:
        envelope["degraded_reason"] = answer.degraded_reason
    envelope["generated_at"] = format_timestamp(call.now_ms)
    if answer.warnings:
        envelope["warnings"] = answer.warnings
    return dumps(envelope | answer.content)


def dumps(content: dict[str, Any]) -> str:
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY).decode()
