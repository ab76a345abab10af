"""The item catalog in S3: changes, concurrent writers, compaction, and a reader that keeps the last good one."""

from __future__ import annotations

import os
from datetime import UTC
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from botocore.exceptions import EndpointConnectionError

from personalization.catalog import CatalogPart, CatalogReader, CatalogWriter, parse_items
from personalization.catalog.store import POINTER_KEY
from personalization.core.errors import CatalogUnavailable
from tests.support import Clock

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = os.environ["DATA_BUCKET"]


def part(*items: str, price: float = 1.0) -> CatalogPart:
    return parse_items({"item_id": list(items), "price": [price] * len(items)}, len(items), UTC).part


def prices(store: CatalogReader) -> dict[str, str | None]:
    catalog = store.get()
    assert catalog is not None
    column = catalog.columns["price"]
    return {item: column.word(row) for row, item in enumerate(catalog.ids) if not catalog.removed[row]}


def writer(s3: S3Client, **options: Any) -> CatalogWriter:
    return CatalogWriter(s3, BUCKET, clock=Clock(), sleep=lambda seconds: None, **options)


class Counting:
    """S3 that counts the keys of reads, and that fails once `dead` is set."""

    def __init__(self, s3: S3Client) -> None:
        self._s3, self.keys, self.dead = s3, [], False

    def __getattr__(self, name: str) -> Any:
        if name != "get_object":
            return getattr(self._s3, name)

        def get_object(**arguments: Any) -> Any:
            self.keys.append(arguments["Key"])
            if self.dead:
                raise EndpointConnectionError(endpoint_url="nowhere")
            return self._s3.get_object(**arguments)

        return get_object


def test_without_a_pointer_there_is_no_catalog(s3: S3Client) -> None:
    store = CatalogReader(s3, BUCKET)
    assert (store.get(), store.failure) == (None, "")


def test_what_is_appended_is_read_and_later_parts_count(s3: S3Client) -> None:
    clock, counting = Clock(), Counting(s3)
    store = CatalogReader(counting, BUCKET, ttl=15, clock=clock)
    first = writer(s3).append(part("a", "b"))
    assert prices(store) == {"a": "1", "b": "1"}
    assert store.get().version == first
    second = writer(s3).append(part("b", "c", price=2.5))
    writer(s3).append(CatalogPart([], {}, ["a"]))
    assert store.get().version == first  # served for the TTL
    clock.go_on(15)
    counting.keys.clear()
    assert prices(store) == {"b": "2.5", "c": "2.5"}
    assert len(counting.keys) == 3  # the pointer and the two new parts
    counting.keys.clear()
    clock.go_on(15)
    store.get()
    assert counting.keys == [POINTER_KEY]
    assert first != second


def test_writers_that_meet_lose_nothing(s3: S3Client) -> None:
    """One writer puts its own change in just before another's pointer is written."""

    class Meeting:
        def __init__(self) -> None:
            self.others = 3

        def __getattr__(self, name: str) -> Any:
            if name != "put_object":
                return getattr(s3, name)

            def put_object(**arguments: Any) -> Any:
                if arguments["Key"] == POINTER_KEY and self.others:
                    self.others -= 1
                    writer(s3).append(part(f"other-{self.others}"))
                return s3.put_object(**arguments)

            return put_object

    writer(Meeting()).append(part("mine"))
    assert set(prices(CatalogReader(s3, BUCKET))) == {"mine", "other-0", "other-1", "other-2"}


def test_a_writer_that_always_loses_gives_up(s3: S3Client) -> None:
    class Busy:
        def __getattr__(self, name: str) -> Any:
            if name != "put_object":
                return getattr(s3, name)

            def put_object(**arguments: Any) -> Any:
                if arguments["Key"] == POINTER_KEY:
                    writer(s3).append(part("other"))
                return s3.put_object(**arguments)

            return put_object

    with pytest.raises(CatalogUnavailable, match="try again"):
        writer(Busy()).append(part("mine"))
    assert "mine" not in prices(CatalogReader(s3, BUCKET))


def test_parts_are_folded_into_a_base_and_deleted_by_the_next_compaction(s3: S3Client) -> None:
    appending = writer(s3, compact_at=3)
    store = CatalogReader(s3, BUCKET)
    versions = [appending.append(part(f"item-{n}", price=n)) for n in range(3)]
    appending.append(CatalogPart([], {}, ["item-0", "never-seen"]))
    pointer = orjson.loads(s3.get_object(Bucket=BUCKET, Key=POINTER_KEY)["Body"].read())
    assert len(pointer["parts"]) == 1
    assert pointer["parts"][0]["key"].endswith("base.npz")
    assert len(pointer["replaced"]) == 4
    assert prices(store) == {"item-1": "1", "item-2": "2"}
    assert "never-seen" in store.get().ids  # a tombstone: the model may know it
    for n in range(3, 6):
        appending.append(part(f"item-{n}", price=n))
    keys = {content["Key"] for content in s3.list_objects_v2(Bucket=BUCKET, Prefix="catalogue/")["Contents"]}
    assert not any(key.startswith(f"catalogue/{versions[0]}/") for key in keys)
    fresh = CatalogReader(s3, BUCKET)
    assert prices(fresh) == {f"item-{n}": str(n) for n in range(1, 6)}


def test_a_change_is_stored_although_its_compaction_fails(s3: S3Client) -> None:
    appending = writer(s3, compact_at=1)
    appending.append(part("a"))
    damaged = s3.list_objects_v2(Bucket=BUCKET, Prefix="catalogue/2")["Contents"][0]["Key"]
    whole = s3.get_object(Bucket=BUCKET, Key=damaged)["Body"].read()
    s3.put_object(Bucket=BUCKET, Key=damaged, Body=whole[:-1])
    version = appending.append(part("b"))
    s3.put_object(Bucket=BUCKET, Key=damaged, Body=whole)
    store = CatalogReader(s3, BUCKET)
    assert set(prices(store)) == {"a", "b"}
    assert store.get().version == version
    appending.append(part("c"))  # compacts
    pointer = orjson.loads(s3.get_object(Bucket=BUCKET, Key=POINTER_KEY)["Body"].read())
    assert [ref["key"].endswith("base.npz") for ref in pointer["parts"]] == [True]


def test_a_reader_keeps_the_last_good_one(s3: S3Client) -> None:
    clock, counting, causes = Clock(), Counting(s3), []
    store = CatalogReader(counting, BUCKET, ttl=15, clock=clock, on_failure=causes.append)
    writer(s3).append(part("a"))
    assert prices(store) == {"a": "1"}
    counting.dead = True
    clock.go_on(15)
    assert prices(store) == {"a": "1"}
    assert (store.failure, causes) == (
        "S3 does not respond (EndpointConnectionError)",
        ["S3 does not respond (EndpointConnectionError)"],
    )
    counting.dead = False
    writer(s3).append(part("b"))
    damaged = orjson.loads(s3.get_object(Bucket=BUCKET, Key=POINTER_KEY)["Body"].read())["parts"][1]
    whole = s3.get_object(Bucket=BUCKET, Key=damaged["key"])["Body"].read()
    s3.put_object(Bucket=BUCKET, Key=damaged["key"], Body=whole[:-1])
    clock.go_on(5)
    assert prices(store) == {"a": "1"}
    assert store.failure.startswith("a part of the catalog is damaged: expected sha256")
    s3.put_object(Bucket=BUCKET, Key=damaged["key"], Body=whole)
    clock.go_on(10)  # twice as long after each failure
    assert set(prices(store)) == {"a", "b"}
    assert store.failure == ""
