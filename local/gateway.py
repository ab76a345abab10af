"""A stand-in for API Gateway: the template's routes, its key check and its own responses."""

from __future__ import annotations

import hmac
import json
import logging
import re
import time
from collections.abc import Mapping
from typing import Any, Final

from local.plan import Api, GatewayResponse, TemplateRoute
from local.pool import FunctionPool, InvocationFailed
from local.proxy import MalformedResponse, Request, Response, http_response, match, proxy_event

INTEGRATION_SECONDS: Final = 29.0  # API Gateway's limit for a function

# Status and message of API Gateway's own responses, by type, where the template has no template for them.
_DEFAULTS: Final[Mapping[str, tuple[int, str]]] = {
    "BAD_REQUEST_BODY": (400, "Invalid request body"),
    "MISSING_AUTHENTICATION_TOKEN": (403, "Missing Authentication Token"),
    "INVALID_API_KEY": (403, "Forbidden"),
    "REQUEST_TOO_LARGE": (413, "Request Too Long"),
    "DEFAULT_5XX": (502, "Internal server error"),
    "INTEGRATION_TIMEOUT": (504, "Endpoint request timed out"),
}
_CONTEXT = re.compile(r"\$(?:\{context\.([\w.]+)\}|context\.([\w.]+\w))")
_JSON: Final = "application/json"
logger = logging.getLogger(__name__)


class Gateway:
    """Routes requests to the functions of the template.

    pools     by the function's logical id
    api_key   required on the routes that need a key; `None` requires none
    """

    def __init__(self, api: Api, pools: Mapping[str, FunctionPool], api_key: str | None = None) -> None:
        self.api = api
        self._pools = pools
        self._api_key = api_key

    def respond(self, request: Request) -> Response:
        """The response to a request; every failure has a response too."""
        matched = match(self.api.routes, request.method, request.path)
        if not matched:
            return self.own_response("MISSING_AUTHENTICATION_TOKEN", request)
        route, parameters = matched
        started = time.monotonic()
        if route.key_required and self._api_key and not _same(request.header("x-api-key"), self._api_key):
            response = self.own_response("INVALID_API_KEY", request)
        else:
            response = self._from_function(route, parameters, request)
        milliseconds = (time.monotonic() - started) * 1000
        # The route, not the path: paths hold user ids.
        logger.info("%s %s %d %.0f ms", route.method, route.path, response.status, milliseconds)
        return response

    def _from_function(self, route: TemplateRoute, parameters: Mapping[str, str], request: Request) -> Response:
        event = proxy_event(request, route, parameters, self.api.binary_types)
        try:
            result = self._pools[route.function].invoke(event, limit=INTEGRATION_SECONDS)
            return http_response(result, request, self.api.binary_types)
        except InvocationFailed as failure:
            logger.error("%s: %s", route.function, failure)
            kinds = {"RequestTooLarge": "REQUEST_TOO_LARGE", "Throttled": "INTEGRATION_TIMEOUT"}
            return self.own_response(kinds.get(failure.kind, "DEFAULT_5XX"), request)
        except MalformedResponse as malformed:
            logger.error("%s: %s", route.function, malformed)
            return self.own_response("DEFAULT_5XX", request)

    def own_response(self, kind: str, request: Request) -> Response:
        """A response of the gateway itself, in the template's words, else in API Gateway's."""
        status, message = _DEFAULTS[kind]
        family = "DEFAULT_4XX" if status < 500 else "DEFAULT_5XX"
        response = self.api.responses.get(kind) or self.api.responses.get(family) or GatewayResponse(None, {}, {})
        templates = response.templates or {_JSON: '{"message": $context.error.messageString}'}
        media_type = _JSON if _JSON in templates else next(iter(templates))
        values = {
            "error.message": message,
            "error.messageString": json.dumps(message),
            "error.responseType": kind,
            "requestId": request.request_id,
            "extendedRequestId": request.request_id,
            "stage": request.stage,
            "httpMethod": request.method,
        }
        body = _CONTEXT.sub(lambda name: values.get(name[1] or name[2], ""), templates[media_type])
        headers = {"content-type": media_type} | {name.lower(): value for name, value in response.headers.items()}
        return Response(response.status or status, list(headers.items()), body.encode())


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def describe(route: TemplateRoute) -> dict[str, Any]:
    """A route as in stack.json."""
    return {"method": route.method, "path": route.path, "function": route.function, "key": route.key_required}
