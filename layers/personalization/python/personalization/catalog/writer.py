"""Changing the catalogue: a delta is written once and appended to the pointer; writers that meet merge and try again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from personalization.catalog.contents import CatalogPart, digest, empty
from personalization.catalog.pointer import BASE, DELTA, PREFIX, CatalogPointer, PartRef, read_pointer, write_pointer
from personalization.core.errors import BundleInvalid, CatalogUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TRIES: Final = 8
COMPACT_AT: Final = 16  # parts; a new reader fetches them all


class CatalogWriter:
    """Appends to one bucket's catalogue.

    clock           unix seconds
    sleep, random   for the waits between tries
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
        """Add a change and answer the catalogue's new version. Raises `CatalogUnavailable`; then nothing has changed."""
        try:
            ref = self._put(part, DELTA)
            for attempt in range(TRIES):
                pointer, etag = read_pointer(self._s3, self._bucket) or (None, None)
                now = self._with(pointer, ref)
                if write_pointer(self._s3, self._bucket, now, etag):
                    return self._compacted(now).version if len(now.parts) > self._compact_at else now.version
                self._sleep(self._random.uniform(0, 0.05 * 2**attempt))
        except (BotoCoreError, ClientError, BundleInvalid) as error:
            raise CatalogUnavailable(f"the catalogue cannot be changed now ({type(error).__name__})") from error
        raise CatalogUnavailable("others are changing the catalogue at the same time; try again")

    def compact(self) -> str | None:
        """Fold all parts into one base; the version, `None` where there is no catalogue."""
        found = read_pointer(self._s3, self._bucket)
        pointer = found[0] if found else None
        return self._compacted(pointer).version if pointer else None

    def _with(self, pointer: CatalogPointer | None, ref: PartRef) -> CatalogPointer:
        version = self._version(ref.sha256)
        if pointer is None:
            return CatalogPointer(version, (ref,))
        return replace(pointer, version=version, parts=(*pointer.parts, ref))

    def _compacted(self, pointer: CatalogPointer) -> CatalogPointer:
        """The pointer with one part; the one given where somebody else wrote in between, who may compact in turn."""
        folded = empty()
        for ref in pointer.parts:
            folded = folded.with_part(read_part(self._s3, self._bucket, ref))
        base = self._put(folded.as_part(), BASE)
        gone = tuple(ref.key for ref in pointer.parts)
        found = read_pointer(self._s3, self._bucket)
        if found is None or found[0] is None or found[0] != pointer:
            return pointer
        compacted = CatalogPointer(self._version(base.sha256), (base,), gone)
        if not write_pointer(self._s3, self._bucket, compacted, found[1]):
            return pointer
        for key in set(pointer.replaced) - {base.key, *gone}:  # of the compaction before: no reader is that late
            self._s3.delete_object(Bucket=self._bucket, Key=key)
        return compacted

    def _put(self, part: CatalogPart, name: str) -> PartRef:
        raw = part.to_bytes()
        sha256 = digest(raw)
        key = f"{PREFIX}/{self._version(sha256)}/{name}"
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=raw)
        return PartRef(key, sha256, len(raw))

    def _version(self, sha256: str) -> str:
        return f"{datetime.fromtimestamp(self._clock(), UTC):%Y%m%dT%H%M%SZ}-{sha256[:8]}"


def read_part(s3: S3Client, bucket: str, ref: PartRef) -> CatalogPart:
    """A part, checked. Raises `BundleInvalid` where its bytes are not those that the pointer promises."""
    raw = s3.get_object(Bucket=bucket, Key=ref.key)["Body"].read()
    if digest(raw) != ref.sha256:
        raise BundleInvalid(f"{ref.key}: expected sha256 {ref.sha256[:12]}…, found {digest(raw)[:12]}…")
    return CatalogPart.from_bytes(raw)
