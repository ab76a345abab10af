"""What all routes share: routing, refusals, envelopes, logs and metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from personalization.api import Route, Services, application
from personalization.api.requests import ApiRequest
from personalization.api.responses import ApiResponse
from personalization.core.errors import BundleInvalid
from tests.api_shop import NOW, Shop
from tests.bundles import CREATED_AT, flat_bundle, profiles_bundle
from tests.support import proxy_event

PERSON = "maria@example.com"


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What went to the log since the last look."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]


def failing(services: Services, error: Exception) -> Route:
    def response(call: ApiRequest) -> ApiResponse:
        raise error

    return Route("GET", "/v1/broken/{user_id}", response)


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nothing", "/v1/profiles/a/b", "/v2/profiles"])
def test_an_unknown_path_is_404(shop: Shop, path: str) -> None:
    reply = shop.call("profiles", "GET", path)
    assert (reply.status, reply.body["code"]) == (404, "not-found")
    assert reply.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("job", "method", "path", "allowed"),
    [
        ("profiles", "PUT", "/v1/profiles", "POST"),
        ("profiles", "DELETE", "/v1/profiles/u-1", "GET"),
        ("profiles", "GET", "/v1/tables/profiles-table/", "POST"),
        ("events", "POST", "/v1/users/%E7%94%A8%2F1", "DELETE, GET"),
        ("events", "OPTIONS", "/v1/health", "GET"),
    ],
)
def test_a_wrong_method_is_405_and_names_the_right_ones(shop: Shop, job: str, method: str, path: str, allowed: str) -> None:
    reply = shop.call(job, method, path)
    assert (reply.status, reply.body["code"], reply.headers["Allow"]) == (405, "method-not-allowed", allowed)


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        ("a,b\n1,2", {"Content-Type": "text/csv"}, 415, "unsupported-media-type"),
        ('{"rows": [{"x": NaN}]}', {}, 400, "invalid-input"),
        (None, {"Content-Type": "application/json"}, 400, "invalid-input"),
        ('{"rows": [{"x": "' + "y" * 5 * 1024 * 1024 + '"}]}', {}, 413, "too-large"),
        ({"rows": [{}] * 5001}, {}, 413, "too-large"),
        ({"rows": []}, {}, 400, "invalid-input"),
    ],
)
def test_bodies_that_are_refused(shop: Shop, body: Any, headers: dict[str, str], status: int, code: str) -> None:
    reply = shop.call("ads", "POST", "/v1/tables/ads-table", body, headers)
    assert (reply.status, reply.body["status"], reply.body["code"]) == (status, status, code)
    assert set(reply.body) == {"type", "title", "status", "detail", "code", "request_id", "errors"}


def test_every_response_names_its_model_and_time(shop: Shop, tmp_path: Path) -> None:
    version = flat_bundle(tmp_path / "b", "ads-table")
    shop.publish(tmp_path / "b")
    reply = shop.call("ads", "POST", "/v1/tables/ads-table", {"rows": [{"click_count": 1}]})
    assert reply.status == 200
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.body["model"] == {"name": "ads-table", "version": version}
    assert (reply.body["variant"], reply.body["degraded"]) == ("champion", False)
    assert reply.body["generated_at"] == "2026-09-21T14:13:20.000Z"
    assert "degraded_reason" not in reply.body


def test_a_repeated_key_gives_the_same_ids(shop: Shop) -> None:
    body = {"candidates": [{"ad_id": "a"}]}
    one, two, other, none = (
        shop.call("ads", "POST", "/v1/ads/score", body, {"Idempotency-Key": key} if key else {}).body
        for key in ("k1", "k1", "k2", "")
    )
    assert one["request_id"] == one["decision_id"] == two["request_id"]
    assert len({one["request_id"], other["request_id"], none["request_id"]}) == 3


def test_a_problem_has_the_request_id_of_the_key_too(shop: Shop) -> None:
    good = shop.call("ads", "POST", "/v1/ads/score", {"candidates": [{"ad_id": "a"}]}, {"Idempotency-Key": "k"})
    bad = shop.call("ads", "POST", "/v1/ads/score", {}, {"Idempotency-Key": "k"})
    assert bad.body["request_id"] == good.body["request_id"]


@pytest.mark.parametrize("error", [KeyError(PERSON), BundleInvalid("model.onnx does not load")])
def test_an_unexpected_error_is_500_and_its_text_is_neither_returned_nor_logged(
    shop: Shop, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    services = shop.services("profiles")
    handler = application(services, [failing(services, error)])
    capsys.readouterr()
    response = handler(proxy_event("GET", f"/v1/broken/{quote(PERSON)}"), None)
    body = json.loads(response["body"])
    assert (response["statusCode"], body["title"]) == (
        500,
        error.title if isinstance(error, BundleInvalid) else "Internal error",
    )
    assert "onnx" not in response["body"]
    failed, seen, _ = lines(capsys)
    assert failed["level"] == "ERROR"
    assert failed["error"] == type(error).__name__
    assert failed["request_id"] == seen["request_id"] == body["request_id"]
    assert any("test_api_plumbing.py" in frame for frame in failed["at"])
    assert PERSON not in json.dumps([failed, seen, body])


def test_an_event_of_another_kind_is_500(shop: Shop) -> None:
    assert shop.invoke("ads", {"Records": []}).body["code"] == "internal"


def test_one_log_line_and_one_set_of_metrics_without_personal_data(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = profiles_bundle(tmp_path / "b")
    shop.publish(tmp_path / "b")
    shop.call("events", "POST", "/v1/events", {"events": [row(PERSON, event_id="private-event")]})
    capsys.readouterr()
    reply = shop.call("profiles", "GET", f"/v1/profiles/{quote(PERSON)}")
    assert reply.body["profiles"][0]["user_id"] == PERSON
    shop.call("events", "GET", f"/v1/users/{quote(PERSON)}")
    shop.call("events", "DELETE", f"/v1/users/{quote(PERSON)}")
    shop.call("profiles", "GET", f"/v1/profiles/{quote(PERSON)}/nothing")
    shop.call("profiles", "POST", "/v1/profiles", {"user_id": PERSON, "events": [row(PERSON, timestamp="private")]})
    records = lines(capsys)
    assert "maria" not in json.dumps(records)
    assert "private" not in json.dumps(records)
    assert len(records) == 2 * 5
    seen, metrics = records[0], records[1]
    assert (seen["route"], seen["status"], seen["service"]) == ("GET /v1/profiles/{user_id}", 200, "profiles")
    assert (seen["request_id"], seen["model"]) == (reply.body["request_id"], f"profiles/{version}")
    assert seen["ms"] > 0
    assert (metrics["service"], metrics["Answers"], metrics["DegradedAnswers"]) == ("profiles", [1.0], [0.0])
    assert metrics["ModelAgeDays"] == [pytest.approx((NOW - CREATED_AT.timestamp()) / 86_400)]
    assert [line["route"] for line in records[2::2]] == [
        "GET /v1/users/{user_id}", "DELETE /v1/users/{user_id}", "unknown", "POST /v1/profiles"
    ]  # fmt: skip
    assert [line["RefusedRequests"][0] for line in records[1::2]] == [0, 0, 0, 1, 1]


def test_a_degraded_response_is_counted_and_has_its_reason(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    reply = shop.call("ads", "POST", "/v1/ads/score", {"candidates": [{"ad_id": "a"}]})
    seen, metrics = lines(capsys)[-2:]
    assert reply.body["degraded"] is True
    assert reply.body["degraded_reason"] == seen["degraded_reason"] == "no model 'ads' is available: no version was promoted"
    assert (metrics["DegradedAnswers"], metrics["ModelRefreshFailures"]) == ([1.0], [1.0])


def test_the_last_good_model_keeps_serving_as_degraded(shop: Shop, tmp_path: Path) -> None:
    version = flat_bundle(tmp_path / "b", "ads-table")
    shop.publish(tmp_path / "b")
    rows = {"rows": [{"click_count": 1}]}
    good = shop.call("ads", "POST", "/v1/tables/ads-table", rows).body
    shop.s3.put_object(Bucket="test-models", Key="models/ads-table/current.json", Body=b"{}")
    shop.clock.go_on(61)
    kept = shop.call("ads", "POST", "/v1/tables/ads-table", rows).body
    assert (kept["model"]["version"], kept["results"]) == (version, good["results"])
    assert kept["degraded"] is True
    assert "could not be refreshed" in kept["degraded_reason"]


def row(user_id: str | None = "u-1", **changes: Any) -> dict[str, Any]:
    sent = {"user_id": user_id, "item_id": "teapot", "event_type": "purchase", "timestamp": NOW - 86_400, "event_value": 24.9}
    return {name: value for name, value in (sent | changes).items() if value is not None}
