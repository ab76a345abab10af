"""``GET`` and ``DELETE /v1/users/{user_id}``: everything stored about a user, and its erasure."""

from __future__ import annotations

from typing import Any, Final

from personalization.api.app import Route
from personalization.api.requests import ApiRequest
from personalization.api.responses import ApiResponse
from personalization.api.services import Services
from personalization.core.errors import NotFound
from personalization.core.time import DAY_MS, format_timestamp

BACKUP_DAYS: Final = 35  # DynamoDB's point-in-time recovery reaches no further back
LIFECYCLE_SLACK_DAYS: Final = 2  # S3 counts from the next midnight UTC, and deletes within a day or so


def routes(services: Services) -> list[Route]:
    def get_user(request: ApiRequest) -> ApiResponse:
        user_id = request.path_id("user_id")
        stored = services.state.export(user_id)
        if not stored["items"]:
            raise NotFound("nothing is stored about this user")
        return ApiResponse({"user_id": user_id} | stored)

    def erase_user(request: ApiRequest) -> ApiResponse:
        removed = services.state.erase(request.path_id("user_id"))
        return ApiResponse({"removed": removed, "expires_later": _expiries(services.settings.results_days, request.now_ms)})

    return [Route("GET", "/v1/users/{user_id}", get_user), Route("DELETE", "/v1/users/{user_id}", erase_user)]


def _expiries(results_days: int, now_ms: int) -> list[dict[str, Any]]:
    """Copies that an erasure does not reach, and when the last of each expires."""
    copies = (
        ("inbox", "dropped files that name the user", results_days + LIFECYCLE_SLACK_DAYS),
        ("results", "results of dropped files, exports of segments among them", results_days + LIFECYCLE_SLACK_DAYS),
        ("table backups", "point-in-time recovery of the state table", BACKUP_DAYS),
    )
    return [{"store": store, "what": what, "gone_by": format_timestamp(now_ms + days * DAY_MS)} for store, what, days in copies]
