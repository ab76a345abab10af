"""The reader of the catalogue: one conditional GET per TTL, only parts that are new are fetched, the last good one is kept."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from personalization.catalog.contents import ItemCatalog, empty
from personalization.catalog.pointer import CatalogPointer, read_pointer
from personalization.catalog.writer import read_part
from personalization.core.errors import BundleInvalid

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TTL_SECONDS: Final = 15.0  # price and stock in an answer are at most this old; a new item shows within a minute by far
RETRY_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)


class CatalogReader:
    """One instance a function, shared by its calls.

    ttl         seconds for which the pointer is believed
    clock       seconds
    on_failure  called with a short cause whenever a refresh fails
    """

    def __init__(
        self,
        s3: S3Client,
        bucket: str,
        *,
        ttl: float = TTL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        on_failure: Callable[[str], None] | None = None,
    ) -> None:
        self._s3, self._bucket, self._ttl, self._clock = s3, bucket, ttl, clock
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._pointer: CatalogPointer | None = None
        self._etag: str | None = None
        self._catalogue: ItemCatalog | None = None
        self._ask_again_at = -float("inf")
        self._failure = ""

    @property
    def failure(self) -> str:
        """Why the last refresh failed, empty where it did not."""
        return self._failure

    def get(self) -> ItemCatalog | None:
        """The catalogue, the last good one where the newest cannot be had; `None` where there is none."""
        if self._clock() >= self._ask_again_at:
            with self._lock:
                if self._clock() >= self._ask_again_at:
                    self._refresh()
        return self._catalogue

    def look_again(self) -> None:
        """Ask S3 at the next call: somebody knows that there is news."""
        self._ask_again_at = -float("inf")

    def _refresh(self) -> None:
        try:
            found = read_pointer(self._s3, self._bucket, self._etag)
            if found is not None:
                pointer, etag = found
                self._catalogue = self._folded(pointer)
                self._pointer, self._etag = pointer, etag
            self._failure = ""
            self._ask_again_at = self._clock() + self._ttl
        except (BotoCoreError, ClientError, BundleInvalid) as error:
            self._failure = "the catalogue is damaged" if isinstance(error, BundleInvalid) else "the catalogue does not answer"
            self._ask_again_at = self._clock() + min(self._ttl, RETRY_SECONDS)
            logger.error("catalogue: refresh failed, %s: %s", self._failure, type(error).__name__)
            if self._on_failure:
                self._on_failure(self._failure)

    def _folded(self, pointer: CatalogPointer | None) -> ItemCatalog | None:
        if pointer is None:
            return None
        known = self._pointer.parts if self._pointer else ()
        start = self._catalogue if self._catalogue is not None and pointer.parts[: len(known)] == known else None
        catalogue = start or empty()
        for ref in pointer.parts[len(known) if start else 0 :]:
            catalogue = catalogue.with_part(read_part(self._s3, self._bucket, ref))
        return replace(catalogue, version=pointer.version)
