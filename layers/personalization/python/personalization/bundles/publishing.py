"""Publishing, promoting and rolling back: what an engineer or a pipeline does, never a request."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from personalization.bundles.bundle import BUNDLE_JSON, file_sha256, load_bundle
from personalization.bundles.pointer import PREFIX, ModelPointer, Release, bundle_key, get_pointer, pointer_key
from personalization.core.errors import Conflict, InvalidInput, ModelUnavailable, NotFound

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True)
class Listing:
    """A published version; `role` is ``current``, ``previous``, ``challenger`` or empty."""

    name: str
    version: str
    role: str = ""


def publish(s3: S3Client, bucket: str, directory: Path) -> str:
    """Upload a bundle and answer its version; bundle.json goes last, so a half-done upload is no version.

    The bundle is checked and run first. Publishing the same bundle again changes nothing; it does not promote.
    Raises `BundleInvalid` for a bundle that is not as its bundle.json says, `Conflict` where other bytes already lie under
    this version.
    """
    bundle = load_bundle(directory)
    for file in (*bundle.manifest["files"], BUNDLE_JSON):
        _put_once(s3, bucket, bundle_key(bundle.name, bundle.version, file), directory / file)
    return bundle.version


def promote(s3: S3Client, bucket: str, name: str, version: str, *, challenger_share: float | None = None) -> ModelPointer:
    """Make a published version the one that answers, or the challenger of the one that does for a share of users.

    Raises `NotFound` where the version was never published, `Conflict` where somebody else promoted in between.
    """
    release = _published(s3, bucket, name, version)

    def change(pointer: ModelPointer | None) -> ModelPointer:
        if challenger_share is not None:
            if pointer is None:
                raise InvalidInput(f"{name!r} has no current version that {version} could challenge; promote one first")
            if not 0 < challenger_share < 1:
                raise InvalidInput(f"expected a challenger share between 0 and 1, received {challenger_share}")
            challenger = Release(release.version, release.sha256, challenger_share)
            return ModelPointer(pointer.current, pointer.previous, challenger)
        if pointer is None:
            return ModelPointer(release)
        if pointer.current == release:
            return ModelPointer(release, pointer.previous)
        return ModelPointer(release, pointer.current)

    return _change_pointer(s3, bucket, name, change)


def rollback(s3: S3Client, bucket: str, name: str) -> ModelPointer:
    """Return to the previous version: one write. Rolling back twice returns to where it was.

    Raises `NotFound` where there is no previous version.
    """

    def change(pointer: ModelPointer | None) -> ModelPointer:
        if pointer is None or pointer.previous is None:
            raise NotFound(f"{name!r} has no previous version to roll back to")
        return ModelPointer(pointer.previous, pointer.current)

    return _change_pointer(s3, bucket, name, change)


def list_versions(s3: S3Client, bucket: str, name: str | None = None) -> list[Listing]:
    """All published versions, oldest first within a name."""
    found = []
    prefix = f"{PREFIX}/{name}/" if name else f"{PREFIX}/"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        for content in page.get("Contents", []):
            parts = content["Key"].split("/")
            if len(parts) == 4 and parts[3] == BUNDLE_JSON:
                found.append((parts[1], parts[2]))
    roles: dict[tuple[str, str], str] = {}
    for known in {name for name, _ in found}:
        try:
            pointer = get_pointer(s3, bucket, known)
        except ModelUnavailable:
            continue
        if pointer:
            releases = {"previous": pointer[0].previous, "challenger": pointer[0].challenger, "current": pointer[0].current}
            roles |= {(known, release.version): role for role, release in releases.items() if release}
    return [Listing(name, version, roles.get((name, version), "")) for name, version in sorted(found)]


def _published(s3: S3Client, bucket: str, name: str, version: str) -> Release:
    try:
        raw = s3.get_object(Bucket=bucket, Key=bundle_key(name, version, BUNDLE_JSON))["Body"].read()
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
            raise NotFound(f"no version {version!r} of {name!r} was published") from None
        raise
    return Release(version, hashlib.sha256(raw).hexdigest())


def _put_once(s3: S3Client, bucket: str, key: str, path: Path) -> None:
    digest = file_sha256(path)
    try:
        with path.open("rb") as body:
            s3.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*", Metadata={"sha256": digest})
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") not in ("PreconditionFailed", "412"):
            raise
        there = s3.head_object(Bucket=bucket, Key=key)["Metadata"].get("sha256")
        if there != digest:
            raise Conflict(f"{key} is already published with other content") from None


def _change_pointer(
    s3: S3Client, bucket: str, name: str, change: Callable[[ModelPointer | None], ModelPointer]
) -> ModelPointer:
    """Read, change, write on the condition that nobody wrote in between."""
    try:
        found = get_pointer(s3, bucket, name)
    except ModelUnavailable:
        found = None
    pointer = change(found[0] if found else None)
    condition: dict[str, Any] = {"IfMatch": found[1]} if found else {"IfNoneMatch": "*"}
    try:
        s3.put_object(Bucket=bucket, Key=pointer_key(name), Body=pointer.to_json(), ContentType="application/json", **condition)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code")
        if code in ("PreconditionFailed", "412", "ConditionalRequestConflict"):
            raise Conflict(f"the pointer of {name!r} was changed by somebody else; look and try again") from None
        raise
    return pointer
