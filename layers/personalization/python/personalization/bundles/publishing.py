"""Publishing, promoting and rolling back models. An engineer or a pipeline does this; a request never does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from personalization.bundles.bundle import BUNDLE_JSON, file_sha256, load_bundle
from personalization.bundles.pointer import PREFIX, ModelPointer, Release, bundle_key, pointer_key, read_pointer
from personalization.core.errors import Conflict, InvalidInput, NotFound
from personalization.core.snapshots import error_code, read_object, write_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True)
class PublishedVersion:
    """`role` is ``current``, ``previous``, ``challenger`` or empty."""

    name: str
    version: str
    role: str = ""


def publish(s3: S3Client, bucket: str, directory: Path) -> str:
    """Upload a bundle; returns its version. It does not serve before it is promoted.

    The bundle is checked and run first. bundle.json is uploaded last, so an upload that broke off is no version. Publishing
    the same bundle again changes nothing. Raises `BundleInvalid` for a bundle that differs from its bundle.json or does not
    run, `Conflict` where other bytes are stored under this version.
    """
    bundle = load_bundle(directory)
    for file in (*bundle.manifest["files"], BUNDLE_JSON):
        _put_once(s3, bucket, bundle_key(bundle.name, bundle.version, file), directory / file)
    return bundle.version


def promote(s3: S3Client, bucket: str, name: str, version: str, *, challenger_share: float | None = None) -> ModelPointer:
    """Make a published version the champion, or with a share of users the challenger. Functions swap within their TTL.

    Raises `NotFound` where the version was never published, `InvalidInput` for a share outside (0, 1) or a challenger
    without a champion, `Conflict` where somebody else changed the pointer in between.
    """
    release = _published(s3, bucket, name, version)

    def change(pointer: ModelPointer | None) -> ModelPointer:
        if challenger_share is not None:
            if pointer is None:
                raise InvalidInput(f"{name!r} has no current version that {version} could challenge; promote one first")
            if not 0 < challenger_share < 1:
                raise InvalidInput(f"expected a challenger share between 0 and 1, received {challenger_share}")
            return replace(pointer, challenger=replace(release, share=challenger_share))
        if pointer is None:
            return ModelPointer(release)
        return ModelPointer(release, pointer.previous if pointer.current == release else pointer.current)

    return _change_pointer(s3, bucket, name, change)


def rollback(s3: S3Client, bucket: str, name: str) -> ModelPointer:
    """Return to the previous version, by one write. A second rollback undoes the first.

    Raises `NotFound` where there is no previous version, `Conflict` where somebody else changed the pointer in between.
    """

    def change(pointer: ModelPointer | None) -> ModelPointer:
        if pointer is None or pointer.previous is None:
            raise NotFound(f"{name!r} has no previous version to roll back to")
        return ModelPointer(pointer.previous, pointer.current)

    return _change_pointer(s3, bucket, name, change)


def list_versions(s3: S3Client, bucket: str, name: str | None = None) -> list[PublishedVersion]:
    """All published versions of one model or of all, by name, oldest first."""
    versions: list[tuple[str, str]] = []
    prefix = f"{PREFIX}/{name}/" if name else f"{PREFIX}/"
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for content in page.get("Contents", []):
            parts = content["Key"].split("/")
            if len(parts) == 4 and parts[3] == BUNDLE_JSON:
                versions.append((parts[1], parts[2]))
    roles: dict[tuple[str, str], str] = {}
    for model in {model for model, _ in versions}:
        if pointer := read_pointer(s3, bucket, model):
            releases = {"previous": pointer.previous, "challenger": pointer.challenger, "current": pointer.current}
            roles |= {(model, release.version): role for role, release in releases.items() if release}
    return [PublishedVersion(*version, roles.get(version, "")) for version in sorted(versions)]


def _published(s3: S3Client, bucket: str, name: str, version: str) -> Release:
    manifest = read_object(s3, bucket, bundle_key(name, version, BUNDLE_JSON))
    if manifest is None:
        raise NotFound(f"no version {version!r} of {name!r} was published")
    return Release(version, hashlib.sha256(manifest.body).hexdigest())


def _put_once(s3: S3Client, bucket: str, key: str, path: Path) -> None:
    digest = file_sha256(path)
    try:
        with path.open("rb") as body:
            s3.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*", Metadata={"sha256": digest})
    except ClientError as error:
        if error_code(error) not in ("PreconditionFailed", "412"):
            raise
        if s3.head_object(Bucket=bucket, Key=key)["Metadata"].get("sha256") != digest:
            raise Conflict(f"{key} is already published with other content") from None


def _change_pointer(
    s3: S3Client, bucket: str, name: str, change: Callable[[ModelPointer | None], ModelPointer]
) -> ModelPointer:
    """Read, change, write on the condition that nobody wrote in between."""
    stored = read_object(s3, bucket, pointer_key(name))
    pointer = change(ModelPointer.from_json(stored.body) if stored else None)
    if not write_object(s3, bucket, pointer_key(name), pointer.to_json(), replaces=stored, content_type="application/json"):
        raise Conflict(f"the pointer of {name!r} was changed by somebody else in between; run `list`, then try again")
    return pointer
