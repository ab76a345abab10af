"""Reading a request: the body in one go, path ids, moments, and what is refused."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import pytest
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent
from pydantic import Field

from personalization.api.problems import MAX_FAULTS, pointer, problem
from personalization.api.requests import ApiRequest, Id, RequestBody, Timestamp, request_id_of, timestamp_ms
from personalization.core.errors import Fault, InvalidInput, PersonalizationError, TooLarge
from personalization.core.schema import MAX_BODY_BYTES, MAX_ID_LENGTH
from tests.support import proxy_event


class Nested(RequestBody):
    needed: int


class Example(RequestBody):
    name: str | None = None
    number: float | None = None
    anything: dict[str, Any] | None = None
    few: Annotated[list[int], Field(max_length=2)] | None = None
    when: Timestamp | None = None
    size: Annotated[int, Field(ge=1)] | None = None
    mode: Literal["on", "off"] = "on"
    id: Id | None = None
    nested: Nested | None = None


def proxied(body: Any = None, **event: Any) -> APIGatewayProxyEvent:
    return APIGatewayProxyEvent(proxy_event("POST", "/v1/x", body, **event))


def call(body: Any = None, path: dict[str, str] | None = None, **event: Any) -> ApiRequest:
    return ApiRequest(proxied(body, **event), path or {}, "request", 0)


def refused(body: Any, **event: Any) -> PersonalizationError:
    with pytest.raises(PersonalizationError) as caught:
        call(body, **event).parse_body(Example)
    return caught.value


def test_a_body_is_parsed_with_its_types() -> None:
    body = call('{"name": " 用户 ", "number": 1e3, "anything": {"a": [null, "NaN", "Infinity"]}}').parse_body(Example)
    assert (body.name, body.number, body.anything) == ("用户", 1000.0, {"a": [None, "NaN", "Infinity"]})


def test_a_base64_body_is_the_same_body() -> None:
    assert call({"name": "é"}, base64=True).parse_body(Example).name == "é"


def test_a_number_is_accepted_as_an_id() -> None:
    assert call({"name": 12}).parse_body(Example).name == "12"


@pytest.mark.parametrize(
    "body",
    ["", "  ", "{", "[1]", "null", '{"number": NaN}', '{"anything": {"x": [Infinity]}}', '{"anything": {"x": -Infinity}}'],
)
def test_a_body_that_is_not_a_json_object_is_refused(body: str) -> None:
    assert isinstance(refused(body), InvalidInput)


def test_a_fault_has_a_pointer_and_what_was_expected_and_received() -> None:
    faults = refused({"number": "many", "few": [1, "x"]}).faults
    assert [fault.pointer for fault in faults] == ["/number", "/few/1"]
    assert faults[0].detail == "expected a valid number, received 'many'"


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ({"number": None, "few": 3}, "/few", "expected a valid array, received 3"),
        ({"anything": [1]}, "/anything", "expected an object, received an array"),
        ({"when": {"at": 1}}, "/when", "expected a valid string, received an object"),
        ({"few": [1, 2, 3]}, "/few", "expected at most 2 entries, received 3"),
        ({"size": 0}, "/size", "expected a number greater than or equal to 1, received 0"),
        ({"mode": "maybe"}, "/mode", "expected 'on' or 'off', received 'maybe'"),
        ({"id": " "}, "/id", "expected at least 1 characters, received 0"),
        ({"id": "x" * 300}, "/id", "expected at most 256 characters, received 300"),
        ({"nmae": 1}, "/nmae", "expected a field of this route's schema, received 'nmae'"),
        ({"nested": {}}, "/nested/needed", "expected a value, received none: the field is required"),
    ],
)
def test_each_kind_of_fault_has_one_pointer_and_a_plain_message(body: Any, pointer: str, detail: str) -> None:
    assert [(fault.pointer, fault.detail) for fault in refused(body).faults] == [(pointer, detail)]


def test_a_time_may_be_text_or_a_number() -> None:
    assert [call({"when": value}).parse_body(Example).when for value in ("2026-01-01", 1767225600)] == [
        "2026-01-01",
        "1767225600",
    ]


def test_an_unknown_field_is_refused() -> None:
    assert refused({"nmae": "x"}).faults[0].pointer == "/nmae"


def test_beyond_a_published_maximum_is_too_large() -> None:
    error = refused({"few": [1, 2, 3]})
    assert (error.status, error.faults[0].pointer) == (413, "/few")


def test_beyond_a_maximum_and_invalid_is_invalid() -> None:
    assert refused({"few": [1, 2, 3], "number": "x"}).status == 400


@pytest.mark.parametrize("base64", [False, True])
def test_the_body_has_a_maximum(base64: bool) -> None:
    largest = '{"name": "' + "x" * (MAX_BODY_BYTES - 12) + '"}'
    assert len(largest) == MAX_BODY_BYTES
    assert len(call(largest, base64=base64).parse_body(Example).name or "") == MAX_BODY_BYTES - 12
    assert isinstance(refused(largest + " ", base64=base64), TooLarge)


def test_the_maximum_counts_bytes_not_characters() -> None:
    assert isinstance(refused('{"name": "' + "é" * (MAX_BODY_BYTES // 2) + '"}'), TooLarge)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/csv"},
        {"Content-Type": ""},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Encoding": "gzip"},
    ],
)
def test_other_content_types_are_415(headers: dict[str, str]) -> None:
    assert refused({"name": "x"}, headers=headers).status == 415


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=UTF-8", "application/vnd.shop+json"])
def test_any_json_content_type_is_accepted(content_type: str) -> None:
    event = proxy_event("POST", "/v1/x", {"name": "x"})
    event["headers"] = {"content-type": content_type}
    assert ApiRequest(APIGatewayProxyEvent(event), {}, "request", 0).parse_body(Example).name == "x"


@pytest.mark.parametrize(
    ("encoded", "decoded"),
    [("u-1", "u-1"), ("%E7%94%A8%E6%88%B7", "用户"), ("a%2Fb", "a/b"), ("100%25", "100%"), ("a+b", "a+b"), ("%20x%20", "x")],
)
def test_path_ids_are_decoded(encoded: str, decoded: str) -> None:
    assert call(path={"user_id": encoded}).path_id("user_id") == decoded


@pytest.mark.parametrize("encoded", ["%FF", "null", "%20", "NaN", "x" * (MAX_ID_LENGTH + 1)])
def test_invalid_path_ids_are_refused(encoded: str) -> None:
    with pytest.raises(InvalidInput):
        call(path={"user_id": encoded}).path_id("user_id")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, 77),
        ("2026-01-01T00:00:00Z", 1_767_225_600_000),
        (1_767_225_600, 1_767_225_600_000),
        ("1767225600000", 1_767_225_600_000),
    ],
)
def test_timestamps(value: str | float | None, expected: int) -> None:
    assert timestamp_ms(value, 77) == expected


@pytest.mark.parametrize("value", ["soon", -5, float("inf"), ""])
def test_an_invalid_timestamp_is_refused(value: str | float) -> None:
    with pytest.raises(InvalidInput) as caught:
        timestamp_ms(value, 77)
    assert caught.value.faults[0].pointer == "/as_of"


def test_the_request_id_follows_from_the_idempotency_key() -> None:
    keys = ("a", "a", "b")
    first, again, other = (request_id_of(proxied(headers={"idempotency-KEY": key}), lambda: "new") for key in keys)
    assert first == again != other
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", first)
    assert request_id_of(proxied(), lambda: "new") == "new"


def test_pointers_are_escaped() -> None:
    assert pointer("rows", 3, "a/b~c") == "/rows/3/a~1b~0c"


def test_a_problem_lists_a_limited_number_of_faults() -> None:
    error = InvalidInput("bad", [Fault(f"/{n}", "no") for n in range(MAX_FAULTS + 5)])
    content = problem(error, "r")
    assert len(content["errors"]) == MAX_FAULTS
    assert content["detail"] == "bad; the first 100 of 105 errors follow"


def test_an_internal_error_shows_no_detail() -> None:
    content = problem(KeyError("user u-1"), "r")
    assert (content["status"], content["code"]) == (500, "internal")
    assert "u-1" not in str(content)
