"""From routes to a Lambda handler: Powertools finds the route, and what all routes share is here."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple

from aws_lambda_powertools.event_handler.api_gateway import APIGatewayRestResolver, Response

from personalization.api.problems import PROBLEM_JSON, MethodNotAllowed, problem
from personalization.api.requests import Call, request_id_of
from personalization.api.responses import ApiResponse, body, dumps
from personalization.api.services import Services
from personalization.core.errors import NotFound, PersonalizationError
from personalization.core.observability import Observed

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]

_PARAMETER = re.compile(r"\{(\w+)\}")
_HEADERS = {"Cache-Control": "no-store"}  # what is said of a shopper belongs in nobody's cache


class Route(NamedTuple):
    """A method, a path with ``{parameters}``, and what answers."""

    method: str
    path: str
    answer: Callable[[Call], ApiResponse]


def application(services: Services, routes: Sequence[Route]) -> Handler:
    """A Lambda handler for API Gateway's REST proxy events. It never raises: every failure is a problem+json."""
    return _Application(services, routes)


@dataclass(slots=True)
class _Request:
    """The request that is being answered; a function answers one at a time."""

    id: str
    now: float
    route: str = "unknown"
    status: int = 500
    answer: ApiResponse | None = None


class _Application:
    def __init__(self, services: Services, routes: Sequence[Route]) -> None:
        self._services = services
        self._resolver = APIGatewayRestResolver()
        self._request = _Request("", 0.0)
        # Powertools answers 404 for a wrong method; these tell which methods a path has.
        self._known = [(re.compile(_PARAMETER.sub("[^/]+", route.path) + "/*"), route.method) for route in routes]
        for route in routes:
            self._resolver.route(_PARAMETER.sub(r"<\1>", route.path), route.method)(self._endpoint(route))
        self._resolver.not_found(self._no_route)

    def __call__(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        started = perf_counter()
        self._request = request = _Request("", self._services.clock())
        try:
            request.id = request_id_of(event, self._services.new_id)
            response = self._resolver.resolve(event, context)
        except Exception as error:  # not a proxy event
            request.id = request.id or self._services.new_id()
            refused = self._refused(error)
            response = {
                "statusCode": refused.status_code,
                "multiValueHeaders": {name: [value] for name, value in refused.headers.items()},
                "body": refused.body,
                "isBase64Encoded": False,
            }
        self._observe((perf_counter() - started) * 1000)
        return response

    def _endpoint(self, route: Route) -> Callable[..., Response[str]]:
        def endpoint(**path: str) -> Response[str]:
            request = self._request
            request.route = f"{route.method} {route.path}"
            call = Call(self._resolver.current_event.raw_event, path, request.id, request.now)
            try:
                answer = route.answer(call)
                content = body(answer, call)
            except Exception as error:
                return self._refused(error)
            request.status, request.answer = 200, answer
            return Response(200, "application/json", content, _HEADERS)

        return endpoint

    def _no_route(self, _error: Exception) -> Response[str]:
        path = self._resolver.current_event.path or ""
        allowed = sorted({method for pattern, method in self._known if pattern.fullmatch(path)})
        return self._refused(MethodNotAllowed(allowed) if allowed else NotFound("there is no such path"))

    def _refused(self, error: Exception) -> Response[str]:
        request = self._request
        request.status = error.status if isinstance(error, PersonalizationError) else 500
        if request.status == 500:
            self._services.monitor.failed(request.route, request.id, error)
        headers = dict(_HEADERS)
        if isinstance(error, MethodNotAllowed):
            headers["Allow"] = error.allowed
        if request.status == 503:
            headers["Retry-After"] = "1"
        return Response(request.status, PROBLEM_JSON, dumps(problem(error, request.id)), headers)

    def _observe(self, milliseconds: float) -> None:
        request, answer = self._request, self._request.answer
        model = answer.model if answer else None
        self._services.monitor.answered(
            Observed(
                request.route,
                request.status,
                milliseconds,
                request.id,
                degraded_reason=answer.degraded_reason if answer else "",
                model=f"{model['name']}/{model['version']}" if model else "",
                model_age_days=answer.age_days(request.now) if answer else None,
            )
        )
