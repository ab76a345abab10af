"""One API request: path ids decoded, headers and query read, the body validated."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Annotated, Final, TypeVar
from urllib.parse import unquote
from uuid import UUID, uuid5

import orjson
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from personalization.api.problems import UnsupportedMediaType, invalid_request
from personalization.core import cells
from personalization.core.errors import Fault, InvalidInput, TooLarge
from personalization.core.schema import MAX_BODY_BYTES, MAX_ID_LENGTH
from personalization.core.time import parse_timestamp

_JSON_TYPE: Final = re.compile(r"application/(\S+\+)?json")

# Ids that follow from an `Idempotency-Key` are uuid5 in this namespace.
NAMESPACE: Final = UUID("5f0f9a1c-0c53-5b1b-9d43-6a6d8f0c2f11")

Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH)]
# Text or number in JSON, text here: a union of both would report each fault twice, with a pointer to nothing.
Timestamp = Annotated[str, WithJsonSchema({"type": ["string", "number"]})]


class RequestBody(BaseModel):
    """Base of all request bodies. Unknown fields, NaN and infinity are refused; a number is accepted where text is expected."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, str_strip_whitespace=True, coerce_numbers_to_str=True)


Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request to one route.

    event             API Gateway's REST proxy event
    path_parameters   still percent-encoded
    request_id        of the response; the same for a repeated `Idempotency-Key`
    now_ms            milliseconds since 1970 UTC
    """

    event: APIGatewayProxyEvent
    path_parameters: Mapping[str, str]
    request_id: str
    now_ms: int

    @property
    def has_idempotency_key(self) -> bool:
        return bool(_idempotency_key(self.event))

    def path_id(self, name: str) -> str:
        """A decoded id of the path. Raises `InvalidInput`."""
        try:
            text = unquote(self.path_parameters[name], errors="strict").strip()
        except UnicodeDecodeError:
            raise InvalidInput(f"expected {name} in percent-encoded UTF-8, received other bytes") from None
        if cells.is_missing(text):
            raise InvalidInput(f"{name} must not be empty or a placeholder such as 'null'")
        if len(text) > MAX_ID_LENGTH:
            raise InvalidInput(f"expected {name} of at most {MAX_ID_LENGTH} characters, received {len(text)}")
        return text

    def query(self, name: str) -> str | None:
        """A parameter of the query string, `None` where it is missing."""
        return self.event.query_string_parameters.get(name)

    def parse_body(self, model: type[Model]) -> Model:
        """The validated body. Raises `UnsupportedMediaType`, `TooLarge` or `InvalidInput`."""
        raw = self._raw_body()
        try:
            if b"NaN" in raw or b"Infinity" in raw:  # where a field holds any value, pydantic accepts them as numbers
                orjson.loads(raw)
            return model.model_validate_json(raw)
        except orjson.JSONDecodeError as error:
            raise InvalidInput(f"expected JSON in the body, received something else: {error}") from None
        except ValidationError as error:
            raise invalid_request(error) from None

    def _raw_body(self) -> bytes:
        self._check_content_type()
        body, is_base64 = self.event.body or "", self.event.is_base64_encoded
        if len(body) > MAX_BODY_BYTES * (4 / 3 if is_base64 else 1) + 4:
            raise _too_large()
        try:
            raw = base64.b64decode(body, validate=True) if is_base64 else body.encode("utf-8", "surrogatepass")
        except (binascii.Error, ValueError):
            raise InvalidInput("expected the body in base64, received other characters") from None
        if len(raw) > MAX_BODY_BYTES:
            raise _too_large()
        if not raw.strip():
            raise InvalidInput("expected a JSON object in the body, received nothing")
        return raw

    def _check_content_type(self) -> None:
        headers = self.event.headers
        content_type, encoding = headers.get("Content-Type") or "", (headers.get("Content-Encoding") or "").lower()
        media_type, _, parameters = content_type.lower().partition(";")
        charset = parameters.partition("charset=")[2].strip(' "')
        if not _JSON_TYPE.fullmatch(media_type.strip()):
            raise UnsupportedMediaType(f"expected Content-Type application/json, received {content_type[:60]!r}")
        if charset not in ("", "utf-8", "utf8") or encoding not in ("", "identity"):
            received = f"charset {charset[:20]!r}, content encoding {encoding[:20]!r}"
            raise UnsupportedMediaType(f"expected uncompressed UTF-8, received {received}")


def request_id_of(event: APIGatewayProxyEvent, new_id: Callable[[], str]) -> str:
    """The id that follows from the `Idempotency-Key`, else a new one."""
    key = _idempotency_key(event)
    return str(uuid5(NAMESPACE, key)) if key else new_id()


def timestamp_ms(value: str | float | None, default_ms: int, pointer: str = "/as_of", zone: tzinfo = UTC) -> int:
    """Milliseconds of a field that holds RFC 3339 or unix time; `default_ms` for `None`. Raises `InvalidInput`."""
    if value is None:
        return default_ms
    moment = parse_timestamp(value, zone)
    if moment is None:
        fault = Fault(pointer, cells.expected("RFC 3339 or unix time", value))
        raise InvalidInput(f"{pointer.rpartition('/')[2]} is not a valid timestamp", [fault])
    return moment


def _idempotency_key(event: APIGatewayProxyEvent) -> str:
    return (event.headers.get("Idempotency-Key") or "").strip()


def _too_large() -> TooLarge:
    return TooLarge(f"expected a body of at most {MAX_BODY_BYTES} bytes, received more")
