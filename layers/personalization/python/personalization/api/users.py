"""``GET`` and ``DELETE /v1/users/{user_id}``: what we know of somebody, and forgetting it."""

from __future__ import annotations

from typing import Any, Final

from personalization.api.app import Route
from personalization.api.requests import Call
from personalization.api.responses import ApiResponse
from personalization.api.services import Services
from personalization.core.errors import NotFound
from personalization.core.time import DAY_MS, format_timestamp

BACKUP_DAYS: Final = 35  # DynamoDB's point-in-time recovery reaches no further back
LIFECYCLE_SLACK_DAYS: Final = 2  # S3 counts from the next midnight UTC, and deletes within a day or so


def routes(services: Services) -> list[Route]:
    def everything(call: Call) -> ApiResponse:
        user_id = call.path_id("user_id")
        stored = services.users.everything(user_id)
        if not stored["items"]:
            raise NotFound("nothing is stored about this user")
        return ApiResponse({"user_id": user_id} | stored)

    def erase(call: Call) -> ApiResponse:
        removed = services.users.erase(call.path_id("user_id"))
        return ApiResponse({"removed": removed, "expires_later": _later(services.settings.results_days, call.now_ms)})

    return [Route("GET", "/v1/users/{user_id}", everything), Route("DELETE", "/v1/users/{user_id}", erase)]


def _later(results_days: int, now_ms: int) -> list[dict[str, Any]]:
    """Copies that no call can reach, and when the last of them is gone."""
    files = format_timestamp(now_ms + (results_days + LIFECYCLE_SLACK_DAYS) * DAY_MS)
    return [
        {"store": "inbox", "what": "dropped files that name the user", "gone_by": files},
        {"store": "results", "what": "results of dropped files, exports of segments among them", "gone_by": files},
        {
            "store": "table backups",
            "what": "point-in-time recovery of the state table",
            "gone_by": format_timestamp(now_ms + BACKUP_DAYS * DAY_MS),
        },
    ]
