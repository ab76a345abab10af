"""Profiles from events and from ready features, over a bundle whose numbers are known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from personalization.bundles.bundle import MODEL_ONNX, Bundle, load_bundle
from personalization.core.encoder import Column, TableEncoder
from personalization.core.errors import InvalidInput
from personalization.core.events import Events, empty_events
from personalization.profiles import predict
from tests.support import DAY_MS, events_of
from training.bundle_writer import start_bundle, write_bundle
from training.export import constant_model

NOW = 1_506_816_000_000  # 2017-10-01T00:00:00Z
WITHIN = (0.2, 0.5, 0.6, 0.9)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    directory = tmp_path_factory.mktemp("profiles")
    start_bundle(directory)
    encoder = TableEncoder(
        (
            Column("recency_days", "numeric"),
            Column("preferred_category", "categorical", ("tea", "cups")),
            Column("user.age", "numeric"),
        )
    )
    constant_model(
        directory / MODEL_ONNX,
        {"numeric": (2, "float32"), "categorical": (1, "int64")},
        {"probability_within": np.array(WITHIN), "expected_spend": 12.5, "next_category": np.array([0.3, 0.7])},
    )
    (directory / "report.html").write_text("")
    (directory / "item_categories.json").write_bytes(orjson.dumps({"category_of_item": {"oolong": "tea"}}))
    write_bundle(
        directory,
        name="profiles",
        kind="interactions",
        model="base-rate",
        metrics={"test": {}},
        started=0.0,
        encoder=encoder,
        files=("report.html", "item_categories.json"),
        content={
            "hazard_days": [7, 14, 30, 90],
            "horizon": 14,
            "churn_horizon": 90,
            "history_window": {"max_events": 3, "max_days": 365},
            "next_category_names": ["tea", "cups"],
            "rfm": {"recency": [5, 10, 20, 40], "frequency": [2, 3, 5, 9], "monetary": [10, 50, 100, 500]},
        },
    )
    return load_bundle(directory)


@pytest.fixture
def events() -> Events:
    """«b» first: two purchases, then a view; «a» only looked; «c» is yet to come."""
    return events_of(
        [
            {"user_id": "b", "item_id": "oolong", "event_type": "purchase", "event_value": 30.0, "timestamp": NOW - 9 * DAY_MS},
            {"user_id": "a", "item_id": "x", "category": "cups", "timestamp": NOW - DAY_MS},
            {"user_id": "b", "item_id": "oolong", "event_type": "purchase", "event_value": 20.0, "timestamp": NOW - 3 * DAY_MS},
            {"user_id": "b", "item_id": "x", "category": "cups", "timestamp": NOW - 2 * DAY_MS},
            {"user_id": "c", "item_id": "x", "timestamp": NOW + DAY_MS},
        ]
    )  # fmt: skip


def test_a_profile_by_hand(bundle: Bundle, events: Events) -> None:
    b, a, c = predict.predict_profiles(bundle, events, NOW)
    assert [p["user_id"] for p in (b, a, c)] == ["b", "a", "c"]
    assert b["as_of"] == "2017-10-01T00:00:00.000Z"
    assert b["probability"] == pytest.approx(WITHIN[1])
    assert b["propensity"] == pytest.approx({"7": 0.2, "14": 0.5, "30": 0.6, "90": 0.9})
    assert b["churn_risk"] == pytest.approx(1 - WITHIN[3])
    assert (b["horizon_days"], b["churn_horizon_days"], b["expected_spend"]) == (14, 90, 12.5)
    assert b["next_categories"] == [{"category": "cups", "probability": 0.7}, {"category": "tea", "probability": 0.3}]
    assert (b["frequency"]["orders"], b["value"]["monetary"], b["recency"]["recency_days"]) == (2, 50.0, 2.0)
    assert b["preferred_categories"] == [{"category": "tea", "share": 1.0}], "what was bought outweighs what was seen"
    # 3 days ≤ 5; 2 orders reach the first edge; 50 reaches the second: (2 + 3) / 2 rounds to 3.
    assert b["segment"] == {"name": "Potential loyalists", "recency": 5, "frequency": 2, "monetary": 3}
    assert a["preferred_categories"] == [{"category": "cups", "share": 1.0}]
    assert a["segment"]["name"] == "Prospects"
    assert c["activity"]["events"] == 0
    assert c["recency"]["recency_days"] is None


def test_the_bundles_window_is_kept(bundle: Bundle) -> None:
    rows = [
        {"event_type": "purchase", "event_value": 1.0, "timestamp": NOW - days * DAY_MS, "item_id": "x"} for days in range(1, 6)
    ]
    (profile,) = predict.predict_profiles(bundle, events_of(rows), NOW)
    assert profile["frequency"]["orders"] == 3
    assert profile["value"]["lifetime_monetary"] == 5.0


def test_without_a_model_the_description_is_still_told(events: Events) -> None:
    b, *_ = predict.predict_profiles(None, events, NOW)
    assert b["frequency"]["orders"] == 2
    assert b["segment"] is None
    assert "probability" not in b


def test_nobody_asked_nobody_told(bundle: Bundle) -> None:
    assert predict.predict_profiles(bundle, empty_events(), NOW) == []
    (stranger,) = predict.predict_profiles(bundle, empty_events(["s"]), NOW)
    assert stranger["probability"] == pytest.approx(WITHIN[1])
    assert stranger["preferred_categories"] == []


def test_ready_features(bundle: Bundle) -> None:
    columns = {
        "recency_days": [2, None],
        "recency_purchase_days": ["3", ""],
        "orders": [2, 0],
        "monetary": [50, 0],
        "preferred_category": ["tea", None],
        "preferred_category_share": [1, None],
        "user.age": ["41", "n/a"],
    }
    known, unknown = predict.predict_from_features(bundle, columns, 2, NOW, ["b", None])
    assert known["user_id"] == "b"
    assert known["segment"]["recency"] == 5
    assert known["preferred_categories"] == [{"category": "tea", "share": 1.0}]
    assert "user_id" not in unknown
    assert unknown["segment"]["name"] == "Prospects"
    assert unknown["recency"] == {"recency_days": None, "recency_purchase_days": None}


def test_a_bad_feature_is_named(bundle: Bundle) -> None:
    columns = {"orders": [1, "many"], "user.age": ["old", 3]}
    with pytest.raises(InvalidInput) as caught:
        predict.predict_from_features(bundle, columns, 2, NOW)
    assert {fault.pointer for fault in caught.value.faults} == {"/users/1/features/orders", "/users/0/features/user.age"}


def test_no_number_leaves_that_json_does_not_know(bundle: Bundle, events: Events) -> None:
    def numbers(value: Any) -> list[float]:
        if isinstance(value, dict):
            return [n for part in value.values() for n in numbers(part)]
        if isinstance(value, list):
            return [n for part in value for n in numbers(part)]
        return [value] if isinstance(value, float) else []

    for profile in predict.predict_profiles(bundle, events, NOW):
        assert all(math.isfinite(number) for number in numbers(profile))


def test_the_category_file_fills_in_what_events_lack(bundle: Bundle) -> None:
    assert bundle.category_of_item == {"oolong": "tea"}
    assert bundle.file("item_categories.json").parent == Path(bundle.directory)
