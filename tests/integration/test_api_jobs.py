"""Tables, recommendations and ads: the other routes with a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.api_shop import NOW, Shop
from tests.bundles import expected_probability, flat_bundle
from tests.integration.test_api_plumbing import row
from tests.recommendations_bundle import recommendations_bundle

JOBS = ("profiles", "recommendations", "ads")


@pytest.fixture
def ranking(shop: Shop, tmp_path: Path) -> None:
    """A model that likes d, then b, a, c, whatever the history: by popularity alone."""
    directory = tmp_path / "recommendations"
    liked = {"a": 2.0, "b": 3.0, "c": 1.0, "d": 4.0}
    items = {item: ([0.0, 0.0], score, 0.0, None, None, None, None, None, None, -1) for item, score in liked.items()}
    recommendations_bundle(directory, items, mix={"static": {"popularity": 1.0}, "matrices": {}}, matrices={}, content=False)
    shop.publish(directory)


def recommended(shop: Shop, body: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    reply = shop.call("recommendations", "POST", "/v1/recommendations", body)
    assert reply.status == 200, reply.body
    return [item["item_id"] for item in reply.body["items"]], reply.body


@pytest.mark.parametrize("job", JOBS)
def test_rows_of_a_table_are_scored(shop: Shop, tmp_path: Path, job: str) -> None:
    flat_bundle(tmp_path / "b", f"{job}-table")
    shop.publish(tmp_path / "b")
    rows = [
        {"user_id": "u", "click_count": 3, "view_duration": "20", "channel": "app"},
        {"click_count": None, "channel": "fax", "age": 31},
        {"CLICK_COUNT": 9},
    ]
    reply = shop.call(job, "POST", f"/v1/tables/{job}-table", {"rows": rows})
    assert reply.body["results"] == [
        {"row": 0, "probability": pytest.approx(expected_probability(3, 20, "app"))},
        {"row": 1, "probability": pytest.approx(expected_probability(None, None, "fax"))},
        {"row": 2, "probability": pytest.approx(expected_probability(None, None, None))},
    ]
    assert reply.body["warnings"] == ["ignored columns that the model does not use: CLICK_COUNT, age"]


def test_columns_that_no_row_has_are_named(shop: Shop, tmp_path: Path) -> None:
    flat_bundle(tmp_path / "b", "ads-table")
    shop.publish(tmp_path / "b")
    reply = shop.call("ads", "POST", "/v1/tables/ads-table", {"rows": [{"channel": "web"}]})
    assert reply.body["warnings"] == ["columns of the model that no row has: click_count, view_duration"]


def test_bad_cells_of_a_table_have_pointers(shop: Shop, tmp_path: Path) -> None:
    flat_bundle(tmp_path / "b", "ads-table")
    shop.publish(tmp_path / "b")
    rows = [{"click_count": 1}, {"click_count": "many"}, {"view_duration": [1]}, {"click_count": 1e308}]
    reply = shop.call("ads", "POST", "/v1/tables/ads-table", {"rows": rows})
    assert reply.status == 400
    assert sorted(error["pointer"] for error in reply.body["errors"]) == [
        "/rows/1/click_count", "/rows/2/view_duration", "/rows/3/click_count"
    ]  # fmt: skip


@pytest.mark.parametrize("job", JOBS)
def test_a_table_without_a_model_is_503(shop: Shop, job: str) -> None:
    reply = shop.call(job, "POST", f"/v1/tables/{job}-table", {"rows": [{"x": 1}]})
    assert (reply.status, reply.body["code"], reply.headers["Retry-After"]) == (503, "model-unavailable", "1")


def test_a_corrupt_model_is_503(shop: Shop, tmp_path: Path) -> None:
    version = flat_bundle(tmp_path / "b", "ads-table")
    shop.publish(tmp_path / "b")
    shop.s3.put_object(Bucket="test-models", Key=f"models/ads-table/{version}/model.onnx", Body=b"half a model")
    reply = shop.call("ads", "POST", "/v1/tables/ads-table", {"rows": [{"click_count": 1}]})
    assert (reply.status, reply.body["code"]) == (503, "model-unavailable")


def test_recommendations_for_a_history(shop: Shop, ranking: None) -> None:
    items, body = recommended(shop, {"history": ["d", "unknown"], "k": 3})
    assert items == ["b", "a", "c"]
    first = body["items"][0]
    assert (first["item_id"], first["score"], first["rank"]) == ("b", 3.0, 1)
    assert body["recommendation_id"] == body["request_id"]


def test_recommendations_for_a_user_come_from_state(shop: Shop, ranking: None) -> None:
    events = [row("u", item_id="b", timestamp=NOW - 50), row("u", item_id="d", timestamp=NOW - 40)]
    shop.call("events", "POST", "/v1/events", {"events": events})
    assert recommended(shop, {"user_id": "u"})[0] == ["a", "c", "d", "b"]
    assert recommended(shop, {"user_id": "u", "personalization": "off"})[0] == ["d", "b", "a", "c"]
    assert recommended(shop, {"user_id": "u", "history": ["a"], "k": 2})[0] == ["d", "b"]
    assert recommended(shop, {"k": 1})[0] == ["d"]


def test_recommendations_without_state_are_those_of_a_new_user_and_degraded(shop: Shop, ranking: None) -> None:
    shop.dynamodb.delete_table(TableName="test-state")
    items, body = recommended(shop, {"user_id": "u"})
    assert items == ["d", "b", "a", "c"]
    assert body["degraded"] is True
    assert "a user without a history" in body["degraded_reason"]


def test_recommendations_without_a_model_are_empty_and_degraded(shop: Shop) -> None:
    items, body = recommended(shop, {"history": ["a"]})
    assert (items, body["degraded"]) == ([], True)


@pytest.mark.parametrize("body", [{"k": 0}, {"k": 201}, {"k": "many"}, {"history": [""]}, {"history": "a"}])
def test_invalid_recommendation_requests_are_400(shop: Shop, body: dict[str, Any]) -> None:
    assert shop.call("recommendations", "POST", "/v1/recommendations", body).status == 400


def test_too_many_ads_are_413(shop: Shop) -> None:
    reply = shop.call("ads", "POST", "/v1/ads/score", {"candidates": [{"ad_id": n} for n in range(501)]})
    assert (reply.status, reply.body["errors"][0]["pointer"]) == (413, "/candidates")
