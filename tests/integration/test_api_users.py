"""POST /v1/events, GET and DELETE /v1/users/{user_id}, GET /v1/models and /v1/health."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.api_shop import NOW, Shop
from tests.bundles import flat_bundle, profiles_bundle
from tests.integration.test_api_plumbing import row


def send(shop: Shop, *events: dict[str, Any]) -> tuple[int, int]:
    reply = shop.call("events", "POST", "/v1/events", {"events": list(events)})
    assert reply.status == 200, reply.body
    return reply.body["accepted"], reply.body["duplicates"]


def test_a_repeated_call_stores_nothing_twice(shop: Shop) -> None:
    events = [row(event_id="e1"), row(), row(), row("v", event_id="e1")]
    assert send(shop, *events) == (3, 1)  # an event id names one event, whoever is said to have done it
    assert send(shop, *events) == (0, 4)
    assert len(shop.call("events", "GET", "/v1/users/u-1").body["events"]) == 3


def test_an_anonymous_event_is_stored_under_its_session(shop: Shop) -> None:
    assert send(shop, row(None, session_id="s-1"), row("u-1", session_id="s-1")) == (2, 0)
    assert len(shop.state.read("s-1", "session").events) == 1
    assert len(shop.state.read("u-1").events) == 1
    assert not shop.state.read("s-1").exists


def test_an_event_is_received_when_it_is_sent_unless_it_has_received_at(shop: Shop) -> None:
    send(shop, row(item_id="a"), row(item_id="b", received_at=NOW - 5))
    stored = {event["item_id"]: event["received_at"] for event in shop.call("events", "GET", "/v1/users/u-1").body["events"]}
    assert stored == {"a": "2026-09-21T14:13:20.000Z", "b": "2026-09-21T14:13:15.000Z"}


def test_nothing_is_stored_where_one_row_is_invalid(shop: Shop) -> None:
    reply = shop.call(
        "events",
        "POST",
        "/v1/events",
        {
            "events": [
                row(),
                row(None),
                row(None, session_id="s", TIME="soon", timestamp=None),
                row(event_value="dear"),
                row(None, session_id="t"),
            ]
        },
    )
    assert reply.status == 400
    assert sorted(error["pointer"] for error in reply.body["errors"]) == [
        "/events/1/user_id", "/events/2/TIME", "/events/3/event_value"
    ]  # fmt: skip
    assert not shop.state.read("u-1").exists
    assert not shop.state.read("t", "session").exists


def test_events_without_state_are_503_and_may_be_sent_again(shop: Shop) -> None:
    shop.dynamodb.delete_table(TableName="test-state")
    reply = shop.call("events", "POST", "/v1/events", {"events": [row()]})
    assert (reply.status, reply.body["code"]) == (503, "state-unavailable")


def test_what_is_stored_is_shown_and_erased(shop: Shop, tmp_path: Path) -> None:
    profiles_bundle(tmp_path / "b")
    shop.publish(tmp_path / "b")
    user_id, path = "用户/1", f"/v1/users/{quote('用户/1', safe='')}"
    send(shop, row(user_id, event_id="e1"), row("other"))
    shown = shop.call("events", "GET", path).body
    assert shown["user_id"] == user_id
    assert shown["events"] == [
        {
            "event_type": "purchase",
            "timestamp": "2026-09-20T14:13:20.000Z",
            "received_at": "2026-09-21T14:13:20.000Z",
            "item_id": "teapot",
            "quantity": 1.0,
            "event_value": 24.9,
        }
    ]
    assert shown["items"] == [{"key": f"event#{int(NOW - 86_400) * 1000}#e1", "expires_at": "2027-10-21T14:13:20.000Z"}]

    receipt = shop.call("events", "DELETE", path)
    assert (receipt.status, receipt.body["removed"]) == (200, {"event": 1})
    assert {entry["store"]: entry["gone_by"] for entry in receipt.body["expires_later"]} == {
        "inbox": "2026-10-23T14:13:20.000Z",  # 30 days and two for S3 to get round to it
        "results": "2026-10-23T14:13:20.000Z",
        "table backups": "2026-10-26T14:13:20.000Z",
    }
    stored = shop.dynamodb.scan(TableName="test-state")["Items"]
    assert [item["pk"]["S"] for item in stored] == ["user#other"]
    assert shop.call("events", "GET", path).status == 404
    assert shop.call("profiles", "GET", path.replace("users", "profiles")).status == 404
    assert shop.call("events", "DELETE", path).body["removed"] == {}
    assert send(shop, row(user_id)) == (1, 0)


def test_models_are_listed_by_their_pointers(shop: Shop, tmp_path: Path) -> None:
    first = flat_bundle(tmp_path / "one", "ads-table")
    shop.publish(tmp_path / "one")
    second = flat_bundle(tmp_path / "two", "ads-table", bias=0.5)
    shop.publish(tmp_path / "two")
    shop.s3.put_object(Bucket="test-models", Key="models/profiles/current.json", Body=b"not a pointer")
    models = {model["name"]: model for model in shop.call("events", "GET", "/v1/models").body["models"]}
    assert list(models) == [
        "profiles", "profiles-table", "recommendations", "recommendations-table", "ads", "ads-table"
    ]  # fmt: skip
    assert models["ads-table"] == {
        "name": "ads-table", "state": "published", "version": second, "previous": first, "challenger": None
    }  # fmt: skip
    assert models["ads"] == {"name": "ads", "state": "none"}
    assert models["profiles"] == {"name": "profiles", "state": "invalid"}


def test_health_reads_s3_once_per_ttl(shop: Shop) -> None:
    reads: list[str] = []
    shop.s3.meta.events.register("before-call.s3.GetObject", lambda **_: reads.append("get"))
    first = shop.call("events", "GET", "/v1/health").body
    assert (first["status"], first["degraded"], set(first["models"].values())) == ("ok", False, {"none"})
    assert len(reads) == 6
    for _ in range(5):
        shop.call("events", "GET", "/v1/health")
        shop.call("events", "GET", "/v1/models")
    assert len(reads) == 6


def test_health_is_degraded_without_the_model_store(shop: Shop) -> None:
    shop.s3.delete_bucket(Bucket="test-models")
    reply = shop.call("events", "GET", "/v1/health")
    assert (reply.status, reply.body["status"], reply.body["degraded"]) == (200, "degraded", True)
    assert set(reply.body["models"].values()) == {"unreachable"}


@pytest.mark.parametrize("path", ["/v1/users/null", "/v1/users/%FF", "/v1/users/" + "x" * 257])
def test_invalid_ids_are_400(shop: Shop, path: str) -> None:
    assert shop.call("events", "DELETE", path).status == 400
