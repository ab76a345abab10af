"""POST /v1/profiles and GET /v1/profiles/{user_id}, over a model whose predictions follow from n events of value v by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from personalization.bundles import promote, publish
from personalization.bundles.pointer import hash_fraction
from tests.api_shop import MODELS, NOW, Shop
from tests.bundles import profiles_bundle
from tests.integration.test_api_plumbing import row
from tests.support import events_of, proxy_event

DAY = 86_400


@pytest.fixture
def model(shop: Shop, tmp_path: Path) -> str:
    version = profiles_bundle(tmp_path / "profiles", timezone="Europe/Berlin")
    shop.publish(tmp_path / "profiles")
    return version


def post(shop: Shop, body: Any) -> dict[str, Any]:
    reply = shop.call("profiles", "POST", "/v1/profiles", body)
    assert reply.status == 200, reply.body
    return reply.body


def faults(shop: Shop, body: Any, status: int = 400) -> list[str]:
    reply = shop.call("profiles", "POST", "/v1/profiles", body)
    assert reply.status == status, reply.body
    return [error["pointer"] for error in reply.body["errors"]]


def buys_within_14(events: int) -> float:
    """The second step of the hand-made model: 2n / (1 + 2n)."""
    return 2 * events / (1 + 2 * events)


def predicted(body: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(p.get("user_id"), p["source"], p["probability"], p["expected_spend"]) for p in body["profiles"]]


def test_one_user_by_events(shop: Shop, model: str) -> None:
    body = post(shop, {"user_id": "u-1", "events": [row(event_value=20), row(event_value=4.5, item_id="mug")]})
    (profile,) = body["profiles"]
    assert (profile["probability"], profile["expected_spend"]) == (pytest.approx(buys_within_14(2)), 24.5)
    assert profile["churn_risk"] == pytest.approx(1 - 4 * 2 / (1 + 4 * 2))
    assert (profile["user_id"], profile["source"], profile["as_of"]) == ("u-1", "events", "2026-09-21T14:13:20.000Z")
    assert (profile["value"]["monetary"], profile["frequency"]["orders"]) == (24.5, 1)
    assert body["model"] == {"name": "profiles", "version": model}


def test_one_user_by_features(shop: Shop, model: str) -> None:
    body = post(shop, {"features": {"events": 3, "monetary": "7.5", "shoe_size": 40}, "attributes": {"age": 31}})
    assert predicted(body) == [(None, "features", pytest.approx(buys_within_14(3)), 7.5)]
    assert "user_id" not in body["profiles"][0]
    assert body["warnings"] == [
        "ignored features that the model does not use: shoe_size",
        "ignored attributes that the model does not use: age",
    ]


def test_users_of_all_sources_keep_their_order(shop: Shop, model: str) -> None:
    shop.call("events", "POST", "/v1/events", {"events": [row("stored", event_value=v) for v in (1, 2, 3)]})
    body = post(
        shop,
        {
            "users": [
                {"user_id": "by-features", "features": {"events": 1, "monetary": 1}},
                {"user_id": "stored"},
                {"events": [row(None, event_value=5)]},
                {"user_id": "nobody"},
                {"user_id": "cold", "events": []},
                {"user_id": "用户/2", "events": [row("用户/2", event_value=2), row(None, event_value=2, item_id="b")]},
            ]
        },
    )
    assert predicted(body) == [
        ("by-features", "features", pytest.approx(buys_within_14(1)), 1),
        ("stored", "state", pytest.approx(buys_within_14(3)), 6),
        (None, "events", pytest.approx(buys_within_14(1)), 5),
        ("nobody", "state", 0, 0),
        ("cold", "events", 0, 0),
        ("用户/2", "events", pytest.approx(buys_within_14(2)), 4),
    ]


def test_columns_may_have_the_names_of_amazon_personalize(shop: Shop, model: str) -> None:
    theirs = {"USER_ID": 7, "ITEM_ID": "teapot", "EVENT_TYPE": "Purchase", "TIMESTAMP": int(NOW) - DAY, "EVENT_VALUE": "3.5"}
    assert predicted(post(shop, {"user_id": 7, "events": [theirs]})) == [("7", "events", pytest.approx(buys_within_14(1)), 3.5)]


def test_a_time_without_offset_is_in_the_shops_zone(shop: Shop, model: str) -> None:
    """12:00 in Berlin is 10:00 UTC in summer: known at 10:30 UTC, not at 09:30."""
    events = [row(timestamp="2026-07-01T12:00:00")]
    known, unknown = (
        post(shop, {"events": events, "as_of": f"2026-07-01T{hour}:30:00Z"})["profiles"][0]["activity"]["events"]
        for hour in ("10", "09")
    )
    assert (known, unknown) == (1, 0)


def test_state_counts_what_was_pushed_out_of_the_window(shop: Shop, model: str) -> None:
    rows = [row("u-1", timestamp=int(NOW - n * DAY) * 1000, event_value=1.0, item_id=f"i{n}") for n in range(1, 13)]
    shop.state.write_windows(events_of(rows), max_events=5)
    (profile,) = shop.call("profiles", "GET", "/v1/profiles/u-1").body["profiles"]
    assert profile["activity"]["events"] == 5
    assert profile["value"]["lifetime_monetary"] == 12
    assert profile["recency"]["tenure_days"] == pytest.approx(12, abs=0.001)
    shop.state.write_windows(events_of([row("other", timestamp=int(NOW - DAY) * 1000)]))
    both = post(shop, {"users": [{"user_id": "other"}, {"user_id": "u-1"}]})["profiles"]
    assert [p["value"]["lifetime_monetary"] for p in both] == [24.9, 12]


@pytest.mark.parametrize("user_id", ["u-1", "用户 1", "a/b", "100%", "x?y#z", "é" * 256])
def test_get_finds_users_of_any_id(shop: Shop, model: str, user_id: str) -> None:
    shop.call("events", "POST", "/v1/events", {"events": [row(user_id)]})
    reply = shop.call("profiles", "GET", f"/v1/profiles/{quote(user_id, safe='')}")
    assert reply.status == 200
    assert predicted(reply.body) == [(user_id, "state", pytest.approx(buys_within_14(1)), pytest.approx(24.9))]


def test_get_as_of_an_earlier_time(shop: Shop, model: str) -> None:
    rows = [row("u-1", timestamp=int(NOW - days * DAY) * 1000, item_id=f"i{days}") for days in (1, 5, 9)]
    shop.state.write_windows(events_of(rows))

    def get(as_of: str) -> Any:
        return shop.invoke("profiles", proxy_event("GET", "/v1/profiles/u-1", query={"as_of": as_of}))

    reply = get("2026-09-17T00:00:00Z")
    (profile,) = reply.body["profiles"]
    assert (profile["as_of"], profile["activity"]["events"]) == ("2026-09-17T00:00:00.000Z", 2)
    refused = get("last week")
    assert (refused.status, refused.body["errors"][0]["pointer"]) == (400, "as_of")


def test_get_of_an_unknown_user_is_404(shop: Shop, model: str) -> None:
    reply = shop.call("profiles", "GET", "/v1/profiles/nobody")
    assert (reply.status, reply.body["code"]) == (404, "not-found")


def test_personalization_off_reads_nothing(shop: Shop, model: str) -> None:
    shop.call("events", "POST", "/v1/events", {"events": [row("u-1")]})
    shop.dynamodb.delete_table(TableName="test-state")
    body = post(shop, {"user_id": "u-1", "personalization": "off"})
    assert predicted(body) == [("u-1", "none", 0, 0)]
    assert body["degraded"] is False


def test_events_in_the_body_need_no_state(shop: Shop, model: str) -> None:
    shop.dynamodb.delete_table(TableName="test-state")
    assert predicted(post(shop, {"user_id": "u-1", "events": [row()]}))[0][1] == "events"
    for reply in (
        shop.call("profiles", "POST", "/v1/profiles", {"user_id": "u-1"}),
        shop.call("profiles", "GET", "/v1/profiles/u-1"),
    ):
        assert (reply.status, reply.body["code"], reply.headers["Retry-After"]) == (503, "state-unavailable", "1")


def test_without_a_model_the_features_of_events_are_returned(shop: Shop) -> None:
    body = post(shop, {"user_id": "u-1", "events": [row(event_value=20)]})
    assert (body["degraded"], body["model"], body["variant"]) == (True, None, None)
    (profile,) = body["profiles"]
    assert profile["value"]["monetary"] == 20
    assert "probability" not in profile
    assert post(shop, {"features": {"monetary": 3}})["profiles"][0]["value"] == {"monetary": 3}


def test_a_user_stays_with_one_variant(shop: Shop, model: str, tmp_path: Path) -> None:
    challenger = profiles_bundle(tmp_path / "other", max_events=7)
    publish(shop.s3, MODELS, tmp_path / "other")
    promote(shop.s3, MODELS, "profiles", challenger, challenger_share=0.5)
    for user_id in ("u-1", "u-2", "u-3", "u-4"):
        body = post(shop, {"user_id": user_id, "features": {"events": 1}})
        expected = ("challenger", challenger) if hash_fraction(user_id, "profiles") < 0.5 else ("champion", model)
        assert (body["variant"], body["model"]["version"]) == expected
    several = post(shop, {"users": [{"user_id": f"u-{n}", "features": {}} for n in range(1, 5)]})
    assert (several["variant"], several["model"]["version"]) == ("champion", model)


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, [""]),
        ({"users": [{"user_id": "u"}, {}]}, ["/users/1"]),
        ({"users": [{"user_id": "u"}], "user_id": "u"}, [""]),
        ({"user_id": "u", "events": [], "features": {}}, [""]),
        ({"users": [{"user_id": "u"}, {"user_id": "v"}, {"user_id": "u"}]}, ["/users/2/user_id"]),
        ({"user_id": "null"}, ["/user_id"]),
        ({"user_id": "u", "as_of": "soon"}, ["/as_of"]),
        ({"features": {"events": "many"}}, ["/features/events"]),
        ({"users": [{"features": {}}, {"features": {"monetary": []}}]}, ["/users/1/features/monetary"]),
        ({"events": [row(), row(TIMESTAMP="soon", timestamp=None)]}, ["/events/1/TIMESTAMP"]),
        ({"users": [{"user_id": "u", "events": [row("u", item_id=None)]}]}, ["/users/0/events/0/item_id"]),
        ({"user_id": "u", "events": [row("v")]}, ["/events/0/user_id"]),
        ({"events": [row("u"), row("v")]}, ["/events/1/user_id"]),
        ({"users": [], "personalization": "maybe"}, ["/users", "/personalization"]),
    ],
)
def test_each_fault_has_its_pointer(shop: Shop, model: str, body: dict[str, Any], pointers: list[str]) -> None:
    assert faults(shop, body) == pointers


def test_limits(shop: Shop, model: str) -> None:
    assert faults(shop, {"users": [{"user_id": f"u{n}"} for n in range(101)]}, 413) == ["/users"]
    many = [row(None, item_id=f"i{n}") for n in range(2_501)]
    assert faults(shop, {"users": [{"user_id": "a", "events": many}, {"user_id": "b", "events": many}]}, 413) == []
    assert predicted(post(shop, {"user_id": "a", "events": (many * 2)[:5000]}))[0][0] == "a"
