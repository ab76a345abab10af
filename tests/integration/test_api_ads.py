"""The routes of ads over a whole shop: decisions that are counted, plans, and what is said when something is missing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from personalization.ads.ad_catalog import write_ad_catalog
from tests.ads_bundle import ads_bundle, click
from tests.api_shop import NOW, Reply, Shop

HOUR = datetime.fromtimestamp(NOW, UTC).hour
DEAR = {"ad_id": "dear", "campaign_id": "c1", "bid": 40.0, "billing": "cpm", "budget": 0.1}
CHEAP = {"ad_id": "cheap", "campaign_id": "c2", "bid": 0.001}


@pytest.fixture
def model(shop: Shop, tmp_path: Path) -> str:
    ads_bundle(tmp_path / "ads", background=True)
    return shop.publish(tmp_path / "ads")


def score(shop: Shop, key: str = "", **body: Any) -> Reply:
    return shop.call("ads", "POST", "/v1/ads/score", body, {"Idempotency-Key": key} if key else None)


def winner(reply: Reply) -> dict[str, Any]:
    assert reply.status == 200, reply.body
    found: dict[str, Any] = reply.body["slots"][0]["winner"]
    return found


@pytest.mark.usefixtures("model")
def test_ads_that_state_nothing_but_themselves(shop: Shop) -> None:
    rows = [{"ad_id": 12, "size": 1}, {"ad_id": "b", "size": 3}, {"ad_id": "c"}]
    reply = score(shop, user_id="u", candidates=rows)
    assert reply.body["scores"] == [
        {"ad_id": "12", "probability": pytest.approx(click(ad__size=1, hour=HOUR), abs=1e-6)},
        {"ad_id": "b", "probability": pytest.approx(click(ad__size=3, hour=HOUR), abs=1e-6)},
        {"ad_id": "c", "probability": pytest.approx(click(hour=HOUR), abs=1e-6)},
    ]
    assert (winner(reply)["ad_id"], winner(reply)["price"], reply.body["basis"]) == ("b", 0.0, "predicted_rate")
    assert winner(reply)["expected_value"] == pytest.approx(click(ad__size=3, hour=HOUR), abs=1e-6)
    assert reply.body["decision_id"] == reply.body["request_id"]
    assert reply.body["warnings"] == ["no ad states a bid or a value: ads are ranked by their predicted rate, and cost nothing"]


@pytest.mark.usefixtures("model")
def test_a_budget_is_spent_by_decisions_and_not_by_previews_or_repeats(shop: Shop) -> None:
    def ask(key: str, **more: Any) -> Reply:
        shop.clock.go_on(3)  # a budget's status is cached for two seconds
        return score(shop, key, candidates=[DEAR, CHEAP], auction="first_price", **more)

    assert winner(ask("p", preview=True))["ad_id"] == "dear"
    first = ask("k1")
    assert (winner(first)["ad_id"], winner(first)["reserved"], winner(first)["price"]) == ("dear", 0.04, 40.0)
    assert winner(ask("k2"))["ad_id"] == "dear"
    third = ask("k3")  # 0.08 of 0.1 is spent: another 0.04 would be too much
    assert (winner(third)["ad_id"], third.body["losers"][0]["reason"]) == ("cheap", "budget_spent")
    again = ask("k1")
    assert again.body["slots"] == first.body["slots"]
    assert again.body["request_id"] == first.body["request_id"]
    assert again.body["warnings"] == ["a decision with this id was made before: nothing was counted again"]


@pytest.mark.usefixtures("model")
def test_a_click_that_comes_back_is_charged_once(shop: Shop) -> None:
    # A click is paid from what its slice has reserved, and a decision's id chooses the slice: with
    # these keys the slices are the same in every run.
    keys = iter(("k1", "k2", "k3", "k4"))

    def ask() -> Reply:
        shop.clock.go_on(3)
        return score(shop, next(keys), user_id="u", candidates=[CHEAP | {"bid": 1.0, "budget": 1.8}], auction="first_price")

    def send_click(impression: str) -> dict[str, Any]:
        event = {"user_id": "u", "item_id": "x", "event_type": "click", "timestamp": NOW, "decision_id": impression}
        return shop.call("events", "POST", "/v1/events", {"events": [event]}).body

    first, second = winner(ask()), winner(ask())
    chance = click(hour=HOUR), click(hour=HOUR, pair__seen=1)
    assert (first["reserved"], second["reserved"]) == pytest.approx(chance, abs=1e-5)
    assert send_click(first["impression_id"])["settled"] == 1
    assert send_click(first["impression_id"])["settled"] == 0  # sent again
    assert "settled" not in send_click("recommendation-7")
    # of 1.8 the click took 1 and the second impression holds its reserve: enough for a third, not for another click
    assert winner(ask())["ad_id"] == "cheap"
    assert ask().body["losers"][0]["reason"] == "budget_spent"
    assert send_click(second["impression_id"])["settled"] == 0
    everything = shop.call("events", "GET", "/v1/users/u").body
    assert any(item["key"] == "exposure#cheap" for item in everything["items"])


@pytest.mark.usefixtures("model")
def test_an_ad_is_shown_to_a_user_as_often_as_it_may_be(shop: Shop) -> None:
    often = DEAR | {"budget": None, "frequency_cap": 2}
    found = [score(shop, user_id="u", candidates=[often, CHEAP]) for _ in range(3)]
    assert [winner(reply)["ad_id"] for reply in found] == ["dear", "dear", "cheap"]
    assert found[2].body["losers"][0]["reason"] == "frequency_cap"
    assert winner(score(shop, user_id="v", candidates=[often, CHEAP]))["ad_id"] == "dear"
    assert winner(score(shop, session_id="u", candidates=[often, CHEAP]))["ad_id"] == "dear"


@pytest.mark.usefixtures("model")
def test_thompson_logs_what_its_propensities_were_drawn_with(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    twins = [CHEAP, CHEAP | {"ad_id": "other", "campaign_id": "c3"}]
    reply = score(shop, "k", candidates=twins, exploration={"mode": "thompson", "draws": 200}, explain=True, preview=True)
    logged = reply.body["exploration"]
    assert (logged["mode"], logged["draws"]) == ("thompson", 200)
    assert len(logged["seed"]) == 16
    chances = reply.body["slots"][0]["propensities"]
    assert sum(chances.values()) == pytest.approx(1)
    assert chances["cheap"] == pytest.approx(0.5, abs=5 * (0.25 / 200) ** 0.5)  # five standard deviations
    assert winner(reply)["propensity"] == chances[winner(reply)["ad_id"]]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"decision"' in line]
    won = {name: winner(reply)[name] for name in ("ad_id", "propensity", "explored")}
    assert [line["winners"] for line in lines] == [[{"slot_id": "1", **won}]]
    assert (lines[0]["decision_id"], lines[0]["exploration"]) == (reply.body["decision_id"], logged)
    same = score(shop, "k", candidates=twins, exploration={"mode": "thompson", "draws": 200}, explain=True, preview=True)
    assert same.body["slots"] == reply.body["slots"]


@pytest.mark.usefixtures("model")
def test_ads_of_the_catalogue_and_of_a_campaign(shop: Shop) -> None:
    assert score(shop).status == 400
    write_ad_catalog(shop.s3, "test-data", [CHEAP, DEAR], modified=1)
    shop.clock.go_on(60)
    assert winner(score(shop))["ad_id"] == "dear"
    assert winner(score(shop, campaigns=["c2"]))["ad_id"] == "cheap"
    plan = shop.call("ads", "POST", "/v1/ads/plan", {"ad_id": "cheap", "objective": "paid", "hours": 3, "k": 1})
    assert plan.status == 200, plan.body
    assert shop.call("ads", "POST", "/v1/ads/plan", {"ad_id": "none"}).status == 404


@pytest.mark.usefixtures("model")
def test_a_plan_says_when_and_where(shop: Shop) -> None:
    body = {"ad": {"value": 10, "size": 1}, "hours": 2, "channels": ["mail", "app"], "k": 1, "user_id": "u"}
    reply = shop.call("ads", "POST", "/v1/ads/plan", body)
    (best,) = reply.body["best"]
    assert (best["hour"], best["channel"]) == (f"2026-09-21T{HOUR + 2}:00Z", "app")
    assert best["expected_value"] == pytest.approx(10 * click("app", ad__size=1, hour=HOUR + 2) / 2, abs=1e-5)
    assert (reply.body["cells"], reply.body["degraded"], reply.body["model"]["name"]) == (4, False, "ads")


def test_without_a_model(shop: Shop) -> None:
    reply = score(shop, candidates=[CHEAP], slots=[{"slot_id": "a"}, {"slot_id": "b"}])
    assert (reply.status, reply.body["degraded"]) == (200, True)
    assert reply.body["slots"] == [{"slot_id": "a", "winner": None}, {"slot_id": "b", "winner": None}]
    assert reply.body["scores"] == reply.body["losers"] == []
    plan = shop.call("ads", "POST", "/v1/ads/plan", {"ad": {"value": 1}})
    assert (plan.status, plan.body["code"]) == (503, "model-unavailable")


@pytest.mark.usefixtures("model")
def test_where_nothing_can_be_counted_what_counts_takes_no_part(shop: Shop) -> None:
    shop.dynamodb.delete_table(TableName="test-state")
    reply = score(shop, user_id="u", candidates=[DEAR, CHEAP])
    assert (winner(reply)["ad_id"], reply.body["degraded"]) == ("cheap", True)
    assert "counts as new" in reply.body["degraded_reason"]
    assert (reply.body["losers"][0]["reason"], reply.body["losers"][0]["ad_id"]) == ("ineligible", "dear")
    by_events = score(shop, candidates=[CHEAP], events=[])
    assert (winner(by_events)["ad_id"], by_events.body["degraded"]) == ("cheap", False)  # nothing had to be read or counted


@pytest.mark.usefixtures("model")
def test_faults_are_pointed_at(shop: Shop) -> None:
    def pointers(**body: Any) -> list[str]:
        reply = score(shop, **body)
        assert reply.status == 400, reply.body
        return [error["pointer"] for error in reply.body["errors"]]

    assert pointers(candidates=[{"ad_id": "a"}, {"category": "x"}, {"ad_id": ""}]) == [
        "/candidates/1/ad_id", "/candidates/2/ad_id"
    ]  # fmt: skip
    assert pointers(candidates=[{"ad_id": "a", "Bid": "dear"}]) == ["/candidates/0/Bid"]
    assert pointers(candidates=[{"ad_id": "a", "budget": 1}]) == ["/candidates/0/campaign_id"]
    assert pointers(candidates=[{"ad_id": "a"}, {"ad_id": "a"}]) == ["/candidates/1/ad_id"]
    assert pointers(candidates=[CHEAP | {"bid": -1, "budget": 1e13}]) == ["/candidates/0/bid", "/candidates/0/budget"]
    assert pointers(candidates=[CHEAP], as_of="soon") == ["/as_of"]
    assert pointers(candidates=[CHEAP], slots=[{"slot_id": "a", "position": 0}]) == ["/slots/0/position"]


@pytest.mark.usefixtures("model")
def test_five_hundred_losers_are_repeated_as_they_were(shop: Shop) -> None:
    rows = [CHEAP | {"ad_id": f"{n:03}" + "x" * 250, "campaign_id": f"c{n}", "budget": 10} for n in range(500)]
    first = score(shop, "k", candidates=rows)
    assert (len(first.body["losers"]), first.body["degraded"]) == (499, False)
    assert score(shop, "k", candidates=rows).body["losers"] == first.body["losers"]


@pytest.mark.usefixtures("model")
def test_no_line_of_the_log_names_the_user(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    score(shop, user_id="maria@example.com", candidates=[DEAR | {"frequency_cap": 1}])
    shop.dynamodb.delete_table(TableName="test-state")
    score(shop, user_id="maria@example.com", candidates=[DEAR | {"frequency_cap": 1}])
    assert "maria" not in capsys.readouterr().out
