"""Errors as HTTP responses: RFC 9457, ``application/problem+json``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from personalization.core.errors import Fault, InvalidInput, PersonalizationError, TooLarge

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

PROBLEM_JSON: Final = "application/problem+json"
MAX_FAULTS: Final = 100  # listed in a response; its detail gives the whole number

# By pydantic's type of error; its other messages are taken as they are.
_MESSAGES: Final = {
    "value_error": "{error}",
    "missing": "expected a value, received none: the field is required",
    "extra_forbidden": "expected a field of this route's schema, received {field!r:.40}",
    "too_long": "expected at most {max_length} entries, received {actual_length}",
    "too_short": "expected at least {min_length} entries, received {actual_length}",
    "string_too_long": "expected at most {max_length} characters, received {length}",
    "string_too_short": "expected at least {min_length} characters, received {length}",
}
_TOO_LONG: Final = frozenset({"too_long", "string_too_long"})


class MethodNotAllowed(PersonalizationError):
    """The path exists, but not with this method."""

    status, code, title = 405, "method-not-allowed", "The method is not allowed"

    def __init__(self, allowed: Sequence[str]) -> None:
        self.allowed = ", ".join(allowed)
        super().__init__(f"expected one of the methods: {self.allowed}")


class UnsupportedMediaType(PersonalizationError):
    """The body is not declared as JSON."""

    status, code, title = 415, "unsupported-media-type", "The media type is not supported"


def problem(error: Exception, request_id: str) -> dict[str, Any]:
    """The body of an error response. An internal error shows no detail: its message may quote data."""
    ours = error if isinstance(error, PersonalizationError) else PersonalizationError("")
    detail = ours.detail
    if ours.status == 500:
        detail = "the request failed; the log has an entry with its request_id"
    if len(ours.faults) > MAX_FAULTS:
        detail += f"; the first {MAX_FAULTS} of {len(ours.faults)} errors follow"
    return {
        "type": "about:blank",
        "title": ours.title,
        "status": ours.status,
        "detail": detail,
        "code": ours.code,
        "request_id": request_id,
        "errors": [{"pointer": fault.pointer, "detail": fault.detail} for fault in ours.faults[:MAX_FAULTS]],
    }


def invalid_request(error: ValidationError) -> PersonalizationError:
    """`TooLarge` where every fault is beyond a published maximum, else `InvalidInput`; with a pointer for each fault."""
    errors = error.errors(include_url=False)
    if errors[0]["type"] == "json_invalid":
        message = errors[0]["msg"].removeprefix("Invalid JSON: ")
        return InvalidInput(f"expected JSON in the body, received something else: {message}")
    faults = [Fault(pointer(*each["loc"]), _detail(each)) for each in errors]
    if all(each["type"] in _TOO_LONG for each in errors):
        return TooLarge("the request exceeds a published maximum", faults)
    return InvalidInput("the request does not match this route's schema", faults)


def pointer(*parts: str | int) -> str:
    """RFC 6901 JSON pointer to a place in the body.

    >>> pointer("rows", 3, "a/b")
    '/rows/3/a~1b'
    """
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _detail(error: ErrorDetails) -> str:
    """One of pydantic's errors as "expected …, received …"."""
    received = error["input"]
    if error["type"] in _MESSAGES:
        length = len(str(received).strip())
        return _MESSAGES[error["type"]].format(length=length, field=(error["loc"] or ("",))[-1], **error.get("ctx", {}))
    expected = error["msg"].partition(", unable")[0].replace("Input should be ", "expected ", 1)
    expected = re.sub("^expected (greater|less)", r"expected a number \1", expected)
    if isinstance(received, list | dict):
        return f"{expected}, received {'an array' if isinstance(received, list) else 'an object'}"
    text = "null" if received is None else repr(received)
    return f"{expected}, received {text[:40]}{'…' if len(text) > 40 else ''}"
