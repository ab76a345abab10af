"""The item catalog in S3: a pointer that names parts in their order, a reader that keeps the newest, a writer that appends.

``catalogue/<version>/`` holds parts that never change; ``catalogue/current.json`` alone is ever overwritten.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, Final

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from personalization.catalog.item_catalog import CatalogPart, ItemCatalog, PartRef, empty_catalog
from personalization.core.errors import CatalogInvalid, CatalogUnavailable
from personalization.core.snapshots import OnFailure, S3Object, SnapshotReader, read_object, write_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX: Final = "catalogue"
POINTER_KEY: Final = f"{PREFIX}/current.json"
BASE: Final = "base.npz"
DELTA: Final = "delta.npz"
TTL_SECONDS: Final = 15.0  # price and stock in an answer are at most this old; a new item shows within a minute by far
TRIES: Final = 8
COMPACT_AT: Final = 16  # parts; a new reader downloads them all

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CatalogPointer:
    """version    of the catalog: UTC time + 8 hex of its newest part
    parts      the base, if any, then deltas, oldest first
    replaced   keys that a compaction made needless; readers of the pointer before may still be downloading them
    """

    version: str
    parts: tuple[PartRef, ...]
    replaced: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, raw: bytes) -> CatalogPointer:
        """Raises `CatalogInvalid` for bytes that are not a pointer."""
        try:
            content = orjson.loads(raw)
            parts = tuple(PartRef(str(p["key"]), str(p["sha256"]), int(p["size"])) for p in content["parts"])
            return cls(str(content["version"]), parts, tuple(content.get("replaced", ())))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise CatalogInvalid(f"{POINTER_KEY} is not a pointer of an item catalog: {error!r}") from None

    def to_json(self) -> bytes:
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2)


class CatalogReader(SnapshotReader[ItemCatalog]):
    """Reads the item catalog; `get` returns `None` where there is none. Only parts that are new are downloaded."""

    def __init__(
        self,
        s3: S3Client,
        bucket: str,
        *,
        ttl: float = TTL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        on_failure: OnFailure | None = None,
    ) -> None:
        super().__init__(s3, bucket, POINTER_KEY, ttl=ttl, clock=clock, on_failure=on_failure)

    def load(self, previous: ItemCatalog | None, body: bytes | None) -> ItemCatalog | None:
        if body is None:
            return None
        pointer = CatalogPointer.from_json(body)
        catalog = previous
        if catalog is None or pointer.parts[: len(catalog.parts)] != catalog.parts:
            catalog = empty_catalog()
        for ref in pointer.parts[len(catalog.parts) :]:
            catalog = catalog.with_part(_read_part(self._s3, self._bucket, ref))
        return replace(catalog, version=pointer.version, parts=pointer.parts)


class CatalogWriter:
    """Changes the item catalog of one bucket. A change is written once; writers that meet try again with their pointers.

    clock           unix seconds
    sleep, random   for the waits between tries
    compact_at      parts from which on they are folded into one base
    """

    def __init__(
        self,
        s3: S3Client,
        bucket: str,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        random: Random | None = None,
        compact_at: int = COMPACT_AT,
    ) -> None:
        self._s3, self._bucket = s3, bucket
        self._clock, self._sleep, self._random = clock, sleep, random or Random()
        self._compact_at = compact_at

    def append(self, part: CatalogPart) -> str:
        """Add a change; returns the catalog's new version.

        Raises `CatalogUnavailable` where S3 fails or others keep writing; nothing of the change is stored then.
        """
        try:
            ref = self._put_part(part, DELTA)
            for attempt in range(TRIES):
                stored = read_object(self._s3, self._bucket, POINTER_KEY)
                pointer = CatalogPointer(self._version(ref.sha256), (ref,))
                if stored:
                    before = CatalogPointer.from_json(stored.body)
                    pointer = replace(before, version=pointer.version, parts=(*before.parts, ref))
                if self._write_pointer(pointer, stored):
                    return self._compact(pointer) if len(pointer.parts) > self._compact_at else pointer.version
                self._sleep(self._random.uniform(0, 0.05 * 2**attempt))
        except (BotoCoreError, ClientError, CatalogInvalid) as error:
            raise CatalogUnavailable(f"the catalog cannot be changed now ({type(error).__name__})") from error
        raise CatalogUnavailable("others are changing the catalog at the same time; try again")

    def _compact(self, pointer: CatalogPointer) -> str:
        """Fold all parts into one base where nobody else writes meanwhile; returns the version that is current then.

        The change before is stored already, so a failure is only logged. The next change compacts.
        """
        current = pointer
        try:
            catalog = empty_catalog()
            for ref in pointer.parts:
                catalog = catalog.with_part(_read_part(self._s3, self._bucket, ref))
            base = self._put_part(catalog.as_part(), BASE)
            replaced = tuple(ref.key for ref in pointer.parts)
            compacted = CatalogPointer(self._version(base.sha256), (base,), replaced)
            stored = read_object(self._s3, self._bucket, POINTER_KEY)
            if stored is None or CatalogPointer.from_json(stored.body) != pointer or not self._write_pointer(compacted, stored):
                return current.version
            current = compacted
            for key in set(pointer.replaced) - {base.key, *replaced}:  # of the compaction before: no reader is that late
                self._s3.delete_object(Bucket=self._bucket, Key=key)
        except (BotoCoreError, ClientError, CatalogInvalid) as error:
            logger.error("catalog: compaction failed: %s", type(error).__name__)
        return current.version

    def _put_part(self, part: CatalogPart, name: str) -> PartRef:
        raw = part.to_bytes()
        digest = sha256(raw).hexdigest()
        key = f"{PREFIX}/{self._version(digest)}/{name}"
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=raw)
        return PartRef(key, digest, len(raw))

    def _write_pointer(self, pointer: CatalogPointer, replaces: S3Object | None) -> bool:
        return write_object(
            self._s3, self._bucket, POINTER_KEY, pointer.to_json(), replaces=replaces, content_type="application/json"
        )

    def _version(self, digest: str) -> str:
        return f"{datetime.fromtimestamp(self._clock(), UTC):%Y%m%dT%H%M%SZ}-{digest[:8]}"


def _read_part(s3: S3Client, bucket: str, ref: PartRef) -> CatalogPart:
    """A part. Raises `CatalogInvalid` where its bytes are not those that the pointer names, or none are there."""
    stored = read_object(s3, bucket, ref.key)
    digest = sha256(stored.body).hexdigest() if stored else "no object"
    if stored is None or digest != ref.sha256:
        raise CatalogInvalid(f"a part of the catalog is damaged: expected sha256 {ref.sha256[:12]}…, received {digest[:12]}")
    return CatalogPart.from_bytes(stored.body)
