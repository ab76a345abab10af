"""Routes, keys, throttling, and the answers that the gateway gives itself."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from personalization.core.errors import NotFound, TooLarge
from personalization.core.schema import JOBS, MAX_BODY_BYTES
from tests.cloud import plan, resolved, resources

API = plan().api
# What the contract promises so far, and the function that keeps each promise.
ROUTES = {
    ("POST", "/v1/profiles"): "ProfilesApiFunction",
    ("GET", "/v1/profiles/{user_id}"): "ProfilesApiFunction",
    ("GET", "/v1/segments"): "ProfilesApiFunction",
    ("POST", "/v1/recommendations"): "RecommendationsApiFunction",
    ("POST", "/v1/rankings"): "RecommendationsApiFunction",
    ("GET", "/v1/items/{item_id}/similar"): "RecommendationsApiFunction",
    ("PUT", "/v1/items"): "RecommendationsApiFunction",
    ("POST", "/v1/ads/score"): "AdsApiFunction",
    ("POST", "/v1/ads/plan"): "AdsApiFunction",
    ("POST", "/v1/events"): "EventsApiFunction",
    ("GET", "/v1/users/{user_id}"): "EventsApiFunction",
    ("DELETE", "/v1/users/{user_id}"): "EventsApiFunction",
    ("GET", "/v1/models"): "EventsApiFunction",
    ("GET", "/v1/health"): "EventsApiFunction",
} | {("POST", f"/v1/tables/{job}-table"): f"{job.capitalize()}ApiFunction" for job in JOBS}
STATUSES = {
    "INVALID_API_KEY": 403, "ACCESS_DENIED": 403, "MISSING_AUTHENTICATION_TOKEN": 404, "REQUEST_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415, "THROTTLED": 429, "QUOTA_EXCEEDED": 429, "INTEGRATION_TIMEOUT": 504,
    "DEFAULT_4XX": None, "DEFAULT_5XX": None,
}  # fmt: skip


def test_the_routes_are_those_of_the_contract():
    assert {(route.method, route.path): route.function for route in API.routes} == ROUTES
    assert API.stage == "live"


def test_every_route_asks_for_the_key_but_health():
    assert {(route.method, route.path) for route in API.routes if not route.key_required} == {("GET", "/v1/health")}


def test_the_usage_plan_and_the_stage_throttle():
    (usage_plan,) = resolved("AWS::ApiGateway::UsagePlan").values()
    assert {key: int(value) for key, value in usage_plan["Throttle"].items()} == {"RateLimit": 100, "BurstLimit": 200}
    (stage,) = resolved("AWS::ApiGateway::Stage").values()
    (settings,) = stage["MethodSettings"]
    assert (settings["ResourcePath"], settings["HttpMethod"]) == ("/*", "*")
    assert (int(settings["ThrottlingRateLimit"]), int(settings["ThrottlingBurstLimit"])) == (100, 200)
    (key,) = resolved("AWS::ApiGateway::UsagePlanKey").values()
    assert key["KeyType"] == "API_KEY"


def test_no_log_of_the_gateway_holds_paths():
    """Some paths hold user ids."""
    (stage,) = resolved("AWS::ApiGateway::Stage").values()
    assert "AccessLogSetting" not in stage
    assert stage["TracingEnabled"] is False
    assert stage["MethodSettings"][0]["LoggingLevel"] == "OFF"
    assert stage["MethodSettings"][0]["DataTraceEnabled"] is False


def filled(template: str) -> dict[str, Any]:
    """What the gateway makes of a template: it fills in plain variables; messageString is a quoted text."""
    text = template.replace("$context.error.messageString", '"Why \\"not\\""').replace("$context.requestId", "id-1")
    assert not re.search(r"\$(context|input|stageVariables)", text)
    answer: dict[str, Any] = json.loads(text)
    return answer


@pytest.mark.parametrize("kind", STATUSES)
def test_the_gateways_own_answers_are_problem_json(kind):
    response = API.responses[kind]
    assert response.status == STATUSES[kind]
    assert response.headers["Content-Type"] == "application/problem+json"
    body = filled(response.templates["application/json"])
    assert body["type"] == "about:blank"
    assert {"title", "code", "detail", "request_id", "errors"} <= body.keys()
    assert body.get("status") == STATUSES[kind]  # absent where the status is not known beforehand


def test_there_are_no_answers_beyond_these():
    assert set(API.responses) == set(STATUSES)


@pytest.mark.parametrize(("kind", "error"), [("MISSING_AUTHENTICATION_TOKEN", NotFound), ("REQUEST_TOO_LARGE", TooLarge)])
def test_gateway_and_functions_speak_of_the_same_thing_alike(kind, error):
    body = filled(API.responses[kind].templates["application/json"])
    assert (body["status"], body["code"], body["title"]) == (error.status, error.code, error.title)


def test_the_limit_in_the_answer_is_the_limit():
    detail = filled(API.responses["REQUEST_TOO_LARGE"].templates["application/json"])["detail"]
    assert f"{MAX_BODY_BYTES // 2**20} MB" in detail


def test_functions_may_be_called_by_this_api_alone():
    permissions = resources("AWS::Lambda::Permission")
    assert len(permissions) == len(ROUTES)
    for permission in permissions.values():
        assert permission["Principal"] == "apigateway.amazonaws.com"
        assert permission["SourceArn"]["Fn::Sub"][1]["__ApiId__"] == {"Ref": "Api"}
