"""``models/<name>/current.json``: the only object of a model that is ever overwritten. It names the version that serves."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from personalization.core.errors import BundleInvalid
from personalization.core.snapshots import read_object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX: Final = "models"
POINTER: Final = "current.json"


@dataclass(frozen=True, slots=True)
class Release:
    """One version that a pointer names: the version, the sha256 of its bundle.json, and its share of users in (0, 1]."""

    version: str
    sha256: str
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class ModelPointer:
    """Content of current.json.

    current      the champion: the version that serves
    previous     the version that a rollback returns to
    challenger   the version that serves its share of users instead of the champion
    """

    current: Release
    previous: Release | None = None
    challenger: Release | None = None

    @classmethod
    def from_json(cls, raw: bytes) -> ModelPointer:
        """Raises `BundleInvalid` for bytes that are not a pointer."""
        try:
            content = orjson.loads(raw)
            previous, challenger = content.get("previous"), content.get("challenger")
            return cls(
                Release(str(content["version"]), str(content["sha256"])),
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


def hash_fraction(user_id: str, salt: str) -> float:
    """A user's fixed number in [0, 1), by which traffic is split between champion and challenger."""
    digest = hashlib.blake2b(f"{salt}\0{user_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def read_pointer(s3: S3Client, bucket: str, name: str) -> ModelPointer | None:
    """The pointer of a model as it is now, `None` where no version was promoted.

    Raises `BundleInvalid` where the object is not a pointer, botocore's errors where S3 fails.
    """
    stored = read_object(s3, bucket, pointer_key(name))
    return ModelPointer.from_json(stored.body) if stored else None


def pointer_key(name: str) -> str:
    """S3 key of a model's pointer."""
    return f"{PREFIX}/{name}/{POINTER}"


def bundle_key(name: str, version: str, file: str) -> str:
    return f"{PREFIX}/{name}/{version}/{file}"
