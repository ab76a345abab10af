"""`explain: true`: hand-made models whose logits are known in closed form, requested through the API."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from personalization.api.profiles.schemas import ProfilesRequest
from personalization.bundles.bundle import load_bundle
from tests.api_shop import Reply, Shop
from tests.bundles import CHANNEL, FILL, WEIGHT, expected_probability, flat_bundle, profiles_bundle
from tests.integration.test_api_plumbing import row
from tests.support import proxy_event

SEEN = {"events": [1, 2, 4, 8], "monetary": [5, 0, 7, 30]}  # who stands for everybody
ROWS: dict[str, list[Any]] = {
    "click_count": [0, 4, None, 10],
    "view_duration": [0, 20, 10, 40],
    "channel": ["web", "app", None, "web"],
}


def ask(shop: Shop, path: str, body: dict[str, Any]) -> dict[str, Any]:
    reply = shop.call("profiles", "POST", path, body)
    assert reply.status == 200, reply.body
    return reply.body


@pytest.fixture
def profiles(shop: Shop, tmp_path: Path) -> None:
    profiles_bundle(tmp_path / "p", background=SEEN)
    shop.publish(tmp_path / "p")


@pytest.fixture
def table(shop: Shop, tmp_path: Path) -> None:
    flat_bundle(tmp_path / "t", background=ROWS)
    shop.publish(tmp_path / "t")


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def check_sum(explanation: dict[str, Any], probability: float) -> None:
    total = math.fsum(part["contribution"] for part in explanation["contributions"]) + explanation["others"]
    assert total == pytest.approx(explanation["logit"] - explanation["base"], abs=1e-4)
    assert explanation["logit"] == pytest.approx(logit(probability), abs=1e-4)


def test_a_profile_explains_its_probability(shop: Shop, profiles: None) -> None:
    """P(buys within 14 days) = 2n / (1 + 2n), so its logit is log 2n: all of it is the number of events."""
    events = [row(event_value=20, item_id=f"i{n}") for n in range(16)]
    (profile,) = ask(shop, "/v1/profiles", {"user_id": "u-1", "events": events, "explain": True})["profiles"]
    explanation = profile["explanation"]
    check_sum(explanation, profile["probability"])
    base = sum(math.log(2 * n) for n in SEEN["events"]) / 4
    assert explanation["base"] == pytest.approx(base, abs=1e-4)
    assert explanation["target"] == "buys within 14 days"
    assert explanation["contributions"] == [
        {
            "feature": "events",
            "name": "events in the window",
            "value": 16,
            "contribution": pytest.approx(math.log(32) - base, abs=1e-4),
            "standard_error": pytest.approx(explanation["contributions"][0]["standard_error"]),
            "direction": "raises",
        }
    ]
    assert explanation["others"] == 0
    assert explanation["rows"] % (4 * 3) == 0  # whole rounds: four background rows, walked in three steps


def test_each_user_of_any_source_has_an_explanation(shop: Shop, profiles: None) -> None:
    shop.call("events", "POST", "/v1/events", {"events": [row("stored", event_value=v) for v in (1, 2, 3)]})
    users = [{"features": {"events": 1, "monetary": 1}}, {"user_id": "stored"}, {"events": [row(None), row(None, item_id="b")]}]
    body = ask(shop, "/v1/profiles", {"users": users, "explain": True, "explain_budget_ms": 1})
    base = sum(math.log(2 * n) for n in SEEN["events"]) / 4
    for profile, count, direction in zip(body["profiles"], (1, 3, 2), ("lowers", "raises", "lowers"), strict=True):
        check_sum(profile["explanation"], profile["probability"])
        (part,) = profile["explanation"]["contributions"]
        assert (part["value"], part["direction"]) == (count, direction)
        assert part["contribution"] == pytest.approx(math.log(2 * count) - base, abs=1e-4)


def test_a_profile_from_state_is_explained_where_the_query_asks(shop: Shop, profiles: None) -> None:
    shop.call("events", "POST", "/v1/events", {"events": [row("stored", event_value=v) for v in (1, 2, 3)]})

    def get(**query: str) -> Reply:
        return shop.invoke("profiles", proxy_event("GET", "/v1/profiles/stored", query=query))

    (plain,), (explained,) = (get(**query).body["profiles"] for query in ({}, {"explain": "true", "explain_budget_ms": "50"}))
    assert "explanation" not in plain
    check_sum(explained["explanation"], plain["probability"])
    wrong = get(explain="perhaps")
    assert (wrong.status, wrong.body["errors"][0]["pointer"]) == (400, "/explain")
    assert get(explain="true", explain_budget_ms="0").status == 400


def test_a_row_of_a_table_is_explained_by_its_weights(shop: Shop, table: None) -> None:
    """A linear logit: each column contributes its weight times the distance from the background's mean, exactly."""
    rows = [{"click_count": 8, "view_duration": 0, "channel": "app"}, {"view_duration": 120}, {"channel": "fax"}]
    body = ask(shop, "/v1/tables/profiles-table", {"rows": rows, "explain": True})
    for sent, result in zip(rows, body["results"], strict=True):
        cells = [sent.get(name) for name in ROWS]
        assert result["probability"] == pytest.approx(expected_probability(*cells), abs=1e-6)  # type: ignore[arg-type]
        check_sum(result["explanation"], result["probability"])
        contributions = {part["feature"]: part for part in result["explanation"]["contributions"]}
        for name, expected in by_hand(sent).items():
            assert contributions[name]["contribution"] == pytest.approx(expected, abs=1e-4), name
            assert contributions[name]["direction"] == ("raises" if expected > 0 else "lowers")
            assert contributions[name]["value"] == sent.get(name)
        sizes = [abs(part["contribution"]) for part in result["explanation"]["contributions"]]
        assert sizes == sorted(sizes, reverse=True)
    assert body["results"][0]["explanation"]["target"] == "probability"


def by_hand(sent: dict[str, Any]) -> dict[str, float]:
    def number(name: str, cell: Any) -> float:
        return WEIGHT[name] * (FILL[name] if cell is None else cell)

    def word(cell: Any) -> float:
        return CHANNEL[cell if cell in CHANNEL else "?"]

    contributions = {
        name: number(name, sent.get(name)) - sum(number(name, cell) for cell in ROWS[name]) / len(ROWS[name]) for name in WEIGHT
    }
    return contributions | {"channel": word(sent.get("channel")) - sum(map(word, ROWS["channel"])) / len(ROWS["channel"])}


def test_a_model_without_background_rows_gives_a_warning(shop: Shop, tmp_path: Path) -> None:
    for write, name in ((profiles_bundle, "p"), (flat_bundle, "t")):
        write(tmp_path / name)
        shop.publish(tmp_path / name)
    body = ask(shop, "/v1/profiles", {"features": {"events": 1}, "explain": True})
    assert (body["profiles"][0]["probability"], "explanation" in body["profiles"][0]) == (pytest.approx(2 / 3), False)
    scored = ask(shop, "/v1/tables/profiles-table", {"rows": [{"click_count": 1}], "explain": True})
    assert "explanation" not in scored["results"][0]
    for warnings in (body["warnings"], scored["warnings"]):
        assert any(warning.startswith("explain: the model has no background rows") for warning in warnings)


def test_no_explanation_without_explain_or_without_a_model(shop: Shop, tmp_path: Path) -> None:
    body = ask(shop, "/v1/profiles", {"events": [row()], "explain": True})
    assert body["degraded"] is True
    assert "explanation" not in body["profiles"][0]
    profiles_bundle(tmp_path / "p", background=SEEN)
    shop.publish(tmp_path / "p")
    shop.clock.now += 3600
    assert "explanation" not in ask(shop, "/v1/profiles", {"features": {"events": 1}})["profiles"][0]


def test_the_budget_is_divided_over_the_users(tmp_path: Path) -> None:
    profiles_bundle(tmp_path / "p", background=SEEN)
    bundle = load_bundle(tmp_path / "p")
    request = ProfilesRequest.model_validate({"user_id": "u", "explain": True, "explain_budget_ms": 500})
    explainer, warnings = request.explainer(bundle, 5, "/users")
    assert explainer is not None
    assert (explainer.budget_seconds, warnings) == (0.1, [])


def test_limits(shop: Shop, profiles: None, table: None) -> None:
    users = [{"user_id": f"u{n}", "features": {}} for n in range(11)]
    rows = [{"click_count": n} for n in range(11)]
    for path, body, pointer in (
        ("/v1/profiles", {"users": users}, "/users"),
        ("/v1/tables/profiles-table", {"rows": rows}, "/rows"),
    ):
        ask(shop, path, body)
        refused = shop.call("profiles", "POST", path, body | {"explain": True})
        assert refused.status == 400
        assert refused.body["errors"] == [{"pointer": pointer, "detail": "expected at most 10 with explain, received 11"}]
    ask(shop, "/v1/profiles", {"users": users[:10], "explain": True, "explain_budget_ms": 1})
    for wrong in (0, 10_001):
        refused = shop.call("profiles", "POST", "/v1/profiles", {"features": {}, "explain_budget_ms": wrong})
        assert (refused.status, refused.body["errors"][0]["pointer"]) == (400, "/explain_budget_ms")
