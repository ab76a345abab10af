"""Small S3 objects that change: conditional reads and writes, and a reader that keeps the newest good snapshot in memory.

Pointers of models, the item catalog and the ad catalog are all read by a `SnapshotReader` and written by `write_object`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from personalization.core.errors import PersonalizationError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Snapshot = TypeVar("Snapshot")
OnFailure = Callable[[str], None]

# The wait after a first failure; it doubles with each further one, up to the TTL.
RETRY_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class S3Object:
    """The content of an object, and the ETag by which a conditional write replaces exactly this content."""

    body: bytes
    etag: str


class NotModified(Exception):
    """The object still has the ETag that the caller has read."""


class Incomplete(Exception):
    """Raised by `SnapshotReader.load` where only a part could be loaded.

    usable   the snapshot to serve meanwhile; loading is tried again
    cause    the error of the part that is missing
    """

    def __init__(self, usable: object, cause: Exception) -> None:
        super().__init__(str(cause))
        self.usable, self.cause = usable, cause


def error_code(error: ClientError) -> str:
    """The error code of an AWS response, such as ``SlowDown``."""
    return str(error.response.get("Error", {}).get("Code", "an error"))


def read_object(s3: S3Client, bucket: str, key: str, known_etag: str | None = None) -> S3Object | None:
    """The object, `None` where there is none.

    Raises `NotModified` where its ETag is still `known_etag`, botocore's errors otherwise.
    """
    condition: dict[str, Any] = {"IfNoneMatch": known_etag} if known_etag else {}
    try:
        response = s3.get_object(Bucket=bucket, Key=key, **condition)
    except ClientError as error:
        if error_code(error) in ("304", "NotModified"):
            raise NotModified from None
        if error_code(error) in ("NoSuchKey", "404"):
            return None
        raise
    return S3Object(response["Body"].read(), response["ETag"])


def write_object(s3: S3Client, bucket: str, key: str, body: bytes, *, replaces: S3Object | None, content_type: str) -> bool:
    """Write an object if it still is what the caller has read; whether it was written.

    replaces   what the caller has read, `None` where there was no object
    """
    condition: dict[str, Any] = {"IfMatch": replaces.etag} if replaces else {"IfNoneMatch": "*"}
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type, **condition)
    except ClientError as error:
        if error_code(error) in ("PreconditionFailed", "412", "ConditionalRequestConflict", "409"):
            return False
        raise
    return True


class SnapshotReader(Generic[Snapshot]):
    """Reads one object at most once per TTL; a subclass says in `load` what its content means.

    The request is a conditional GET, so an unchanged object costs no transfer. A new snapshot replaces the old one only when
    `load` has returned. Where S3 fails or the content is not valid, the last good snapshot is served, `failure` says why, and
    the next try waits `RETRY_SECONDS`, then twice as long each time, at most the TTL. One instance is shared by all threads.

    ttl         seconds for which a snapshot is served without asking S3
    clock       seconds
    on_failure  called with the cause whenever a refresh fails, for a metric
    """

    def __init__(
        self,
        s3: S3Client,
        bucket: str,
        key: str,
        *,
        ttl: float,
        clock: Callable[[], float] = time.monotonic,
        on_failure: OnFailure | None = None,
    ) -> None:
        self._s3, self._bucket, self._key = s3, bucket, key
        self._ttl, self._clock, self._on_failure = ttl, clock, on_failure
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._etag: str | None = None
        self._refresh_at = -float("inf")
        self._retry_in = RETRY_SECONDS
        self.error: Exception | None = None

    def load(self, previous: Snapshot | None, body: bytes | None) -> Snapshot | None:
        """The snapshot of an object's content.

        previous   the snapshot so far; what has not changed may be taken over
        body       `None` where there is no object

        Raises an error where the content is not valid, `Incomplete` where a part of it can be served.
        """
        raise NotImplementedError

    @property
    def failure(self) -> str:
        """Why the last refresh failed, in words for a caller; empty where it did not fail."""
        return _cause(self.error) if self.error else ""

    def get(self) -> Snapshot | None:
        """The newest snapshot that could be loaded, `None` where there is none."""
        if self._clock() >= self._refresh_at:
            with self._lock:
                if self._clock() >= self._refresh_at:
                    self._refresh()
        return self._snapshot

    def expire(self) -> None:
        """Ask S3 at the next `get`: the object has just been written."""
        self._refresh_at = -float("inf")

    def _refresh(self) -> None:
        try:
            stored = read_object(self._s3, self._bucket, self._key, self._etag)
            self._snapshot = self.load(self._snapshot, stored.body if stored else None)
            self._etag = stored.etag if stored else None
        except NotModified:
            pass
        except Incomplete as error:
            self._snapshot, self._etag = error.usable, None  # type: ignore[assignment]  # no ETag: the rest must be read again
            return self._failed(error.cause)
        except Exception as error:  # whatever is wrong with a new snapshot, the last good one is served
            return self._failed(error)
        self.error, self._retry_in = None, RETRY_SECONDS
        self._refresh_at = self._clock() + self._ttl
        return None

    def _failed(self, error: Exception) -> None:
        self.error = error
        self._refresh_at = self._clock() + min(self._ttl, self._retry_in)
        self._retry_in *= 2
        logger.error("s3 object %s: refresh failed: %s", self._key, self.failure)
        if self._on_failure:
            self._on_failure(self.failure)


def _cause(error: Exception) -> str:
    """A cause that may be shown to a caller; botocore's messages may hold names of buckets and keys."""
    if isinstance(error, PersonalizationError):
        return error.detail
    if isinstance(error, ClientError):
        return f"S3 returned {error_code(error)}"
    if isinstance(error, BotoCoreError):
        return f"S3 does not respond ({type(error).__name__})"
    if isinstance(error, OSError):
        return f"the local disk cannot be used ({type(error).__name__})"
    return f"the content is not as expected ({type(error).__name__})"
