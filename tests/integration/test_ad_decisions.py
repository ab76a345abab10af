"""From a request to a decision and back, over real stores and a model that can be done by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from personalization.ads.ad_catalog import AdCatalogReader, write_ad_catalog
from personalization.ads.budgets.settlement import settle_charge
from personalization.ads.budgets.store import Budgets
from personalization.ads.exploration import seed_of
from personalization.ads.exposure import ExposureStore
from personalization.api.ads.plan import plan
from personalization.api.ads.schemas import PlanRequest, ScoreRequest
from personalization.api.ads.score import ScoredAds, score
from personalization.api.ads.stores import AdStores
from personalization.bundles.bundle import Bundle, load_bundle
from personalization.core.errors import InvalidInput, NotFound, TooLarge
from personalization.state import StateStore
from personalization.state.dynamodb import StateTable
from tests.ads_bundle import UNTREATED, ads_bundle, click
from tests.support import DAY_MS, Clock, events_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

TABLE = "test-state"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()
SMALL = {"ad_id": "small", "campaign_id": "c1", "size": 0, "bid": 1.0}
BIG = {"ad_id": "big", "campaign_id": "c2", "size": 2, "bid": 1.0}


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def stores(dynamodb: DynamoDBClient, s3: S3Client, clock: Clock) -> AdStores:
    return AdStores(
        StateStore(dynamodb, TABLE, clock=clock, sleep=lambda seconds: None),
        Budgets(dynamodb, TABLE, clock=clock, cache_ttl_ms=0),
        ExposureStore(StateTable(dynamodb, TABLE)),
        AdCatalogReader(s3, "test-data", clock=clock),
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    ads_bundle(tmp_path / "ads", examination={"": [1.0, 0.5]})
    return load_bundle(tmp_path / "ads")


def scored(bundle: Bundle, stores: AdStores, decision_id: str = "d", now: float = NOON, **request: Any) -> ScoredAds:
    return score(ScoreRequest.model_validate(request), bundle, decision_id, int(now * 1000), stores, repeatable=True)


def test_winners_and_losers_by_hand(bundle: Bundle, stores: AdStores) -> None:
    slots = [{"slot_id": "top", "position": 1}, {"slot_id": "low", "position": 2, "floor": 1.0}]
    poor = SMALL | {"ad_id": "poor", "bid": 0.001}
    found = scored(bundle, stores, candidates=[SMALL, BIG, poor], slots=slots).content
    top, low = (slot["winner"] for slot in found["slots"])
    big, small = click(ad__size=2, hour=12), click(hour=12)
    assert (top["ad_id"], low["ad_id"]) == ("big", "small")
    assert top["pctr"] == pytest.approx(big, abs=1e-6)
    assert top["pcvr"] == 0.5
    assert top["pconversion"] == pytest.approx(big / 2, abs=1e-6)
    assert top["expected_value"] == pytest.approx(big, abs=1e-6)
    # the next in the first slot is worth `small`; a click there costs what that takes
    assert top["price"] == pytest.approx(small / big, abs=2e-6)
    assert low["seen"] == 0.5
    assert low["expected_value"] == pytest.approx(0.5 * small, abs=1e-6)
    assert low["price"] == pytest.approx(1e-3 / (0.5 * small), abs=2e-6)  # its floor
    assert (top["propensity"], top["explored"], top["billing"]) == (1.0, False, "cpc")
    assert top["impression_id"] == "d#big"
    assert [(one["ad_id"], one["reason"]) for one in found["losers"]] == [("poor", "outscored")]
    assert found["positions"] == "known"
    assert int(found["exploration"]["seed"], 16) == seed_of("d")


def test_what_is_known_of_the_viewer_counts(bundle: Bundle, stores: AdStores) -> None:
    rows = [
        {"user_id": "u", "timestamp": int(NOON * 1000) - n * DAY_MS, "event_type": "purchase", "order_id": f"o{n}",
         "category": "tea", "item_id": "x"}
        for n in (1, 2)
    ]  # fmt: skip
    assert stores.users is not None
    stores.users.append_events(events_of(rows), order_ids=["o1", "o2"])
    tea = BIG | {"category": "tea"}

    def pctr(**user: Any) -> float:
        return float(scored(bundle, stores, candidates=[tea], preview=True, **user).content["slots"][0]["winner"]["pctr"])

    stranger = click(ad__size=2, hour=12)
    known = click(ad__size=2, hour=12, orders=2, pair__category_share=1)
    events = [{"item_id": "x", "event_type": "purchase", "timestamp": NOON - 86_400 * n, "category": "tea", "order_id": n}
              for n in (1, 2)]  # fmt: skip
    assert pctr() == pytest.approx(stranger, abs=1e-6)
    assert pctr(user_id="u") == pytest.approx(known, abs=1e-6)
    assert pctr(user_id="u", personalization="off") == pytest.approx(stranger, abs=1e-6)
    assert pctr(events=events) == pytest.approx(known, abs=1e-6)
    assert pctr(features={"orders": 4}) == pytest.approx(click(ad__size=2, hour=12, orders=4), abs=1e-6)
    assert pctr(channel="app") == pytest.approx(click("app", ad__size=2, hour=12), abs=1e-6)


def test_seeing_an_ad_again_counts_against_it(bundle: Bundle, stores: AdStores) -> None:
    shown = [
        scored(bundle, stores, f"d{n}", candidates=[BIG], user_id="u").content["slots"][0]["winner"]["pctr"] for n in range(3)
    ]
    assert shown == pytest.approx([click(ad__size=2, hour=12, pair__seen=n) for n in range(3)], abs=1e-6)


def test_a_budget_runs_out_and_a_repeated_decision_says_the_same(bundle: Bundle, stores: AdStores) -> None:
    thousand = SMALL | {"bid": 50_000.0, "billing": "cpm", "budget": 100.0}
    decide = lambda n: scored(bundle, stores, f"d{n}", candidates=[thousand, BIG], auction="first_price")  # noqa: E731
    winners = [decide(n).content["slots"][0]["winner"] for n in range(3)]
    assert [winner["ad_id"] for winner in winners] == ["small", "small", "big"]
    assert winners[0]["reserved"] == 50.0
    again = decide(0)
    assert again.content["slots"][0]["winner"] == winners[0]
    assert again.warnings == ("a decision with this id was made before: nothing was counted again",)
    assert decide(2).content["losers"][0]["reason"] == "budget_spent"


def test_a_click_is_charged_by_the_id_that_the_answer_gave(bundle: Bundle, stores: AdStores) -> None:
    assert stores.budgets is not None
    found = scored(bundle, stores, candidates=[BIG | {"budget": 10.0}], auction="first_price").content
    decision_id, _, ad_id = found["slots"][0]["winner"]["impression_id"].partition("#")
    assert settle_charge(stores.budgets, decision_id, ad_id, "cpc").billed == 1_000_000_000


def test_own_ads_say_what_they_are_ranked_by(tmp_path: Path, stores: AdStores) -> None:
    ads_bundle(tmp_path / "uplift", untreated=True)
    uplift = load_bundle(tmp_path / "uplift")
    own = {"ad_id": "own", "campaign_id": "c", "size": 2, "value": 10.0}
    found = scored(uplift, stores, candidates=[own], objective="own")
    winner = found.content["slots"][0]["winner"]
    effect = click(ad__size=2, hour=12) / 2 - UNTREATED
    assert found.content["basis"] == "uplift"
    assert winner["effect"] == pytest.approx(effect, abs=1e-6)
    assert winner["expected_value"] == pytest.approx(10 * effect, abs=1e-5)
    ads_bundle(tmp_path / "response")
    response = scored(load_bundle(tmp_path / "response"), stores, candidates=[own], objective="own")
    assert response.content["basis"] == "response"
    assert any("held back" in warning for warning in response.warnings)


def test_a_model_of_clicks_cannot_value_conversions(tmp_path: Path, stores: AdStores) -> None:
    ads_bundle(tmp_path / "clicks", conversion=False)
    rows = [BIG, BIG | {"ad_id": "cpa", "billing": "cpa"}, BIG | {"ad_id": "value", "bid": None, "value": 3.0}]
    found = scored(load_bundle(tmp_path / "clicks"), stores, candidates=rows).content
    assert found["slots"][0]["winner"]["ad_id"] == "big"
    assert {one["ad_id"]: one["reason"] for one in found["losers"]} == {"cpa": "ineligible", "value": "ineligible"}


def test_a_response_holds_the_propensities_of_exploration(bundle: Bundle, stores: AdStores) -> None:
    found = scored(
        bundle, stores, candidates=[SMALL, BIG], exploration={"mode": "epsilon", "epsilon": 0.4}, explain=True
    ).content
    assert found["slots"][0]["propensities"] == {"small": 0.2, "big": 0.8}
    assert found["exploration"]["epsilon"] == 0.4
    assert scored(bundle, stores, candidates=[BIG], exploration={"mode": "epsilon"}).content["exploration"]["epsilon"] == 0.05


def test_a_winner_explains_itself(tmp_path: Path, stores: AdStores, bundle: Bundle) -> None:
    ads_bundle(tmp_path / "explained", background=True)
    explaining = load_bundle(tmp_path / "explained")
    found = scored(explaining, stores, candidates=[BIG | {"creative": "blue"}], channel="app", explain=True)
    explanation = found.content["slots"][0]["winner"]["explanation"]
    # the model is a sum, so each column adds what it adds, whatever the order
    contributions = {one["feature"]: one["contribution"] for one in explanation["contributions"]}
    assert contributions == pytest.approx({"ad.size": 1.0, "hour": 1.2, "channel": 0.7, "ad.creative": 0.4}, abs=1e-5)
    assert (explanation["target"], explanation["base"], explanation["others"]) == ("click", -2.0, 0.0)
    assert {one["feature"]: one["value"] for one in explanation["contributions"]}["ad.creative"] == "blue"
    assert explanation["logit"] == pytest.approx(-2.0 + 3.3, abs=1e-5)
    assert explanation["contributions"][0]["name"] == "hour of the day, in the shop's zone"
    assert found.warnings == ()
    silent = scored(bundle, stores, candidates=[BIG], explain=True)
    assert "explanation" not in silent.content["slots"][0]["winner"]
    assert any("explain" in warning for warning in silent.warnings)


def test_ads_come_from_the_catalogue(bundle: Bundle, stores: AdStores, s3: S3Client, clock: Clock) -> None:
    with pytest.raises(InvalidInput, match="no file of ads"):
        scored(bundle, stores)
    write_ad_catalog(s3, "test-data", [SMALL, BIG, BIG | {"ad_id": "other", "campaign_id": "c3"}], modified=1)
    clock.go_on(60)
    assert len(scored(bundle, stores).content["losers"]) == 2
    found = scored(bundle, stores, campaigns=["c1", "c3"]).content
    assert {found["slots"][0]["winner"]["ad_id"], found["losers"][0]["ad_id"]} == {"small", "other"}
    write_ad_catalog(s3, "test-data", [SMALL | {"ad_id": str(n)} for n in range(501)], modified=2)
    clock.go_on(60)
    with pytest.raises(TooLarge, match="501"):
        scored(bundle, stores)


def test_without_the_table_what_is_counted_stays_out(bundle: Bundle, stores: AdStores, dynamodb: DynamoDBClient) -> None:
    dynamodb.delete_table(TableName=TABLE)
    found = scored(bundle, stores, candidates=[SMALL, BIG | {"budget": 10.0}], user_id="u")
    assert found.content["slots"][0]["winner"]["ad_id"] == "small"
    assert "counts as new" in found.degraded_reason
    assert "take no part" in found.degraded_reason


def test_faults_point_at_what_was_sent(bundle: Bundle, stores: AdStores) -> None:
    with pytest.raises(InvalidInput) as raised:
        scored(bundle, stores, candidates=[{"ad_id": "a", "campaign_id": "c", "Bid": "dear"}, {"ad_id": "x", "budget": 5}])
    assert {fault.pointer for fault in raised.value.faults} == {"/candidates/0/Bid", "/candidates/1/campaign_id"}
    with pytest.raises(InvalidInput) as raised:
        scored(bundle, stores, candidates=[SMALL], events=[{"item_id": "x", "event_type": "view", "timestamp": "soon"}])
    assert [fault.pointer for fault in raised.value.faults] == ["/events/0/timestamp"]
    with pytest.raises(InvalidInput) as raised:
        scored(bundle, stores, candidates=[SMALL], features={"orders": "many"})
    assert [fault.pointer for fault in raised.value.faults] == ["/features/orders"]


@pytest.mark.parametrize(
    "body",
    [
        {"candidates": []},
        {"candidates": [SMALL], "campaigns": ["c"]},
        {"slots": [{"slot_id": "a"}, {"slot_id": "a"}]},
        {"slots": [{"slot_id": "a", "position": 0}]},
        {"exploration": {"mode": "best"}},
        {"exploration": {"epsilon": 2}},
        {"events": [], "features": {}},
        {"objective": "free"},
        {"unknown": 1},
    ],
)
def test_requests_that_cannot_be(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ScoreRequest.model_validate(body)


def test_a_plan_by_hand(tmp_path: Path, stores: AdStores) -> None:
    ads_bundle(tmp_path / "plan", support={"channel": {"app": 9}})
    bundle = load_bundle(tmp_path / "plan")
    request = {
        "ad": {"ad_id": "a", "size": 1, "value": 4.0},
        "hours": 24,
        "channels": ["mail", "app"],
        "creatives": ["red", "blue"],
    }
    found = plan(PlanRequest.model_validate(request | {"k": 2}), bundle, int(NOON * 1000) + 1, stores).content
    # the later in the day, the more are clicked: the next 23:00, in the app, in blue
    best, second = found["best"]
    assert (found["cells"], found["users"], found["basis"]) == (96, 1, "response")
    assert (best["hour"], best["channel"], best["creative"]) == ("2026-11-24T23:00Z", "app", "blue")
    chance = click("app", "blue", ad__size=1, hour=23)
    assert best["pctr"] == pytest.approx(chance, abs=1e-6)
    assert best["expected_value"] == pytest.approx(4 * chance / 2, abs=1e-5)
    assert best["evidence"]["impressions"] == {"channel": 9}
    assert best["evidence"]["hour_gain"] > 0
    assert second["hour"] == "2026-11-24T22:00Z"
    mean = sum(
        4 * click(channel, creative, ad__size=1, hour=hour) / 2
        for channel in ("mail", "app") for creative in ("red", "blue") for hour in range(24)
    ) / 96  # fmt: skip
    assert found["mean_expected_value"] == pytest.approx(mean, abs=1e-5)


def test_a_plan_for_a_segment_and_an_ad_of_the_catalogue(bundle: Bundle, stores: AdStores, s3: S3Client, clock: Clock) -> None:
    write_ad_catalog(s3, "test-data", [BIG | {"channel": "mail"}], modified=1)
    clock.go_on(60)
    request = PlanRequest.model_validate({"ad_id": "big", "users": ["u", "v"], "hours": 4, "objective": "paid", "k": 1})
    found = plan(request, bundle, int(NOON * 1000), stores).content
    assert (found["users"], found["cells"], found["best"][0]["channel"]) == (2, 4, "mail")
    assert found["best"][0]["hour"] == "2026-11-24T15:00Z"
    assert found["best"][0]["expected_value"] == pytest.approx(click("mail", ad__size=2, hour=15), abs=1e-5)
    assert found["best"][0]["evidence"]["standard_error"] == 0.0
    with pytest.raises(NotFound):
        plan(PlanRequest(ad_id="none"), bundle, int(NOON * 1000), stores)
    many = {"ad_id": "big", "hours": 336, "channels": [str(n) for n in range(20)]}
    with pytest.raises(TooLarge):
        plan(PlanRequest.model_validate(many), bundle, int(NOON * 1000), stores)


@pytest.mark.parametrize(
    "body", [{}, {"ad": {}, "ad_id": "a"}, {"ad_id": "a", "users": ["u"], "user_id": "u"}, {"ad_id": "a", "hours": 0}]
)
def test_plans_that_cannot_be(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PlanRequest.model_validate(body)
