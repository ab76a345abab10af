"""``catalogue/current.json``: which parts the catalogue is made of, in their order. It alone is ever overwritten."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
from botocore.exceptions import ClientError

from personalization.core.errors import BundleInvalid

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX: Final = "catalogue"
POINTER_KEY: Final = f"{PREFIX}/current.json"
BASE: Final = "base.npz"
DELTA: Final = "delta.npz"


@dataclass(frozen=True, slots=True)
class PartRef:
    """Where a part lies, and the sha256 of its bytes."""

    key: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class CatalogPointer:
    """version    of the catalogue: UTC time + 8 hex of its newest part
    parts      the base, if any, then deltas, oldest first
    replaced   keys that a compaction made needless; readers of the pointer before may still be on their way to them
    """

    version: str
    parts: tuple[PartRef, ...]
    replaced: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, raw: bytes) -> CatalogPointer:
        """Raises `BundleInvalid` for anything that is not a pointer."""
        try:
            content = orjson.loads(raw)
            parts = tuple(PartRef(str(p["key"]), str(p["sha256"]), int(p["size"])) for p in content["parts"])
            return cls(str(content["version"]), parts, tuple(content.get("replaced", ())))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise BundleInvalid(f"{POINTER_KEY} is not a pointer of a catalogue: {error!r}") from None

    def to_json(self) -> bytes:
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2)


def read_pointer(s3: S3Client, bucket: str, etag: str | None = None) -> tuple[CatalogPointer | None, str | None] | None:
    """The pointer and its ETag; both `None` where there is no catalogue; `None` where it is still the one of `etag`.

    Raises `BundleInvalid` and botocore's errors.
    """
    condition: dict[str, Any] = {"IfNoneMatch": etag} if etag else {}
    try:
        answer = s3.get_object(Bucket=bucket, Key=POINTER_KEY, **condition)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in ("304", "NotModified"):
            return None
        if code in ("NoSuchKey", "404"):
            return None, None
        raise
    return CatalogPointer.from_json(answer["Body"].read()), answer["ETag"]


def write_pointer(s3: S3Client, bucket: str, pointer: CatalogPointer, etag: str | None) -> bool:
    """Whether it was written: not where somebody else wrote since `etag` (`None`: since there was none)."""
    condition: dict[str, Any] = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
    try:
        s3.put_object(Bucket=bucket, Key=POINTER_KEY, Body=pointer.to_json(), ContentType="application/json", **condition)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in ("PreconditionFailed", "412", "ConditionalRequestConflict", "409"):
            return False
        raise
    return True
