"""One request as the routes see it: path parameters decoded, the body checked, its ids settled."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import unquote
from uuid import UUID, uuid5

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from personalization.api.problems import UnsupportedMediaType, refusal
from personalization.core import cells
from personalization.core.errors import Fault, InvalidInput, TooLarge
from personalization.core.schema import MAX_BODY_BYTES, MAX_ID_LENGTH
from personalization.core.time import parse_timestamp

# Ids that follow from something are uuid5 in this namespace.
NAMESPACE: Final = UUID("5f0f9a1c-0c53-5b1b-9d43-6a6d8f0c2f11")


class Body(BaseModel):
    """Base of all request bodies: a word that is not known is a mistake, said so at once."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, str_strip_whitespace=True, coerce_numbers_to_str=True)


Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Call:
    """A request.

    event        API Gateway's REST proxy event
    path         parameters of the path, as it has them: percent-encoded
    request_id   of the answer; the same for a repeated `Idempotency-Key`
    now          unix seconds
    """

    event: Mapping[str, Any]
    path: Mapping[str, str]
    request_id: str
    now: float

    @property
    def now_ms(self) -> int:
        return int(self.now * 1000)

    def path_id(self, name: str) -> str:
        """An id of the path, decoded. Raises `InvalidInput`."""
        try:
            text = unquote(self.path[name], errors="strict").strip()
        except UnicodeDecodeError:
            raise InvalidInput(f"expected {name} as percent-encoded UTF-8") from None
        if cells.is_missing(text):
            raise InvalidInput(f"expected {name}, received a word for nothing")
        if len(text) > MAX_ID_LENGTH:
            raise InvalidInput(f"expected {name} of at most {MAX_ID_LENGTH} characters, received {len(text)}")
        return text

    def query(self, name: str) -> str | None:
        """A parameter of the query string, `None` where it is not given."""
        value = (self.event.get("queryStringParameters") or {}).get(name)
        return None if value is None else str(value)

    def body(self, model: type[Model]) -> Model:
        """The body, validated in one go. Raises `UnsupportedMediaType`, `TooLarge` or `InvalidInput`."""
        raw = self._raw_body()
        if b"NaN" in raw or b"Infinity" in raw:  # pydantic takes them for numbers where anything is allowed; orjson does not
            try:
                orjson.loads(raw)
            except orjson.JSONDecodeError as error:
                raise InvalidInput(f"the body is not JSON: {error}") from None
        try:
            return model.model_validate_json(raw)
        except ValidationError as error:
            raise refusal(error) from None

    def _raw_body(self) -> bytes:
        body = self.event.get("body") or ""
        content_type = header(self.event, "content-type")
        media_type, _, parameters = content_type.partition(";")
        media_type = media_type.strip().lower()
        if not (media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))):
            raise UnsupportedMediaType(f"expected the content type application/json, received {content_type[:60]!r}")
        charset = parameters.lower().partition("charset=")[2].strip(' "')
        if charset not in ("", "utf-8", "utf8") or header(self.event, "content-encoding").lower() not in ("", "identity"):
            raise UnsupportedMediaType("expected plain UTF-8")
        if len(body) > MAX_BODY_BYTES * (4 / 3 if self.event.get("isBase64Encoded") else 1) + 4:
            raise _too_large()
        if self.event.get("isBase64Encoded"):
            try:
                raw = base64.b64decode(body, validate=True)
            except (binascii.Error, ValueError):
                raise InvalidInput("the body is said to be base64 and is not") from None
        else:
            raw = body.encode("utf-8", "surrogatepass")
        if len(raw) > MAX_BODY_BYTES:
            raise _too_large()
        if not raw.strip():
            raise InvalidInput("expected a JSON object in the body, received nothing")
        return raw


def header(event: Mapping[str, Any], name: str) -> str:
    """A header's value, empty where there is none; names are in lower case."""
    headers: Mapping[str, Any] = event.get("headers") or {}
    value = headers.get(name)
    if value is None:
        value = next((content for key, content in headers.items() if key.lower() == name), None)
    return str(value) if value else ""


def request_id_of(event: Mapping[str, Any], new_id: Callable[[], str]) -> str:
    """A new id, or the one that follows from the `Idempotency-Key`."""
    key = header(event, "idempotency-key").strip()
    return str(uuid5(NAMESPACE, key)) if key else new_id()


def moment_ms(value: str | float | None, now_ms: int, pointer: str = "/as_of") -> int:
    """Milliseconds of a stated moment, or of now. Raises `InvalidInput`."""
    if value is None:
        return now_ms
    moment = parse_timestamp(value)
    if moment is None:
        raise InvalidInput(
            f"{pointer.removeprefix('/')} is not a valid timestamp",
            [Fault(pointer, cells.expected("RFC 3339 or unix time", value))],
        )
    return moment


def _too_large() -> TooLarge:
    return TooLarge(f"expected a body of at most {MAX_BODY_BYTES} bytes, received more")
