"""This project's own template on the local stack: its handlers, with models that can be answered by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.bundles import find_bundles
from local.inbox import DropFailed, Inbox
from local.stack import Stack
from tests.bundles import expected_probability, flat_bundle, profiles_bundle
from tests.integration.local_shop import call

_HEADER = "user_id,item_id,event_type,timestamp,event_value"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    bundles = tmp_path_factory.mktemp("bundles")
    profiles_bundle(bundles / "a")
    flat_bundle(bundles / "b", "ads-table")
    flat_bundle(bundles / "broken", "profiles-table")
    (bundles / "broken" / "model.onnx").write_bytes(b"not what bundle.json promises")
    (bundles / "no bundle").mkdir()
    with Stack(home=tmp_path_factory.mktemp("home")) as running:
        published = running.publish(find_bundles(str(bundles / "*")))
        assert [(p.name, p.version is not None) for p in published] == [
            ("profiles", True),
            ("ads-table", True),
            ("broken", False),
        ]
        assert "model.onnx" in str(published[2].problem)
        yield running


def _ask(stack: Stack, method: str, target: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    content = None if body is None else json.dumps(body).encode()
    status, headers, raw = call(stack.url, method, target, content, {"Content-Type": "application/json"})
    assert headers["Content-Type"] == ("application/json" if status < 400 else "application/problem+json")
    return status, json.loads(raw)


def test_a_flat_model_answers(stack: Stack) -> None:
    rows = [{"click_count": 3, "view_duration": 20, "channel": "app"}, {"channel": "telex"}]
    status, answer = _ask(stack, "POST", "/v1/tables/ads-table", {"rows": rows})
    expected = [expected_probability(3, 20, "app"), expected_probability(None, None, "telex")]
    assert status == 200
    assert [result["probability"] for result in answer["results"]] == pytest.approx(expected, abs=1e-5)
    assert answer["degraded"] is False


def test_a_model_that_was_not_published_is_said_to_be_missing(stack: Stack) -> None:
    assert _ask(stack, "POST", "/v1/tables/profiles-table", {"rows": [{"click_count": 1}]})[0] == 503


def test_events_change_the_profile_and_are_forgotten_on_demand(stack: Stack) -> None:
    path = "/v1/profiles/caf%C3%A9%2F1"  # the user café/1
    assert _ask(stack, "GET", path)[0] == 404
    events = [
        {"user_id": "café/1", "item_id": f"i{n}", "event_type": "purchase", "timestamp": 1_767_225_600 + n, "event_value": 10}
        for n in range(3)
    ]
    assert _ask(stack, "POST", "/v1/events", {"events": events})[1]["accepted"] == 3
    profile = _ask(stack, "GET", path)[1]["profiles"][0]
    # n events of value v: P(within the k-th of 7, 14, 30, 90 days) = nk / (1 + nk), expected spend v
    assert profile["propensity"] == pytest.approx({"7": 3 / 4, "14": 6 / 7, "30": 9 / 10, "90": 12 / 13}, abs=1e-5)
    assert profile["expected_spend"] == 30
    assert _ask(stack, "DELETE", "/v1/users/caf%C3%A9%2F1")[0] == 200
    assert _ask(stack, "GET", path)[0] == 404


def test_health_models_and_what_is_no_route(stack: Stack) -> None:
    assert _ask(stack, "GET", "/v1/health")[0] == 200
    states = {model["name"]: model["state"] for model in _ask(stack, "GET", "/v1/models")[1]["models"]}
    assert (states["profiles"], states["ads-table"], states["profiles-table"]) == ("published", "published", "none")
    assert _ask(stack, "GET", "/v1/nothing")[0] == 404
    assert _ask(stack, "POST", "/v1/profiles", {"users": "everybody"})[0] == 400


def test_a_dropped_interactions_file_is_scored_and_its_users_are_known_to_the_api(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_text(
        f"{_HEADER}\nann,i1,purchase,2026-01-01T10:00:00Z,12.5\nbob,i1,view,2026-01-02T10:00:00Z,\n"
        "ann,i2,purchase,last tuesday,3\nann,i2,purchase,2026-01-03T10:00:00Z,7.5\n"
        + "".join(f"cleo,i{n},view,2026-01-04T10:00:0{n}Z,\n" for n in range(6))
    )
    inbox = Inbox(stack.description())
    drop = inbox.drop("profiles", file)
    inbox.wait(drop, timeout=120)
    manifest = inbox.fetch(drop, tmp_path / "out")
    assert (manifest["rows_in"], manifest["rows_used"], manifest["rejected"], manifest["users"]) == (10, 9, 1, 3)
    rejects = [json.loads(line) for line in (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()]
    assert [(reject["line"], reject["pointer"]) for reject in rejects] == [(4, "/timestamp")]
    profiles = {p["user_id"]: p for p in map(json.loads, (tmp_path / "out" / "part-00000.jsonl").read_text().splitlines())}
    assert profiles["ann"]["expected_spend"] == 20
    assert profiles["ann"]["propensity"]["7"] == pytest.approx(2 / 3, abs=1e-5)
    known = _ask(stack, "GET", "/v1/profiles/ann")[1]["profiles"][0]
    assert known["expected_spend"] == 20


def test_a_file_that_cannot_be_scored_fails_loudly(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_text(f"{_HEADER}\n" + "ann,i1,purchase,never,1\n" * 9)
    inbox = Inbox(stack.description())
    drop = inbox.drop("profiles", file)
    with pytest.raises(DropFailed, match="the job failed"):
        inbox.wait(drop, timeout=120)
    manifest = inbox.fetch(drop, tmp_path / "out")
    assert (manifest["status"], manifest["rejected"]) == ("failed", 9)
