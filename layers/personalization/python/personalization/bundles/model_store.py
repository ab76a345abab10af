"""The reader of a model: asks for the pointer at most once per TTL (a conditional GET, 304 as a rule), checks what it
downloads, swaps only when all of it is good, and on any failure goes on with what it has."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from personalization.bundles.bundle import BUNDLE_JSON, Bundle, load_bundle
from personalization.bundles.pointer import ModelPointer, Release, bundle_key, get_pointer, share_of
from personalization.core.errors import BundleInvalid, ModelUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# After a failure the store is left alone for this long, so that a broken model costs one try, not one a request.
RETRY_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)


class ModelStore:
    """The reader of one model name; one instance a function, shared by its calls.

    s3          client
    cache_dir   local directory for downloaded versions
    ttl         seconds for which the pointer is believed
    clock       monotonic seconds
    threads     of one `session.run`
    on_failure  called with a short cause whenever a refresh fails, for the metric
    """

    def __init__(
        self,
        s3: S3Client,
        bucket: str,
        name: str,
        *,
        cache_dir: Path,
        ttl: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        threads: int = 1,
        on_failure: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self._s3, self._bucket, self._cache_dir = s3, bucket, cache_dir
        self._ttl, self._clock, self._threads = ttl, clock, threads
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._pointer: ModelPointer | None = None
        self._etag: str | None = None
        self._bundles: dict[str, Bundle] = {}
        self._ask_again_at = -float("inf")
        self._failure = ""

    @property
    def failure(self) -> str:
        """Why the last refresh failed, empty where it did not; an answer from an older model can say so."""
        return self._failure

    def get(self, user_id: str | None = None) -> Bundle:
        """The bundle that answers this user. Raises `ModelUnavailable` where there is none at all."""
        return self.choose(user_id)[0]

    def choose(self, user_id: str | None = None) -> tuple[Bundle, str]:
        """The bundle and its variant, ``champion`` or ``challenger``: a user stays with one of them."""
        if self._clock() >= self._ask_again_at:
            with self._lock:
                if self._clock() >= self._ask_again_at:
                    self._refresh()
        pointer = self._pointer
        if pointer is None or pointer.current.version not in self._bundles:
            raise ModelUnavailable(f"no model {self.name!r} can be had: {self._failure or 'none was published'}")
        challenger = pointer.challenger
        if challenger and user_id and challenger.version in self._bundles and share_of(user_id, self.name) < challenger.share:
            return self._bundles[challenger.version], "challenger"
        return self._bundles[pointer.current.version], "champion"

    def _refresh(self) -> None:
        """One conditional GET; swap only when everything that the pointer names is checked and loaded."""
        try:
            found = get_pointer(self._s3, self._bucket, self.name, self._etag)
            if found is not None:
                pointer, etag = found
                releases = [pointer.current] + ([pointer.challenger] if pointer.challenger else [])
                bundles = {r.version: self._bundles.get(r.version) or self._load(r) for r in releases}
                self._pointer, self._etag, self._bundles = pointer, etag, bundles
            self._failure = ""
            self._ask_again_at = self._clock() + self._ttl
        except (BotoCoreError, ClientError, BundleInvalid, ModelUnavailable, OSError) as error:
            self._failure = _cause(error)
            self._ask_again_at = self._clock() + min(self._ttl, RETRY_SECONDS)
            logger.error("model %s: refresh failed, %s: %s", self.name, self._failure, error)
            if self._on_failure:
                self._on_failure(self._failure)

    def _load(self, release: Release) -> Bundle:
        """Download where not cached, check, load. A cached copy that fails its check is fetched anew, once."""
        directory = self._cache_dir / self.name / release.version
        if directory.is_dir():
            try:
                return load_bundle(directory, expected_sha256=release.sha256, threads=self._threads)
            except BundleInvalid:
                shutil.rmtree(directory, ignore_errors=True)
        self._make_room(keep=release.version)
        download(self._s3, self._bucket, self.name, release.version, directory)
        return load_bundle(directory, expected_sha256=release.sha256, threads=self._threads)

    def _make_room(self, keep: str) -> None:
        """Remove cached versions that no longer answer: /tmp is small."""
        for directory in (self._cache_dir / self.name).glob("*"):
            if directory.name != keep and directory.name not in self._bundles:
                shutil.rmtree(directory, ignore_errors=True)


def download(s3: S3Client, bucket: str, name: str, version: str, directory: Path) -> None:
    """Fetch a version into `directory`, which appears only when complete; files travel at once, for S3 streams are slow."""
    part = directory.with_name(f".{directory.name}.{uuid4().hex[:8]}")
    part.mkdir(parents=True, exist_ok=True)
    try:

        def fetch(file: str) -> None:
            body = s3.get_object(Bucket=bucket, Key=bundle_key(name, version, file))["Body"]
            with (part / file).open("wb") as out:
                shutil.copyfileobj(body, out, 1 << 20)

        try:
            fetch(BUNDLE_JSON)
            files = list(orjson.loads((part / BUNDLE_JSON).read_bytes())["files"])
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise BundleInvalid(f"{BUNDLE_JSON} of version {version} is not readable: {error!r}") from None
        if any("/" in file or file.startswith(".") for file in files):
            raise BundleInvalid(f"{BUNDLE_JSON} of version {version} names files outside the bundle")
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(fetch, files))
        try:
            part.rename(directory)
        except OSError:
            if not directory.is_dir():  # otherwise another caller was faster
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _cause(error: Exception) -> str:
    """A cause that may be shown to a caller: no keys, no names of buckets."""
    if isinstance(error, ModelUnavailable):
        return "none was promoted"
    if isinstance(error, BundleInvalid):
        return f"the published bundle is not valid ({error.detail})"
    if isinstance(error, ClientError):
        return f"the model store answered {error.response.get('Error', {}).get('Code', 'an error')}"
    return f"the model store does not answer ({type(error).__name__})"
