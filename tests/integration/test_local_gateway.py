"""HTTP through the local gateway to real handlers in worker processes."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from local.gateway import Gateway
from local.http_server import MAX_BODY, GatewayServer
from local.stack import Stack
from tests.integration.local_shop import TEMPLATE, call, told


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_PROFILE", "somebody-elses-account")
        patch.setenv("AWS_SESSION_TOKEN", "a-real-one")
        patch.setenv("GREETING", "of this shell")
        patch.setenv("SOMETHING", "else")
        with Stack(TEMPLATE, home=tmp_path_factory.mktemp("home")) as running:
            yield running


def test_a_request_becomes_the_event_that_api_gateway_would_send(stack: Stack) -> None:
    target = "/v1/things/caf%C3%A9%2Fa%20b?x=1&x=a%20b&empty=&plus=a+b"
    event = told(call(stack.url, "GET", target, headers={"X-Shop": "one", "Host": "shop.example"}))["event"]
    assert event["resource"] == "/v1/things/{thing_id}"
    assert event["path"] == "/v1/things/caf%C3%A9%2Fa%20b"
    assert event["pathParameters"] == {"thing_id": "caf%C3%A9%2Fa%20b"}
    assert event["queryStringParameters"] == {"x": "a b", "empty": "", "plus": "a b"}
    assert event["multiValueQueryStringParameters"] == {"x": ["1", "a b"], "empty": [""], "plus": ["a b"]}
    assert event["headers"]["X-Shop"] == "one"
    assert event["multiValueHeaders"]["Host"] == ["shop.example"]
    assert event["httpMethod"] == "GET"
    assert event["body"] is None
    assert event["isBase64Encoded"] is False
    context = event["requestContext"]
    assert (context["stage"], context["path"]) == ("live", "/live" + event["path"])
    assert (context["resourcePath"], context["httpMethod"]) == (event["resource"], "GET")
    assert context["identity"]["sourceIp"] == "127.0.0.1"


def test_bodies_arrive_as_they_were_sent(stack: Stack) -> None:
    text = json.dumps({"name": "café ☕", "quote": '"\\\n'}, ensure_ascii=False)
    event = told(call(stack.url, "POST", "/v1/things", text.encode(), {"Content-Type": "application/json"}))["event"]
    assert (event["body"], event["isBase64Encoded"]) == (text, False)
    picture = bytes(range(256))
    event = told(call(stack.url, "POST", "/v1/things", picture, {"Content-Type": "image/png"}))["event"]
    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"]) == picture


def test_a_body_in_chunks_arrives_whole(stack: Stack) -> None:
    address = urlsplit(stack.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
    connection.request("POST", "/v1/things", iter([b"one, ", b"two, ", b"three"]), encode_chunked=True)
    answer = connection.getresponse()
    assert json.loads(answer.read())["event"]["body"] == "one, two, three"
    connection.close()


def test_answers_come_back_with_status_headers_and_bytes(stack: Stack) -> None:
    status, headers, _ = call(stack.url, "POST", "/v1/things", b"{}")
    assert status == 201
    assert headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert headers["Content-Type"] == "application/json"
    status, headers, body = call(stack.url, "GET", "/v1/things/1?picture=", headers={"Accept": "image/png"})
    assert (status, headers["Content-Type"], body) == (200, "image/png", b"\x89PNG\x00\xff")


@pytest.mark.parametrize(
    ("method", "target", "resource", "parameters"),
    [
        ("GET", "/v1/things/best", "/v1/things/best", None),  # a literal wins over a parameter
        ("GET", "/live/v1/things/7", "/v1/things/{thing_id}", {"thing_id": "7"}),  # as in AWS, with the stage
        ("DELETE", "/v1/rest/a/b%20c", "/v1/rest/{proxy+}", {"proxy": "a/b%20c"}),
        ("GET", "/v1/health/", "/v1/health", None),
    ],
)
def test_routes(stack: Stack, method: str, target: str, resource: str, parameters: dict[str, str] | None) -> None:
    event = told(call(stack.url, method, target))["event"]
    assert (event["resource"], event["pathParameters"]) == (resource, parameters)


@pytest.mark.parametrize(
    ("method", "target"), [("GET", "/v1/nothing"), ("PUT", "/v1/things"), ("GET", "/"), ("GET", "/v2/things/1")]
)
def test_what_no_route_takes_is_answered_in_the_templates_words(stack: Stack, method: str, target: str) -> None:
    status, headers, body = call(stack.url, method, target)
    assert (status, headers["Content-Type"]) == (404, "application/problem+json")
    problem = json.loads(body)
    assert problem["detail"] == "Missing Authentication Token"
    assert problem["request_id"] == headers["x-amzn-RequestId"]


def test_a_body_beyond_the_gateways_limit_is_refused(stack: Stack) -> None:
    status, _, body = call(stack.url, "POST", "/v1/things", bytes(MAX_BODY + 1))
    assert (status, json.loads(body)) == (413, {"message": "Request Too Long"})
    # More than a function can be sent, though the gateway itself would take it.
    assert call(stack.url, "POST", "/v1/things", b"x" * (7 * 1024 * 1024))[0] == 413


def test_a_function_is_told_what_the_template_says_and_nothing_of_this_machines_account(stack: Stack) -> None:
    content = told(call(stack.url, "GET", "/v1/things/1"))
    environment = content["environment"]
    assert environment["GREETING"] == "hello"
    assert environment["DATA_BUCKET"] == "local-data-123456789012"
    assert environment["TABLE"] == "local-Table"
    assert environment["QUEUE_ARN"] == "arn:aws:sqs:us-east-1:123456789012:local-Queue"
    assert environment["AWS_ENDPOINT_URL"] == stack.aws.endpoint
    assert environment["AWS_ACCESS_KEY_ID"] == "local"
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "SOMETHING"} & environment.keys()
    assert environment["CACHE"].startswith(str(stack.home))  # a /tmp of its own
    assert content["layer"] == "from the layer"
    assert content["function"] == [
        "local-EchoFunction",
        "arn:aws:lambda:us-east-1:123456789012:function:local-EchoFunction",
        256,
    ]
    assert 0 < content["remaining"] <= 20_000


@pytest.mark.parametrize("kind", ["raise", "sleep", "die", "mumble", "nan"])
def test_a_function_that_fails_is_a_502_and_the_next_call_is_answered(stack: Stack, kind: str) -> None:
    assert call(stack.url, "GET", f"/v1/trouble/{kind}")[0] == 502
    assert call(stack.url, "GET", "/v1/trouble/none")[0] == 200


def test_a_function_that_cannot_be_loaded_is_a_502_with_the_cause_in_its_log(stack: Stack) -> None:
    status, _, body = call(stack.url, "GET", "/v1/broken")
    assert (status, json.loads(body)) == (502, {"message": "Internal server error"})
    assert "No module named 'functions.no_such_module'" in (stack.home / "logs" / "BrokenFunction.log").read_text()


def test_paths_are_not_logged(stack: Stack) -> None:
    call(stack.url, "GET", "/v1/things/user-4711")
    log = (stack.home / "logs" / "gateway.log").read_text()
    assert "GET /v1/things/{thing_id} 201" in log
    assert "4711" not in log


def test_a_head_request_has_the_status_and_no_body(stack: Stack) -> None:
    status, _, body = call(stack.url, "HEAD", "/v1/rest/x")
    assert (status, body) == (201, b"")


def test_two_requests_run_at_the_same_time(stack: Stack, tmp_path: Path) -> None:
    answers: list[int] = []

    def enter() -> None:
        answers.append(call(stack.url, "GET", f"/v1/things/1?meet={tmp_path}")[0])

    guests = [threading.Thread(target=enter) for _ in range(2)]
    for guest in guests:
        guest.start()
    for guest in guests:
        guest.join()
    assert answers == [200, 200]


def test_a_key_is_asked_for_where_one_is_set(stack: Stack) -> None:
    server = GatewayServer("127.0.0.1", 0)
    server.start(Gateway(stack.plan.api, stack._pools, "secret"))
    try:
        assert call(server.url, "GET", "/v1/things/1")[0] == 403
        assert call(server.url, "GET", "/v1/things/1", headers={"x-api-key": "secre"})[0] == 403
        assert call(server.url, "GET", "/v1/things/1", headers={"X-Api-Key": "secret"})[0] == 201
        assert call(server.url, "GET", "/v1/health")[0] == 201  # the template asks none for it
    finally:
        server.stop()


def test_an_address_that_others_reach_needs_a_key(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected --api-key"):
        Stack(TEMPLATE, home=tmp_path, host="192.0.2.1")


def test_an_unknown_method_is_refused_as_a_missing_route(stack: Stack) -> None:
    assert call(stack.url, "BREW", "/v1/things")[0] == 404


def test_a_request_line_that_is_not_http_is_refused(stack: Stack) -> None:
    address = urlsplit(stack.url)
    with socket.create_connection((str(address.hostname), address.port), timeout=60) as connection:
        connection.sendall(b"no http at all\r\n\r\n")
        assert b"400" in connection.recv(1 << 16)
    assert call(stack.url, "GET", "/v1/health")[0] == 201
