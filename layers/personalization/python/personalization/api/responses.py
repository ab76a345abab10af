"""The JSON body of a successful response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from personalization.core.time import format_timestamp

if TYPE_CHECKING:
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
    def degraded_reason(self) -> str:
        """Empty for a response that is not degraded."""
        return "; ".join(filter(None, (self.served.degraded_reason if self.served else "", *self.failures)))

    def to_json(self, request_id: str, now_ms: int) -> str:
        """The whole body. NaN and infinity are written as null.

        Routes whose numbers must be finite (probabilities, scores) check them before.
        """
        bundle, degraded_reason = self.served.bundle if self.served else None, self.degraded_reason
        envelope: dict[str, Any] = {
            "request_id": request_id,
            "model": {"name": bundle.name, "version": bundle.version} if bundle else None,
            "variant": self.served.variant if self.served else None,
            "degraded": bool(degraded_reason),
            **({"degraded_reason": degraded_reason} if degraded_reason else {}),
            "generated_at": format_timestamp(now_ms),
            **({"warnings": list(self.warnings)} if self.warnings else {}),
        }
        return dumps(envelope | self.content)


def dumps(content: dict[str, Any]) -> str:
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY).decode()
