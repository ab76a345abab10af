"""The catalogue of ads in S3, and the exposure of users to ads in the state table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from personalization.ads.ad_catalog import KEY, AdCatalogReader, write_ad_catalog
from personalization.ads.budgets.accounts import Account, Charge
from personalization.ads.budgets.settlement import find_ad_outcomes, settle_outcomes
from personalization.ads.budgets.store import Budgets
from personalization.ads.exposure import ExposureStore
from personalization.core.schema import EVENT_CODE
from personalization.core.time import MISSING_TIME
from personalization.state import StateStore
from personalization.state.dynamodb import StateTable
from tests.support import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

BUCKET = "test-data"
TEA, CUP = {"ad_id": "tea", "campaign_id": "c", "bid": 1.5}, {"ad_id": "cup", "campaign_id": "c"}


def test_the_newest_file_is_the_catalogue(s3: S3Client) -> None:
    clock = Clock()
    store = AdCatalogReader(s3, BUCKET, clock=clock)
    assert store.get() is None
    assert write_ad_catalog(s3, BUCKET, [TEA], modified=10)
    assert store.get() is None  # cached for a while
    clock.go_on(15)
    found = store.get()
    assert found is not None
    assert (list(found.ads), found.modified, len(found.version)) == ([TEA], 10, 16)
    # an older file, delivered late, is no news; the same one again is
    assert not write_ad_catalog(s3, BUCKET, [CUP], modified=9)
    assert write_ad_catalog(s3, BUCKET, [TEA], modified=10)
    assert write_ad_catalog(s3, BUCKET, [TEA, CUP], modified=11)
    clock.go_on(15)
    found = store.get()
    assert found is not None
    assert [ad["ad_id"] for ad in found.ads] == ["tea", "cup"]


def test_the_last_good_catalogue_is_kept(s3: S3Client) -> None:
    clock = Clock()
    store = AdCatalogReader(s3, BUCKET, clock=clock)
    write_ad_catalog(s3, BUCKET, [TEA], modified=10)
    assert store.get() is not None
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"half a file")
    clock.go_on(15)
    found = store.get()
    assert found is not None
    assert list(found.ads) == [TEA]
    assert store.failure == "the ad catalog is damaged (BadGzipFile)"
    assert write_ad_catalog(s3, BUCKET, [CUP], modified=9)  # and a file mends it
    clock.go_on(15)
    found = store.get()
    assert found is not None
    assert list(found.ads) == [CUP]
    s3.delete_object(Bucket=BUCKET, Key=KEY)
    clock.go_on(15)
    assert store.get() is None
    assert store.failure == ""


def test_writers_do_not_overwrite_what_they_have_not_seen(s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another writer replaces the catalog with a newer file between the read and the write."""
    put = s3.put_object
    times = iter([True])

    def crowded(**request: object) -> object:
        if next(times, False):
            monkeypatch.setattr(s3, "put_object", put)
            write_ad_catalog(s3, BUCKET, [CUP], modified=20)
        return put(**request)  # type: ignore[arg-type]

    monkeypatch.setattr(s3, "put_object", crowded)
    assert not write_ad_catalog(s3, BUCKET, [TEA], modified=10)
    found = AdCatalogReader(s3, BUCKET).get()
    assert found is not None
    assert list(found.ads) == [CUP]


def test_other_failures_of_the_bucket_are_told(s3: S3Client) -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        write_ad_catalog(s3, "no-such-bucket", [TEA], modified=1)


def test_a_users_exposure_is_counted_by_ad(dynamodb: DynamoDBClient) -> None:
    exposures = ExposureStore(StateTable(dynamodb, "test-state"))
    exposures.count_impressions("user#u", ["tea", "cup"], 1_000)
    exposures.count_impressions("user#u", ["tea"], 2_000)
    exposures.count_outcome("user#u", "tea", "clicked", 2_500)
    exposures.count_outcome("user#u", "pot", "converted", 2_600)  # without a counted impression
    exposures.count_impressions("user#v", ["cup"], 3_000)
    exposures.count_impressions("user#u", ["x" * 2_000], 3_000)  # no sort key is that long
    found = exposures.read("user#u", ["tea", "new"])
    assert (found.impressions.tolist(), found.clicks.tolist(), found.conversions.tolist()) == ([2, 0], [1, 0], [0, 0])
    assert found.last_impression.tolist() == [2_000, MISSING_TIME]
    assert (found.all_impressions.tolist(), found.all_clicks.tolist()) == ([3, 3], [1, 1])
    assert found.all_conversions.tolist() == [1, 1]
    nobody = exposures.read("user#w", ["tea"])
    assert (nobody.impressions.tolist(), nobody.all_impressions.tolist(), nobody.last_impression.tolist()) == (
        [0],
        [0],
        [MISSING_TIME],
    )


def test_exposures_on_several_pages_are_all_counted(dynamodb: DynamoDBClient) -> None:
    exposures = ExposureStore(StateTable(dynamodb, "test-state"))
    exposures.count_impressions("user#u", [f"ad-{n}" for n in range(5)], 1_000)

    def two_items_a_page(params: dict[str, object], **_: object) -> None:
        params["Limit"] = 2

    dynamodb.meta.events.register("provide-client-params.dynamodb.Query", two_items_a_page)
    exposure = exposures.read("user#u", ["ad-4"])
    assert (exposure.impressions.tolist(), exposure.all_impressions.tolist()) == ([1], [5])


def test_exposure_is_erased_with_the_user(dynamodb: DynamoDBClient) -> None:
    ExposureStore(StateTable(dynamodb, "test-state")).count_impressions("user#u", ["tea"], 1_000)
    state = StateStore(dynamodb, "test-state", clock=Clock())
    assert [item["key"] for item in state.export("u")["items"]] == []  # it expired long ago
    assert state.erase("u") == {"exposure": 1}
    assert dynamodb.scan(TableName="test-state")["Items"] == []


def test_outcomes_among_events() -> None:
    view, cart, buy = (EVENT_CODE[word] for word in ("view_item", "add_to_cart", "purchase"))
    cells = ["d#tea", "d#tea", None, "d#tea", "d#tea", "d", "#tea", "d#", "e#a#b"]
    found = find_ad_outcomes(cells, [view, view, view, buy, buy, buy, view, view, view])
    assert [(one.event, one.decision_id, one.ad_id, one.billing, one.outcome) for one in found] == [
        (0, "d", "tea", "cpc", "clicked"), (3, "d", "tea", "cpa", "converted"), (8, "e", "a#b", "cpc", "clicked")
    ]  # fmt: skip
    assert find_ad_outcomes(["d#tea"], [cart]) == []


def test_outcomes_are_settled_and_counted_once(dynamodb: DynamoDBClient) -> None:
    clock = Clock()
    budgets, exposures = Budgets(dynamodb, "test-state", clock=clock), ExposureStore(StateTable(dynamodb, "test-state"))
    budgets.commit("d", [Charge("tea", Account("c", 100, 2_000_000_000), "cpc", 30, 3)])
    outcomes = find_ad_outcomes(["d#tea", "free#cup"], [EVENT_CODE["view_item"]] * 2)
    partitions, now = ["user#u", "user#v"], int(clock.now * 1000)
    first = settle_outcomes(outcomes, partitions, now, budgets, exposures)
    assert sorted((one.billed, one.unbilled_reason) for one in first) == [(0, "unknown"), (30, "")]
    assert settle_outcomes(outcomes[:1], partitions, now, budgets, exposures)[0].repeated
    assert exposures.read("user#u", ["tea"]).clicks.tolist() == [1]
    assert exposures.read("user#v", ["cup"]).clicks.tolist() == [1]
