"""Reads models from S3, and decides when a model is swapped.

A model is swapped at the first request after the TTL (60 s by default) at which ``current.json`` names another version: that
version is downloaded, checked against its sha256, loaded and run once, and only then replaces the one that serves. On any
failure the last good model goes on serving. A challenger that cannot be loaded leaves all users to the champion.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import orjson

from personalization.bundles.bundle import BUNDLE_JSON, Bundle, load_bundle
from personalization.bundles.pointer import ModelPointer, Release, bundle_key, hash_fraction, pointer_key
from personalization.core.errors import BundleInvalid, ModelUnavailable
from personalization.core.snapshots import Incomplete, OnFailure, SnapshotReader

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True)
class LoadedModels:
    """The bundles of one pointer; `challenger` with its share of users, `None` where there is none or it is not usable."""

    champion: Bundle
    challenger: tuple[Bundle, float] | None = None

    def by_version(self) -> dict[str, Bundle]:
        bundles = [self.champion, *([self.challenger[0]] if self.challenger else [])]
        return {bundle.directory.name: bundle for bundle in bundles}


class ModelStore(SnapshotReader[LoadedModels]):
    """The reader of one model name; one instance a function, shared by its calls.

    cache_dir   local directory for downloaded versions; those that neither serve nor are named by the pointer are removed
    ttl         seconds for which a pointer is used without asking S3
    clock       monotonic seconds
    threads     of one `session.run`
    on_failure  called with the cause whenever a refresh fails, for a metric
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
        on_failure: OnFailure | None = None,
    ) -> None:
        super().__init__(s3, bucket, pointer_key(name), ttl=ttl, clock=clock, on_failure=on_failure)
        self.name = name
        self._cache_dir, self._threads = cache_dir / name, threads

    def choose(self, user_id: str | None = None) -> tuple[Bundle, str]:
        """The bundle for a user, and its variant, ``champion`` or ``challenger``; a user stays with one of them.

        Raises `ModelUnavailable` where no model can be loaded and none was loaded before.
        """
        models = self.get()
        if models is None:
            raise ModelUnavailable(f"no model {self.name!r} is available: {self.failure}")
        if models.challenger and user_id and hash_fraction(user_id, self.name) < models.challenger[1]:
            return models.challenger[0], "challenger"
        return models.champion, "champion"

    def load(self, previous: LoadedModels | None, body: bytes | None) -> LoadedModels:
        """The bundles that a pointer names; those that are loaded already are taken over."""
        if body is None:
            raise ModelUnavailable("no version was promoted")
        pointer = ModelPointer.from_json(body)
        loaded = previous.by_version() if previous else {}
        challenger = pointer.challenger
        keep = {pointer.current.version, *([challenger.version] if challenger else []), *loaded}
        champion = loaded.get(pointer.current.version) or self._load_bundle(pointer.current, keep)
        if challenger is None:
            return LoadedModels(champion)
        try:
            bundle = loaded.get(challenger.version) or self._load_bundle(challenger, keep)
        except Exception as error:  # whatever is wrong with a challenger, the champion serves
            raise Incomplete(LoadedModels(champion), error) from error
        return LoadedModels(champion, (bundle, challenger.share))

    def _load_bundle(self, release: Release, keep: set[str]) -> Bundle:
        """Download where not cached, check, load. A cached copy that fails its check is downloaded again, once.

        keep   versions whose files stay; others are removed before a download, because /tmp is small
        """
        directory = self._cache_dir / release.version
        if directory.is_dir():
            try:
                return load_bundle(directory, expected_sha256=release.sha256, threads=self._threads)
            except BundleInvalid:
                shutil.rmtree(directory, ignore_errors=True)
        for other in self._cache_dir.glob("*"):
            if other.name not in keep:
                shutil.rmtree(other, ignore_errors=True)
        download(self._s3, self._bucket, self.name, release.version, directory)
        return load_bundle(directory, expected_sha256=release.sha256, threads=self._threads)


def download(s3: S3Client, bucket: str, name: str, version: str, directory: Path) -> None:
    """Download a version into `directory`, which appears only when it is complete.

    Files are downloaded in parallel, because one stream from S3 is slow. Raises `BundleInvalid` where bundle.json cannot be
    read or names files outside the bundle, botocore's errors where S3 fails, `OSError` where the disk does.
    """
    part = directory.with_name(f".{directory.name}.{uuid4().hex[:8]}")
    part.mkdir(parents=True, exist_ok=True)

    def fetch(file: str) -> None:
        body = s3.get_object(Bucket=bucket, Key=bundle_key(name, version, file))["Body"]
        with (part / file).open("wb") as out:
            shutil.copyfileobj(body, out, 1 << 20)

    try:
        fetch(BUNDLE_JSON)
        try:
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
