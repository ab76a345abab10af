"""The one mutable object of a model: ``models/<name>/current.json``, and where everything lies."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
from botocore.exceptions import ClientError

from personalization.core.errors import BundleInvalid, ModelUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX: Final = "models"
POINTER: Final = "current.json"


@dataclass(frozen=True, slots=True)
class Release:
    """One version that a pointer names: the version, the sha256 of its bundle.json, and its share of users."""

    version: str
    sha256: str
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class ModelPointer:
    """Content of current.json; `previous` is what a rollback returns to, `challenger` gets its share of users."""

    current: Release
    previous: Release | None = None
    challenger: Release | None = None

    @classmethod
    def from_json(cls, raw: bytes) -> ModelPointer:
        """Raises `BundleInvalid` for anything that is not a pointer."""
        try:
            content = orjson.loads(raw)
            current = Release(str(content["version"]), str(content["sha256"]))
            previous, challenger = content.get("previous"), content.get("challenger")
            return cls(
                current,
                Release(previous["version"], previous["sha256"]) if previous else None,
                Release(challenger["version"], challenger["sha256"], float(challenger["share"])) if challenger else None,
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleInvalid(f"{POINTER} is not a model pointer: {error!r}") from None

    def to_json(self) -> bytes:
        def release(r: Release) -> dict[str, Any]:
            return {"version": r.version, "sha256": r.sha256}

        content: dict[str, Any] = release(self.current)
        content["previous"] = release(self.previous) if self.previous else None
        if self.challenger:
            content["challenger"] = release(self.challenger) | {"share": self.challenger.share}
        return orjson.dumps(content, option=orjson.OPT_INDENT_2)


def share_of(user_id: str, salt: str) -> float:
    """A user's fixed place in [0, 1), by which traffic is split."""
    digest = hashlib.blake2b(f"{salt}\0{user_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def get_pointer(s3: S3Client, bucket: str, name: str, etag: str | None = None) -> tuple[ModelPointer, str] | None:
    """The pointer and its ETag, `None` where it is still the one of `etag`.

    Raises `ModelUnavailable` where there is none, `BundleInvalid` where it is not a pointer, botocore's errors otherwise.
    """
    condition = {"IfNoneMatch": etag} if etag else {}
    try:
        answer = s3.get_object(Bucket=bucket, Key=pointer_key(name), **condition)  # type: ignore[arg-type]
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in ("304", "NotModified"):
            return None
        if code in ("NoSuchKey", "404"):
            raise ModelUnavailable(f"no model {name!r} was promoted yet") from None
        raise
    return ModelPointer.from_json(answer["Body"].read()), answer["ETag"]


def pointer_key(name: str) -> str:
    return f"{PREFIX}/{name}/{POINTER}"


def bundle_key(name: str, version: str, file: str) -> str:
    return f"{PREFIX}/{name}/{version}/{file}"
