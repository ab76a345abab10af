"""Recommendations, rankings, similar items and the catalogue, as a shop's server sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from tests.api_shop import NOW, Reply, Shop
from tests.integration.test_api_plumbing import row
from tests.recommendations_bundle import ITEMS, recommendations_bundle, relevance_by_hand, scores_by_hand

URL = "/v1/recommendations"


@pytest.fixture(autouse=True)
def model(shop: Shop, tmp_path: Path) -> None:
    recommendations_bundle(tmp_path / "recommendations")
    shop.publish(tmp_path / "recommendations")


def post(shop: Shop, body: dict[str, Any], url: str = URL) -> dict[str, Any]:
    reply = shop.call("recommendations", "POST", url, body)
    assert reply.status == 200, reply.body
    assert [item["rank"] for item in reply.body["items"]] == list(range(1, len(reply.body["items"]) + 1))
    return reply.body


def ids(body: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in body["items"]]


def put(shop: Shop, body: dict[str, Any]) -> Reply:
    return shop.call("recommendations", "PUT", "/v1/items", body)


def test_an_item_says_what_it_is_and_why(shop: Shop) -> None:
    body = post(shop, {"history": ["teapot"], "k": 3})
    scores = scores_by_hand(["teapot"])
    best = sorted((item for item in ITEMS if item not in ("teapot", "mug-red")), key=lambda item: -scores[item])
    assert ids(body) == best[:3]
    mug = next(item for item in body["items"] if item["item_id"] == "mug")
    assert mug["score"] == pytest.approx(scores["mug"], rel=1e-5)
    assert mug["relevance"] == pytest.approx(relevance_by_hand(scores, "mug"), abs=1e-5)
    assert mug["metadata"] == {
        "title": "Mug", "category": "kitchen", "brand": "Acme", "parent_id": "mugs", "price": 7.5, "in_stock": True
    }  # fmt: skip
    assert mug["reason"]["text"] == "because you chose Teapot"
    assert (body["scenario"], body["personalized"], body["degraded"], body["catalogue"]) == ("personal", True, False, None)
    assert "explanation" not in mug


def test_filters_keep_the_list_full(shop: Shop) -> None:
    body = post(shop, {"history": ["teapot"], "k": 2, "filters": {"category": ["garden"]}})
    assert set(ids(body)) == {"spade", "rake"}
    body = post(shop, {"history": ["teapot"], "k": 5, "filters": {"price_min": 10, "price_max": 20, "in_stock": True}})
    assert set(ids(body)) == {"spade", "rake"}
    assert body["warnings"] == ["2 items instead of 5: 2 are eligible"]
    newer = {"created_after": "2026-04-30", "exclude_ids": ["lamp"]}
    assert ids(post(shop, {"k": 9, "filters": newer})) == ["spade"]
    body = post(shop, {"history": ["teapot", "spade"], "k": 9, "filters": {"not_purchased": True, "in_stock": True}})
    assert set(ids(body)) == set(ITEMS) - {"teapot", "spade", "mug-red"}
    assert ids(post(shop, {"k": 9, "filters": {"include_ids": ["rake", "unheard-of"]}})) == ["rake"]


def test_promotion_diversity_and_relevance(shop: Shop) -> None:
    promote = {"filters": {"category": ["garden"]}, "share": 0.5}
    body = post(shop, {"history": ["teapot"], "k": 4, "promote": promote})
    assert {"spade", "rake"} < set(ids(body))
    categories = [
        item["metadata"].get("category") for item in post(shop, {"history": ["teapot"], "k": 3, "diversity": 1})["items"]
    ]
    assert len(set(categories)) == 3
    body = post(shop, {"history": ["teapot"], "min_relevance": 0.2})
    assert 0 < len(body["items"]) < 7
    assert min(item["relevance"] for item in body["items"]) >= 0.2


def test_a_user_is_heard_from_state_with_page_and_cart(shop: Shop) -> None:
    bought = row("u", item_id="spade", timestamp=NOW - 86_400, event_type="purchase")
    shop.call("events", "POST", "/v1/events", {"events": [bought, row("u", item_id="gone", timestamp=NOW - 50)]})
    body = post(shop, {"user_id": "u", "k": 1})
    assert ids(body) == ["rake"]
    assert body["warnings"] == ["1 items of the user's history are not known and were skipped"]
    body = post(shop, {"user_id": "u", "k": 9, "context": {"item_id": "teapot", "cart": ["mug"]}})
    assert set(ids(body)[-2:]) == {"spade", "teapot"}  # what was had, or is there already, comes last
    assert "mug" not in ids(body)  # of two variants the one that is not there yet
    kettle = next(item for item in body["items"] if item["item_id"] == "kettle")
    assert kettle["reason"]["text"] in ("because you viewed Teapot", "because you viewed Mug")
    again = post(shop, {"user_id": "u", "scenario": "buy_again"})
    assert ids(again) == ["spade"]


def test_somebody_new_is_flagged(shop: Shop) -> None:
    for body in (post(shop, {"user_id": "nobody", "k": 2}), post(shop, {"history": ["unheard-of"], "k": 2})):
        assert ids(body) == ["mug", "kettle"]
        assert (body["personalized"], body["degraded"]) == (False, False)
        assert body["items"][0]["reason"]["text"] == "popular in kitchen"
    assert body["warnings"] == ["1 of 1 items of the history are not known and were skipped"]
    assert ids(post(shop, {"k": 2, "context": {"category": "garden"}})) == ["spade", "rake"]


def test_scenarios(shop: Shop) -> None:
    assert ids(post(shop, {"scenario": "trending", "k": 2})) == ["spade", "kettle"]
    assert ids(post(shop, {"scenario": "bought_together", "item_id": "teapot"})) == ["mug", "kettle", "lamp"]
    assert ids(post(shop, {"scenario": "bought_together", "context": {"cart": ["spade"]}})) == ["rake"]
    assert ids(post(shop, {"scenario": "bought_together", "history": ["teapot", "spade"]})) == ["rake"]
    assert "spade" not in ids(post(shop, {"scenario": "similar", "item_id": "spade", "k": 5}))


def test_similar_items_by_path(shop: Shop) -> None:
    def get(path: str, query: dict[str, str] | None = None) -> Reply:
        from tests.support import proxy_event

        event = proxy_event("GET", path) | {"queryStringParameters": query}
        return shop.invoke("recommendations", event)

    reply = get("/v1/items/spade/similar", {"k": "2"})
    assert (reply.status, ids(reply.body)[0], len(reply.body["items"])) == (200, "rake", 2)
    assert get("/v1/items/unheard-of/similar").status == 404
    assert get("/v1/items/spade/similar", {"k": "0"}).status == 400


def test_rankings_are_a_permutation(shop: Shop) -> None:
    asked = ["secret", "unheard-of", "rake", "teapot", "mug", "mug-red", "other", "rake"]
    body = post(shop, {"history": ["teapot"], "items": asked}, "/v1/rankings")
    scores = scores_by_hand(["teapot"])
    fresh = sorted(["secret", "rake", "mug", "mug-red"], key=lambda item: -scores[item])
    assert ids(body) == [*fresh, "teapot", "unheard-of", "other"]
    assert [item["score"] for item in body["items"][-2:]] == [None, None]
    assert body["warnings"] == ["1 items were given more than once", "2 items are not known and come last, in their order"]
    assert shop.call("recommendations", "POST", "/v1/rankings", {"items": ["x"] * 501}).status == 413
    assert shop.call("recommendations", "POST", "/v1/rankings", {"items": []}).status == 400


def test_explanations_sum_to_the_scores(shop: Shop) -> None:
    for url, more in ((URL, {"k": 3}), ("/v1/rankings", {"items": ["rake", "kettle"]}), (URL, {"history": []})):
        body = post(shop, {"history": ["teapot", "spade", "mug"], "explain": True} | more, url)
        for item in body["items"]:
            told = item["explanation"]
            total = told["base"] + sum(part["value"] for part in told["contributions"])
            assert total == pytest.approx(item["score"], abs=1e-4)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"scenario": "similar"}, ""),
        ({"scenario": "similar", "item_id": "unheard-of"}, "/item_id"),
        ({"scenario": "best"}, "/scenario"),
        ({"diversity": 1.5}, "/diversity"),
        ({"filters": {"colour": "red"}}, "/filters/colour"),
        ({"filters": {"created_after": "soon"}}, "/filters/created_after"),
        ({"promote": {"filters": {"created_after": "soon"}, "share": 1}}, "/promote/filters/created_after"),
        ({"promote": {"share": 1}}, "/promote/filters"),
    ],
)
def test_what_cannot_be_asked(shop: Shop, body: dict[str, Any], pointer: str) -> None:
    reply = shop.call("recommendations", "POST", URL, body)
    assert reply.status == 400
    assert [error["pointer"] for error in reply.body["errors"]] == [pointer]


def test_a_new_item_is_recommended_without_a_new_model(shop: Shop) -> None:
    new = {"item_id": "hoe", "category": "garden", "brand": "Bolt", "price": 12, "title": "Hoe", "in_stock": True}
    version = put(shop, {"items": [new, {"item_id": "spade", "in_stock": False}], "remove": ["rake"]}).body["catalogue"]
    body = post(shop, {"history": ["spade"], "k": 3, "filters": {"category": ["garden"]}})
    assert ids(body) == ["hoe", "spade"]
    hoe = body["items"][0]
    # 2 · the history's vector [0, 1] · ([0, .4] of garden · 2 + [0, .05] of Bolt · 2), and .25 · alike (cosine to spade: 1)
    assert hoe["score"] == pytest.approx(2 * 0.9 + 0.25 * 1.0, rel=1e-4)
    assert hoe["metadata"]["title"] == "Hoe"
    assert body["catalogue"] == version
    assert ids(post(shop, {"history": ["spade"], "filters": {"category": ["garden"], "in_stock": True}})) == ["hoe"]
    # and it is part of a history like any other item
    body = post(shop, {"history": ["hoe"], "k": 1, "filters": {"exclude_ids": ["hoe"]}})
    assert ids(body) == ["spade"]
    assert "warnings" not in body
    body = post(shop, {"history": ["teapot"], "items": ["hoe", "rake", "mug"]}, "/v1/rankings")
    assert set(ids(body)) == {"hoe", "rake", "mug"}


def test_prices_are_read_live(shop: Shop) -> None:
    put(shop, {"items": [{"item_id": "mug", "price": 99}]})
    assert "mug" not in ids(post(shop, {"k": 9, "filters": {"price_max": 50}}))
    put(shop, {"items": [{"item_id": "mug", "price": 5, "brand": None}]})
    found = {item["item_id"]: item["metadata"] for item in post(shop, {"k": 9, "filters": {"price_max": 50}})["items"]}
    assert found["mug"] == {"title": "Mug", "category": "kitchen", "parent_id": "mugs", "price": 5.0, "in_stock": True}


def test_items_that_cannot_be_stored_are_pointed_at(shop: Shop) -> None:
    rows = [{"item_id": "a", "price": 1}, {"sku": "b", "Price": "much"}, {"price": 1}, {"item_id": "c", "in_stock": "maybe"}]
    reply = put(shop, {"items": rows})
    assert reply.status == 400
    assert [e["pointer"] for e in reply.body["errors"]] == ["/items/1/Price", "/items/2/item_id", "/items/3/in_stock"]
    assert put(shop, {}).status == 400
    assert post(shop, {"k": 1})["catalogue"] is None
    assert put(shop, {"items": [{"item_id": str(n)} for n in range(1001)]}).status == 413


def test_a_dead_store_answers_from_the_last_good(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    put(shop, {"items": [{"item_id": "mug", "price": 5}]})
    before = post(shop, {"history": ["teapot"], "k": 3})

    def dead(**arguments: Any) -> Any:
        raise EndpointConnectionError(endpoint_url="nowhere")

    monkeypatch.setattr(shop.s3, "get_object", dead)
    shop.clock.go_on(600)
    body = post(shop, {"history": ["teapot"], "k": 3})
    assert body["items"] == before["items"]
    assert (body["degraded"], body["catalogue"]) == (True, before["catalogue"])
    assert "the model could not be refreshed" in body["degraded_reason"]
    assert "the item catalog could not be refreshed: S3 does not respond" in body["degraded_reason"]
    assert put(shop, {"remove": ["mug"]}).status == 503
    shop.handlers.clear()  # a new function has nothing to answer from, and pads nothing
    body = post(shop, {"history": ["teapot"], "k": 3})
    assert (body["items"], body["degraded"]) == ([], True)
