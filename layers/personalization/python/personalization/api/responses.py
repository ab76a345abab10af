"""The JSON body of a successful response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from personalization.core.time import DAY_MS, format_timestamp, parse_timestamp

if TYPE_CHECKING:
    from personalization.api.requests import ApiRequest
    from personalization.api.services import ServedModel


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """What a route returns.

    content    fields of the body besides the envelope that all responses share
    served     model behind the content, `None` for a route without one
    warnings   sentences for the caller
    failures   why the response is degraded besides the model, an empty text for no failure
    """

    content: dict[str, Any]
    served: ServedModel | None = None
    warnings: Sequence[str] = ()
    failures: Sequence[str] = ()

    @property
    def model(self) -> dict[str, str] | None:
        bundle = self.served.bundle if self.served else None
        return {"name": bundle.name, "version": bundle.version} if bundle else None

    @property
    def degraded_reason(self) -> str:
        """Empty for a response that is not degraded."""
        return "; ".join(filter(None, (self.served.degraded_reason if self.served else "", *self.failures)))

    def model_age_days(self, now_ms: int) -> float | None:
        """Days since the model was created."""
        bundle = self.served.bundle if self.served else None
        created_ms = parse_timestamp(bundle.manifest["created_at"]) if bundle else None
        return None if created_ms is None else max(0.0, (now_ms - created_ms) / DAY_MS)

    def to_json(self, request: ApiRequest) -> str:
        """The whole body. NaN and infinity are written as null.

        Routes whose numbers must be finite (probabilities, scores) check them before.
        """
        envelope: dict[str, Any] = {
            "request_id": request.request_id,
            "model": self.model,
            "variant": self.served.variant if self.served else None,
            "degraded": bool(self.degraded_reason),
        }
        if self.degraded_reason:
            envelope["degraded_reason"] = self.degraded_reason
        envelope["generated_at"] = format_timestamp(request.now_ms)
        if self.warnings:
            envelope["warnings"] = list(self.warnings)
        return dumps(envelope | self.content)


def dumps(content: dict[str, Any]) -> str:
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY).decode()
