"""Errors as HTTP answers: RFC 9457, ``application/problem+json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydantic import ValidationError

from personalization.core.errors import Fault, InvalidInput, PersonalizationError, TooLarge

PROBLEM_JSON: Final = "application/problem+json"
MAX_FAULTS: Final = 100  # that an answer lists; its detail says how many there are

_TOO_MANY: Final = frozenset({"too_long", "string_too_long"})


class MethodNotAllowed(PersonalizationError):
    """The path is known, but not with this method."""

    status, code, title = 405, "method-not-allowed", "Not with this method"

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__(f"expected one of: {', '.join(allowed)}")
        self.allowed = ", ".join(allowed)


class UnsupportedMediaType(PersonalizationError):
    """The body is not said to be JSON."""

    status, code, title = 415, "unsupported-media-type", "Unsupported media type"


def problem(error: Exception, request_id: str) -> dict[str, Any]:
    """The body of an error's answer. What is not ours says nothing of itself."""
    known = error if isinstance(error, PersonalizationError) else PersonalizationError("the request could not be answered")
    detail = known.detail
    if known.status == 500:  # our own fault: the log says which
        detail = "the request could not be answered; its request_id is in the log"
    if len(known.faults) > MAX_FAULTS:
        detail += f"; the first {MAX_FAULTS} of {len(known.faults)} errors follow"
    return {
        "type": "about:blank",
        "title": known.title,
        "status": known.status,
        "detail": detail,
        "code": known.code,
        "request_id": request_id,
        "errors": [{"pointer": fault.pointer, "detail": fault.detail} for fault in known.faults[:MAX_FAULTS]],
    }


def refusal(error: ValidationError) -> PersonalizationError:
    """What pydantic found, as ours: too large where everything it found is beyond a published maximum."""
    found = error.errors(include_url=False, include_context=False)
    faults = [Fault(pointer(*each["loc"]), _told(each["msg"], each["input"])) for each in found]
    if found and all(each["type"] in _TOO_MANY for each in found):
        return TooLarge("more than a published maximum", faults)
    if found[0]["type"] == "json_invalid":
        return InvalidInput(f"the body is not JSON: {found[0]['msg'].removeprefix('Invalid JSON: ')}")
    return InvalidInput("the body is not what this route takes", faults)


def pointer(*parts: str | int) -> str:
    """RFC 6901 JSON pointer to a place in the body.

    >>> pointer("rows", 3, "a/b")
    '/rows/3/a~1b'
    """
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _told(message: str, received: Any) -> str:
    if isinstance(received, str | int | float | bool) or received is None:
        text = repr(received)
        return f"{message}; received {text[:40]}{'…' if len(text) > 40 else ''}"
    return message
