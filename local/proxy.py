"""HTTP requests as API Gateway's REST proxy events, and results of functions as HTTP responses.

The shapes are those of https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html.
A REST API passes the path and its parameters percent-encoded, and the query decoded.
"""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from local.intrinsics import ACCOUNT
from local.plan import TemplateRoute


class MalformedResponse(Exception):
    """The result of a function is not a proxy response."""


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request. `path` is percent-encoded and has no stage."""

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    source_ip: str
    stage: str
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def header(self, name: str) -> str:
        """The last value of a header, '' where there is none."""
        return next((value for key, value in reversed(self.headers) if key.lower() == name), "")


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


def match(routes: Sequence[TemplateRoute], method: str, path: str) -> tuple[TemplateRoute, dict[str, str]] | None:
    """The route of a request and its path parameters; a literal segment precedes a parameter, which precedes ``{proxy+}``."""
    segments = path.rstrip("/").split("/")
    candidates = [
        (route, _parameters(route.path.rstrip("/").split("/"), segments)) for route in routes if route.method == method
    ]
    found = [(route, parameters) for route, parameters in candidates if parameters is not None]
    return min(found, key=lambda pair: [_rank(part) for part in pair[0].path.split("/")], default=None)


def _parameters(pattern: list[str], segments: list[str]) -> dict[str, str] | None:
    greedy = pattern[-1].endswith("+}")
    if len(pattern) > len(segments) if greedy else len(pattern) != len(segments):
        return None
    parameters = {}
    for position, part in enumerate(pattern):
        if part.endswith("+}"):
            parameters[part[1:-2]] = "/".join(segments[position:])
        elif part.startswith("{"):
            if not segments[position]:
                return None
            parameters[part[1:-1]] = segments[position]
        elif part != segments[position]:
            return None
    return parameters


def _rank(part: str) -> int:
    return 2 if part.endswith("+}") else 1 if part.startswith("{") else 0


def proxy_event(
    request: Request, route: TemplateRoute, parameters: Mapping[str, str], binary_types: Sequence[str]
) -> dict[str, Any]:
    """The event for the function of `route`."""
    query: dict[str, list[str]] = {}
    for name, value in parse_qsl(request.query, keep_blank_values=True):
        query.setdefault(name, []).append(value)
    headers: dict[str, list[str]] = {}
    for name, value in request.headers:
        headers.setdefault(name, []).append(value)
    binary = is_binary(request.header("content-type"), binary_types)
    now = time.time()
    return {
        "resource": route.path,
        "path": request.path,
        "httpMethod": request.method,
        "headers": {name: values[-1] for name, values in headers.items()} or None,
        "multiValueHeaders": headers or None,
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": dict(parameters) or None,
        "stageVariables": None,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "local",
            "domainName": request.header("host"),
            "domainPrefix": "local",
            "extendedRequestId": request.request_id,
            "httpMethod": request.method,
            "identity": {"sourceIp": request.source_ip, "userAgent": request.header("user-agent") or None},
            "path": f"/{request.stage}{request.path}",
            "protocol": "HTTP/1.1",
            "requestId": request.request_id,
            "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "requestTimeEpoch": int(now * 1000),
            "resourceId": "local",
            "resourcePath": route.path,
            "stage": request.stage,
        },
        "body": _body_text(request.body, binary),
        "isBase64Encoded": bool(request.body) and binary,
    }


def _body_text(body: bytes, binary: bool) -> str | None:
    if not body:
        return None
    # API Gateway decodes a body as UTF-8 where its media type is not listed as binary.
    return base64.b64encode(body).decode() if binary else body.decode("utf-8", "replace")


def http_response(result: Any, request: Request, binary_types: Sequence[str]) -> Response:
    """The HTTP response for the result of a function. Raises `MalformedResponse`."""
    if not isinstance(result, dict):
        raise MalformedResponse(f"expected an object with statusCode, received a {type(result).__name__}")
    unknown = result.keys() - {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded", "cookies"}
    if unknown:
        raise MalformedResponse(f"keys that a proxy response does not have: {', '.join(sorted(unknown))}")
    try:
        status = int(result.get("statusCode", 200))
    except (TypeError, ValueError):
        raise MalformedResponse(f"expected a numeric statusCode, received {result['statusCode']!r}") from None
    body = result.get("body")
    if body is not None and not isinstance(body, str):
        raise MalformedResponse(f"expected a text for body, received a {type(body).__name__}")
    headers = {name.lower(): [_text(value)] for name, value in (result.get("headers") or {}).items()}
    for name, values in (result.get("multiValueHeaders") or {}).items():
        headers[name.lower()] = [_text(value) for value in values]
    headers.setdefault("content-type", ["application/json"])
    # Base64 is decoded where the type that the client accepts, or the content type, is listed as binary.
    decoded = result.get("isBase64Encoded") and any(
        is_binary(kind, binary_types) for kind in (request.header("accept").split(",")[0], headers["content-type"][0])
    )
    content = base64.b64decode(body or "") if decoded else (body or "").encode("utf-8", "surrogatepass")
    return Response(status, [(name, value) for name, values in headers.items() for value in values], content)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def is_binary(media_type: str, binary_types: Sequence[str]) -> bool:
    """Whether a content type is among the API's binary media types."""
    kind = media_type.split(";")[0].strip().lower()
    if not kind:
        return "*/*" in binary_types
    return any(
        pattern in ("*/*", kind) or (pattern.endswith("/*") and kind.startswith(pattern[:-1])) for pattern in binary_types
    )
