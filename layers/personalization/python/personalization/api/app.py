"""From routes to a Lambda handler: Powertools finds the route; errors, logs and metrics are handled once for all routes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, NamedTuple

from aws_lambda_powertools.event_handler.api_gateway import APIGatewayRestResolver, Response

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
            self._resolver.route(_PARAMETER.sub(r"<\1>", route.path), route.method)(self._endpoint(route))
        self._resolver.not_found(self._no_route)
        self._observed = RequestRecord()  # of the current request: a function handles one at a time

    def __call__(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        started = perf_counter()
        self._observed = observed = RequestRecord()
        try:
            observed.request_id = request_id_of(event, self._services.new_id)
            response = self._resolver.resolve(event, context)
        except Exception as error:  # not a proxy event
            observed.request_id = observed.request_id or self._services.new_id()
            failure = self._error_response(error)
            headers = {name: [value] for name, value in failure.headers.items()}
            response = {
                "statusCode": failure.status_code, "multiValueHeaders": headers, "body": failure.body, "isBase64Encoded": False,
            }  # fmt: skip
        observed.milliseconds = (perf_counter() - started) * 1000
        self._services.monitor.log_request(observed)
        return response

    def _endpoint(self, route: Route) -> Callable[..., Response[str]]:
        def endpoint(**path_parameters: str) -> Response[str]:
            observed, now = self._observed, self._services.clock()
            observed.route = f"{route.method} {route.path}"
            request = ApiRequest(self._resolver.current_event.raw_event, path_parameters, observed.request_id, now)
            try:
                response = route.handle(request)
                body = response.to_json(request)
            except Exception as error:
                return self._error_response(error)
            observed.status = 200
            observed.degraded_reason = response.degraded_reason
            observed.model = "/".join(response.model.values()) if response.model else ""
            observed.model_age_days = response.model_age_days(request.now_ms)
            return Response(200, "application/json", body, _HEADERS)

        return endpoint

    def _no_route(self, _error: Exception) -> Response[str]:
        path = self._resolver.current_event.path or ""
        allowed = sorted({method for pattern, method in self._methods if pattern.fullmatch(path)})
        return self._error_response(MethodNotAllowed(allowed) if allowed else NotFound("expected a path of this API"))

    def _error_response(self, error: Exception) -> Response[str]:
        observed = self._observed
        observed.status = error.status if isinstance(error, PersonalizationError) else 500
        headers = dict(_HEADERS)
        if observed.status == 500:
            self._services.monitor.log_error(observed.route, observed.request_id, error)
        elif observed.status == 503:
            headers["Retry-After"] = "1"
        elif isinstance(error, MethodNotAllowed):
            headers["Allow"] = error.allowed
        return Response(observed.status, PROBLEM_JSON, dumps(problem(error, observed.request_id)), headers)
