"""From routes to a Lambda handler: Powertools finds the route; errors, logs and metrics are handled once for all routes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, NamedTuple

from aws_lambda_powertools.event_handler.api_gateway import APIGatewayRestResolver, Response
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent

from personalization.api.problems import PROBLEM_JSON, MethodNotAllowed, problem
from personalization.api.requests import ApiRequest, request_id_of
from personalization.api.responses import ApiResponse, dumps
from personalization.api.services import Services
from personalization.core.errors import NotFound, PersonalizationError
from personalization.core.observability import RequestRecord

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]

_PARAMETER = re.compile(r"\{(\w+)\}")
_HEADERS = {"Cache-Control": "no-store"}  # responses hold personal data


class Route(NamedTuple):
    """A method, a path with ``{parameters}``, and the function behind them."""

    method: str
    path: str
    handle: Callable[[ApiRequest], ApiResponse]


def application(services: Services, routes: Sequence[Route]) -> Handler:
    """A Lambda handler for API Gateway's REST proxy events. It never raises: every failure becomes a problem response."""
    return _Application(services, routes)


class _Application:
    def __init__(self, services: Services, routes: Sequence[Route]) -> None:
        self._services = services
        self._resolver = APIGatewayRestResolver()
        # Powertools responds 404 to a wrong method; these patterns give the methods of a path.
        self._methods = [(re.compile(_PARAMETER.sub("[^/]+", route.path) + "/*"), route.method) for route in routes]
        for route in routes:
            rule = _PARAMETER.sub(r"<\1>", route.path)
            self._resolver.route(rule, route.method)(lambda route=route, **path: self._handle(route, path))
        self._resolver.not_found(self._not_found)
        self._record = RequestRecord()  # of the current request: a function handles one at a time

    def __call__(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        started = perf_counter()
        self._record = record = RequestRecord()
        try:
            record.request_id = request_id_of(APIGatewayProxyEvent(event), self._services.new_id)
            response = self._resolver.resolve(event, context)
        except Exception as error:  # not a proxy event
            record.request_id = record.request_id or self._services.new_id()
            failure = self._problem(error)
            headers = {name: [value] for name, value in failure.headers.items()}
            response = {
                "statusCode": failure.status_code, "multiValueHeaders": headers, "body": failure.body, "isBase64Encoded": False,
            }  # fmt: skip
        record.milliseconds = (perf_counter() - started) * 1000
        self._services.monitor.log_request(record)
        return response

    def _handle(self, route: Route, path_parameters: dict[str, str]) -> Response[str]:
        record, now_ms = self._record, int(self._services.clock() * 1000)
        record.route = f"{route.method} {route.path}"
        try:
            response = route.handle(ApiRequest(self._resolver.current_event, path_parameters, record.request_id, now_ms))
            body = response.to_json(record.request_id, now_ms)
        except Exception as error:
            return self._problem(error)
        record.status, record.degraded_reason = 200, response.degraded_reason
        if response.served and response.served.bundle:
            record.model, record.model_age_days = response.served.label, response.served.age_days(now_ms)
        return Response(200, "application/json", body, _HEADERS)

    def _not_found(self, _error: Exception) -> Response[str]:
        path = self._resolver.current_event.path or ""
        allowed = sorted({method for pattern, method in self._methods if pattern.fullmatch(path)})
        return self._problem(MethodNotAllowed(allowed) if allowed else NotFound("expected a path of this API"))

    def _problem(self, error: Exception) -> Response[str]:
        record = self._record
        record.status = error.status if isinstance(error, PersonalizationError) else 500
        headers = dict(_HEADERS)
        if record.status == 500:
            self._services.monitor.log_error(record.route, record.request_id, error)
        elif record.status == 503:
            headers["Retry-After"] = "1"
        elif isinstance(error, MethodNotAllowed):
            headers["Allow"] = error.allowed
        return Response(record.status, PROBLEM_JSON, dumps(problem(error, record.request_id)), headers)
