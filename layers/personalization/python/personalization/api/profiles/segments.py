"""``GET /v1/segments``: who the shop's users are by what they will do, as of the newest batch of profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from personalization.api.app import Route
from personalization.api.requests import Call
from personalization.api.responses import ApiResponse
from personalization.api.services import Services
from personalization.core.errors import NotFound, ResultsUnavailable
from personalization.core.time import format_timestamp
from personalization.profiles.behaviour import CURRENT_SEGMENTS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def segment_routes(services: Services) -> list[Route]:
    def get(_call: Call) -> ApiResponse:
        return ApiResponse(_current(services.s3, services.settings.data_bucket))

    return [Route("GET", "/v1/segments", get)]


def _current(s3: S3Client, bucket: str) -> dict[str, Any]:
    """The file that the newest job left, and when it did. Raises `NotFound` before the first, `ResultsUnavailable`."""
    try:
        found = s3.get_object(Bucket=bucket, Key=CURRENT_SEGMENTS)
        content: dict[str, Any] = orjson.loads(found["Body"].read())
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404", "NotFound"):
            raise NotFound(
                "no segments yet: drop a file of interactions under inbox/profiles/, and its job makes them"
            ) from None
        raise ResultsUnavailable("the segments cannot be read now; the call may be repeated") from error
    except BotoCoreError as error:
        raise ResultsUnavailable("the segments cannot be read now; the call may be repeated") from error
    return {"made_at": format_timestamp(int(found["LastModified"].timestamp() * 1000))} | content
