"""Requests to the built functions, with their own roles' permissions; and the same request on every way to an answer."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from local.aws import isolated_environment
from local.proxy import Request, match, proxy_event
from local.stack import Stack
from tests.bundles import THRESHOLDS, expected_probability, flat_bundle, profiles_bundle
from tests.cloud import ROOT, plan
from tests.e2e.account import Account
from tests.e2e.conftest import Invoker

pytestmark = pytest.mark.e2e

SAMPLES = sorted((ROOT / "events").glob("rest_*.json"))
AS_OF = "2026-02-01T00:00:00Z"
EVENTS = [
    {"item_id": "i1", "event_type": "purchase", "timestamp": "2026-01-05T10:00:00Z", "event_value": 12.5},
    {"item_id": "i2", "event_type": "view_item", "timestamp": "2026-01-06T10:00:00Z"},
    {"item_id": "i1", "event_type": "refund", "timestamp": "2026-01-07T10:00:00Z", "event_value": 2.5},
]
ROWS = [
    {"click_count": 4, "view_duration": 10.5, "channel": "web"},
    {"click_count": None, "channel": "app"},
    {"click_count": 0, "view_duration": 300, "channel": "kiosk"},
]


def request(method: str, path: str, body: Any = None) -> tuple[str, dict[str, Any]]:
    """The function that a request reaches, and the event that it gets."""
    sent = Request(
        method,
        path,
        "",
        [("Content-Type", "application/json"), ("Host", "localhost")],
        json.dumps(body).encode() if body is not None else b"",
        "127.0.0.1",
        "live",
    )
    found = match(plan().api.routes, method, path)
    assert found is not None
    route, parameters = found
    return route.function, proxy_event(sent, route, parameters, ())


def content(answer: Mapping[str, Any], status: int = 200) -> Any:
    assert answer["statusCode"] == status, answer
    return json.loads(answer["body"])


def close(one: Any, other: Any) -> bool:
    """Whether two answers are the same but for clocks and ids: words and structure alike, numbers to 1e-5."""
    varying = {"request_id", "recommendation_id", "decision_id", "generated_at"}
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one if key not in varying)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(one, float) or isinstance(other, float):
        return bool(one == pytest.approx(other, abs=1e-5, rel=1e-5))
    return bool(one == other)


# --- every route -------------------------------------------------------------------------------------------------------


def test_there_is_a_sample_of_every_route():
    sampled = {(event["httpMethod"], event["resource"]) for event in map(read, SAMPLES)}
    assert sampled >= {(route.method, route.path) for route in plan().api.routes}


def read(path: Path) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return event


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_each_sample_is_answered(path: Path, emulator: Invoker):
    event = read(path)
    (function,) = [r.function for r in plan().api.routes if (r.method, r.path) == (event["httpMethod"], event["resource"])]
    answer = emulator(function).invoke(event)
    body = content(answer, answer["statusCode"])
    # a user of whom nothing was told before is not found, nor are segments before the first job; that is an answer too
    unknown = event["httpMethod"] == "GET" and ("{user_id}" in event["resource"] or event["resource"] == "/v1/segments")
    allowed = {200, 404} if unknown else {200}
    assert answer["statusCode"] in allowed, body
    if answer["statusCode"] == 200:
        assert body["degraded"] is False, body
    else:
        assert answer["multiValueHeaders"]["Content-Type"] == ["application/problem+json"]


def test_a_user_is_remembered_shown_and_erased(emulator: Invoker):
    told = [{"user_id": "shopper 7/a", "event_id": f"e{n}", **event} for n, event in enumerate(EVENTS)]
    function, event = request("POST", "/v1/events", {"events": told})
    content(emulator(function).invoke(event))

    function, event = request("GET", "/v1/profiles/shopper%207%2Fa")
    (profile,) = content(emulator(function).invoke(event))["profiles"]
    assert profile["user_id"] == "shopper 7/a"

    function, event = request("GET", "/v1/users/shopper%207%2Fa")
    assert "i2" in json.dumps(content(emulator(function).invoke(event)))
    function, event = request("DELETE", "/v1/users/shopper%207%2Fa")
    content(emulator(function).invoke(event))
    function, event = request("GET", "/v1/users/shopper%207%2Fa")
    assert "i2" not in emulator(function).invoke(event)["body"]


def test_no_user_id_is_logged(emulator: Invoker):
    function, event = request("POST", "/v1/profiles", {"user_id": "never-to-be-logged-4711", "events": EVENTS})
    running = emulator(function)
    content(running.invoke(event))
    assert "never-to-be-logged-4711" not in running.log()
    assert '"Answers"' in running.log()  # the metrics line is there


# --- the same question, asked three ways -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the local stack with the same models."""
    bundles = tmp_path_factory.mktemp("gateway-bundles")
    profiles_bundle(bundles / "profiles", content={"behaviour": THRESHOLDS})
    flat_bundle(bundles / "profiles-table")
    with Stack(home=tmp_path_factory.mktemp("home")) as stack:
        stack.publish([bundles / "profiles", bundles / "profiles-table"])
        yield stack.url


def from_source(function: str, event: Any, account: Account, cache: Path) -> Any:
    """The handler as it lies in the repository, on the Python that runs the tests, in a process of its own."""
    module = plan().functions[function].handler.removesuffix(".lambda_handler")
    code = (
        f"import json, sys; from {module} import lambda_handler; print(json.dumps(lambda_handler(json.load(sys.stdin), None)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(event),
        env=isolated_environment()
        | account.environment(function)
        | {"PYTHONPATH": f"{ROOT}:{ROOT}/layers/personalization/python", "MODEL_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def through(gateway: str, method: str, path: str, body: Any) -> Any:
    asked = urllib.request.Request(
        gateway + path, json.dumps(body).encode(), {"Content-Type": "application/json"}, method=method
    )
    with urllib.request.urlopen(asked, timeout=60) as response:
        return json.loads(response.read())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/profiles", {"users": [{"user_id": "u1", "events": EVENTS}, {"user_id": "u2", "events": []}], "as_of": AS_OF}),
        ("/v1/tables/profiles-table", {"rows": ROWS}),
    ],
    ids=["profiles", "profiles-table"],
)
def test_source_gateway_and_artefact_answer_alike(
    path: str, body: Any, account: Account, emulator: Invoker, gateway: str, tmp_path: Path
):
    function, event = request("POST", path, body)
    artefact = content(emulator(function).invoke(event))
    source = content(from_source(function, event, account, tmp_path))
    local = through(gateway, "POST", path, body)
    assert artefact["model"]["version"] == source["model"]["version"] == local["model"]["version"]
    assert close(artefact, source), (artefact, source)
    assert close(artefact, local), (artefact, local)


def test_the_artefacts_numbers_are_those_of_plain_arithmetic(emulator: Invoker):
    function, event = request("POST", "/v1/tables/profiles-table", {"rows": ROWS})
    results = content(emulator(function).invoke(event))["results"]
    assert [result["row"] for result in results] == [0, 1, 2]
    for result, row in zip(results, ROWS, strict=True):
        expected = expected_probability(row.get("click_count"), row.get("view_duration"), row.get("channel"))
        assert result["probability"] == pytest.approx(expected, abs=1e-5)
