"""Files dropped for ads, through the handler of the queue, and what the API then says."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from personalization.batch.app import batch_handler
from tests.ads_bundle import ads_bundle, click
from tests.api_shop import Shop
from tests.integration.test_batch_jobs import CONTEXT, files, message, put

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

MONDAY = "ad_id,campaign_id,size,bid\nm1,c,1,1\nm2,c,2,1\n"
TUESDAY = "ad_id,campaign_id,size,bid\nt1,c,3,1\nt1,c,3,1\nt2,c,1,\n"


@pytest.fixture
def shop(s3: S3Client, dynamodb: DynamoDBClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv("MODEL_CACHE_DIR", str(tmp_path / "cache" / "models"))
    monkeypatch.setenv("MAX_REJECT_SHARE", "0.5")
    shop = Shop(s3, dynamodb, tmp_path / "api")
    ads_bundle(tmp_path / "ads")
    shop.publish(tmp_path / "ads")
    return shop


def drop(shop: Shop, key: str, content: str) -> dict[str, Any]:
    """The manifest of a dropped file."""
    put(shop.s3, key, content)
    assert batch_handler("ads")(message(key), CONTEXT) == {"batchItemFailures": []}
    found: dict[str, Any] = json.loads(files(shop.s3, f"results/ads/{key.removeprefix('inbox/ads/')}/")["manifest.json"])
    return found


def competing(shop: Shop) -> set[str]:
    shop.clock.go_on(60)
    reply = shop.call("ads", "POST", "/v1/ads/score", {})
    return {one["ad_id"] for one in reply.body["scores"]}


def test_a_file_of_ads_is_what_competes(shop: Shop) -> None:
    manifest = drop(shop, "inbox/ads/monday.csv", MONDAY)
    assert (manifest["kind"], manifest["status"], manifest["scored"]) == ("ads", "done", 2)
    assert competing(shop) == {"m1", "m2"}
    time.sleep(1.1)  # moments of objects are whole seconds
    manifest = drop(shop, "inbox/ads/tuesday.csv", TUESDAY)
    assert (manifest["rows_in"], manifest["scored"], manifest["rejected"]) == (3, 2, 1)
    assert competing(shop) == {"t1", "t2"}
    batch_handler("ads")(message("inbox/ads/monday.csv"), CONTEXT)  # an old message that comes once more
    assert competing(shop) == {"t1", "t2"}
    time.sleep(1.1)
    drop(shop, "inbox/ads/monday.csv", MONDAY)  # the same bytes, but on purpose
    assert competing(shop) == {"m1", "m2"}


def test_candidates_know_the_ads_and_when_they_were_dropped(shop: Shop) -> None:
    drop(shop, "inbox/ads/ads.csv", MONDAY)
    manifest = drop(shop, "inbox/ads/candidates.csv", "user_id,ad_id\nu,m2\nv,m1\n,m1\nw,m3\n")
    assert (manifest["kind"], manifest["scored"], manifest["rejected"]) == ("candidates", 3, 1)
    assert len(manifest["catalogue"]["version"]) == 16
    hour = int(manifest["as_of"][11:13])
    lines = files(shop.s3, "results/ads/candidates.csv/")["part-00000.jsonl"].splitlines()
    found = [(line["row"], line["ad_id"], line["probability"]) for line in map(json.loads, lines)]
    expected = [(0, "m2", {"ad__size": 2.0}), (1, "m1", {"ad__size": 1.0}), (3, "m3", {})]
    assert found == [(row, ad, pytest.approx(click(hour=hour, **columns), abs=1e-6)) for row, ad, columns in expected]


def test_what_candidates_saw_before_counts(shop: Shop) -> None:
    for _ in range(2):
        shop.call("ads", "POST", "/v1/ads/score", {"user_id": "u", "candidates": [{"ad_id": "m2", "size": 2}]})
    manifest = drop(shop, "inbox/ads/candidates.csv", "user_id,ad_id,size\nu,m2,2\nu,m1,1\nv,m2,2\n")
    hour = int(manifest["as_of"][11:13])
    lines = files(shop.s3, "results/ads/candidates.csv/")["part-00000.jsonl"].splitlines()
    expected = [click(ad__size=2, hour=hour, pair__seen=2), click(ad__size=1, hour=hour), click(ad__size=2, hour=hour)]
    assert [json.loads(line)["probability"] for line in lines] == pytest.approx(expected, abs=1e-6)


def test_impressions_of_a_folder_that_says_so(shop: Shop) -> None:
    manifest = drop(shop, "inbox/ads/impressions/log.csv", "user_id,ad_id,timestamp,campaign_id\nu,a,2026-11-24T09:00:00Z,c\n")
    assert (manifest["kind"], manifest["scored"], manifest["as_of"]) == ("impressions", 1, None)
