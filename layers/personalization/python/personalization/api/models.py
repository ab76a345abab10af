"""``GET /v1/models`` and ``GET /v1/health``: which models answer, told from their pointers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from personalization.api.app import Route
from personalization.api.requests import Call
from personalization.api.responses import ApiResponse
from personalization.api.services import Services
from personalization.bundles import ModelPointer, get_pointer
from personalization.core.errors import BundleInvalid, ModelUnavailable
from personalization.core.schema import JOBS, TABLE_SUFFIX
from personalization.state.parallel import map_parallel

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NAMES: Final = tuple(name for job in JOBS for name in (job, job + TABLE_SUFFIX))
PUBLISHED, NONE, INVALID, UNREACHABLE = "published", "none", "invalid", "unreachable"


class Pointers:
    """The pointers of all models, asked for at most once per TTL: the health route is open to everybody."""

    def __init__(self, s3: S3Client, bucket: str, ttl: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._s3, self._bucket, self._ttl, self._clock = s3, bucket, ttl, clock
        self._lock = threading.Lock()
        self._asked_at = -float("inf")
        self._known: dict[str, tuple[str, ModelPointer | None]] = {}

    def all(self) -> dict[str, tuple[str, ModelPointer | None]]:
        """State and pointer by model name."""
        with self._lock:
            if self._clock() - self._asked_at >= self._ttl:
                self._known = dict(map_parallel(self._ask, NAMES, len(NAMES)))
                self._asked_at = self._clock()
            return {name: self._known[name] for name in NAMES}

    def _ask(self, name: str) -> tuple[str, tuple[str, ModelPointer | None]]:
        try:
            found = get_pointer(self._s3, self._bucket, name)
        except ModelUnavailable:
            return name, (NONE, None)
        except BundleInvalid:
            return name, (INVALID, None)
        except (BotoCoreError, ClientError):
            return name, (UNREACHABLE, None)
        return name, (PUBLISHED, found[0] if found else None)


def routes(services: Services, clock: Callable[[], float] = time.monotonic) -> list[Route]:
    pointers = Pointers(services.s3, services.settings.models_bucket, services.settings.pointer_ttl, clock)

    def models(_call: Call) -> ApiResponse:
        return ApiResponse({"models": [_told(name, *found) for name, found in pointers.all().items()]})

    def health(_call: Call) -> ApiResponse:
        states = {name: state for name, (state, _) in pointers.all().items()}
        broken = sorted(name for name, state in states.items() if state in (INVALID, UNREACHABLE))
        degraded_reason = f"no usable pointer of {', '.join(broken)}" if broken else ""
        return ApiResponse({"status": "degraded" if broken else "ok", "models": states}, degraded_reason=degraded_reason)

    return [Route("GET", "/v1/models", models), Route("GET", "/v1/health", health)]


def _told(name: str, state: str, pointer: ModelPointer | None) -> dict[str, Any]:
    told: dict[str, Any] = {"name": name, "state": state}
    if pointer:
        told |= {
            "version": pointer.current.version,
            "previous": pointer.previous.version if pointer.previous else None,
            "challenger": (
                {"version": pointer.challenger.version, "share": pointer.challenger.share} if pointer.challenger else None
            ),
        }
    return told
