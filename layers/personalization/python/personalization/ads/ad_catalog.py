"""The ads that the shop runs now: one S3 object, which each dropped file of ads replaces as a whole."""

from __future__ import annotations

import gzip
import hashlib
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from personalization.core.errors import CatalogInvalid, Conflict
from personalization.core.snapshots import OnFailure, SnapshotReader, read_object, write_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY: Final = "catalogue/ads/current.json.gz"
FORMAT: Final = 1
TTL_SECONDS: Final = 15.0
_TRIES: Final = 5


@dataclass(frozen=True)
class AdCatalog:
    """version    16 hex of the content's sha256
    modified   milliseconds at which the file was dropped
    ads        rows of the ads table, with canonical names
    """

    version: str
    modified: int
    ads: Sequence[Mapping[str, Any]]

    @classmethod
    def from_bytes(cls, body: bytes) -> AdCatalog:
        """Raises `CatalogInvalid` for bytes that are not an ad catalog."""
        try:
            content = orjson.loads(gzip.decompress(body))
            if content["format"] != FORMAT:
                raise CatalogInvalid(f"expected an ad catalog of format {FORMAT}, received {content['format']!r}")
            return cls(content["version"], content["modified"], content["ads"])
        except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
            raise CatalogInvalid(f"the ad catalog is damaged ({type(error).__name__})") from None


def write_ad_catalog(s3: S3Client, bucket: str, ads: Sequence[Mapping[str, Any]], modified: int) -> bool:
    """Replace the ad catalog; returns whether this one is current now. A file that was dropped before the current one is not.

    modified   milliseconds at which the file was dropped

    Raises `Conflict` where others keep writing at the same time, botocore's errors where S3 fails.
    """
    content = orjson.dumps(ads, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    version = hashlib.sha256(content).hexdigest()[:16]
    body = gzip.compress(
        b'{"format":%d,"version":"%s","modified":%d,"ads":%s}' % (FORMAT, version.encode(), modified, content), mtime=0
    )
    for _ in range(_TRIES):
        stored = read_object(s3, bucket, KEY)
        try:
            current = AdCatalog.from_bytes(stored.body) if stored else None
        except CatalogInvalid:
            current = None  # the new file mends a damaged catalog
        if current is not None and current.modified >= modified and current.version != version:
            return False
        if write_object(s3, bucket, KEY, body, replaces=stored, content_type="application/gzip"):
            return True
    raise Conflict(f"the ad catalog was changed by others {_TRIES} times in a row")


class AdCatalogReader(SnapshotReader[AdCatalog]):
    """Reads the ad catalog; `get` returns `None` where no file of ads was ever dropped."""

    def __init__(
        self,
        s3: S3Client,
        bucket: str,
        *,
        ttl: float = TTL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        on_failure: OnFailure | None = None,
    ) -> None:
        super().__init__(s3, bucket, KEY, ttl=ttl, clock=clock, on_failure=on_failure)

    def load(self, previous: AdCatalog | None, body: bytes | None) -> AdCatalog | None:
        return AdCatalog.from_bytes(body) if body is not None else None
