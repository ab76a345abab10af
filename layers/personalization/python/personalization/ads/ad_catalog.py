"""The ads that the shop runs now: one object in S3, written whole by each dropped file of ads, read at most once per TTL."""

from __future__ import annotations

import gzip
import hashlib
import logging
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from personalization.core.errors import Conflict

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY: Final = "catalogue/ads/current.json.gz"
FORMAT: Final = 1
TTL_SECONDS: Final = 15.0
RETRY_SECONDS: Final = 5.0
_TRIES: Final = 5
_ABSENT: Final = frozenset({"NoSuchKey", "404", "NotFound"})

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AdCatalogue:
    """version    16 hex of the content
    modified   milliseconds at which the file was dropped
    ads        rows of the ads table, with canonical names
    """

    version: str
    modified: int
    ads: Sequence[Mapping[str, Any]]


def write_catalogue(s3: S3Client, bucket: str, ads: Sequence[Mapping[str, Any]], modified: int) -> bool:
    """Make these the ads; whether they are now. A file that was dropped before the one that is known changes nothing.

    Raises `Conflict` where others keep writing at the same time.
    """
    content = orjson.dumps(ads, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    version = hashlib.sha256(content).hexdigest()[:16]
    whole = b'{"format":%d,"version":"%s","modified":%d,"ads":%s}' % (FORMAT, version.encode(), modified, content)
    body = gzip.compress(whole, mtime=0)
    for _ in range(_TRIES):
        found, etag = _fetch(s3, bucket, None)
        try:
            known = None if found is None else _decoded(found)
        except ValueError:
            known = None  # damaged: this one mends it
        if known is not None and known.modified >= modified and known.version != version:
            return False
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        try:
            s3.put_object(Bucket=bucket, Key=KEY, Body=body, ContentType="application/gzip", **condition)
        except ClientError as error:
            if _code(error) not in ("PreconditionFailed", "412", "ConditionalRequestConflict"):
                raise
        else:
            return True
    raise Conflict("the catalogue of ads was changed again and again in between")


class AdCatalogueStore:
    """The reader; one instance a function, shared by its calls.

    ttl     seconds for which what was read is believed
    clock   seconds
    """

    def __init__(
        self, s3: S3Client, bucket: str, *, ttl: float = TTL_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._s3, self._bucket, self._ttl, self._clock = s3, bucket, ttl, clock
        self._lock = threading.Lock()
        self._catalogue: AdCatalogue | None = None
        self._etag: str | None = None
        self._ask_again_at = -float("inf")
        self._failure = ""

    @property
    def failure(self) -> str:
        """Why the last refresh failed, empty where it did not."""
        return self._failure

    def get(self) -> AdCatalogue | None:
        """The ads, the last good ones where the newest cannot be had; `None` where none were ever dropped."""
        if self._clock() >= self._ask_again_at:
            with self._lock:
                if self._clock() >= self._ask_again_at:
                    self._refresh()
        return self._catalogue

    def _refresh(self) -> None:
        try:
            found, etag = _fetch(self._s3, self._bucket, self._etag)
            if found is not None:
                self._catalogue, self._etag = _decoded(found), etag
            elif etag is None:
                self._catalogue, self._etag = None, None
            self._failure, wait = "", self._ttl
        except (BotoCoreError, ClientError, ValueError) as error:
            self._failure, wait = "the catalogue of ads cannot be read", min(self._ttl, RETRY_SECONDS)
            logger.error("catalogue of ads: refresh failed: %s", type(error).__name__)
        self._ask_again_at = self._clock() + wait


def _fetch(s3: S3Client, bucket: str, etag: str | None) -> tuple[bytes | None, str | None]:
    """The object and its ETag; `None` and the same ETag where it has not changed, `None` twice where there is none."""
    condition: dict[str, Any] = {"IfNoneMatch": etag} if etag else {}
    try:
        answer = s3.get_object(Bucket=bucket, Key=KEY, **condition)
    except ClientError as error:
        if _code(error) in ("304", "NotModified"):
            return None, etag
        if _code(error) in _ABSENT:
            return None, None
        raise
    return answer["Body"].read(), answer["ETag"]


def _decoded(body: bytes) -> AdCatalogue:
    """Raises `ValueError` for what is no catalogue."""
    try:
        content = orjson.loads(gzip.decompress(body))
        if content["format"] != FORMAT:
            raise ValueError(f"expected a catalogue of format {FORMAT}, received {content['format']!r}")
        return AdCatalogue(content["version"], content["modified"], content["ads"])
    except (OSError, EOFError, zlib.error, KeyError, TypeError) as error:
        raise ValueError(f"the catalogue of ads is damaged ({type(error).__name__})") from None


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
