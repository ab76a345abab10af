"""``GET /v1/models`` and ``GET /v1/health``: the published models, by their pointers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from personalization.api.app import Route
from personalization.api.requests import ApiRequest
from personalization.api.responses import ApiResponse
from personalization.api.services import Services
from personalization.bundles import ModelPointer
from personalization.bundles.pointer import pointer_key
from personalization.core.errors import BundleInvalid
from personalization.core.parallel import map_parallel
from personalization.core.schema import JOBS, TABLE_SUFFIX
from personalization.core.snapshots import SnapshotReader

NAMES: Final = tuple(name for job in JOBS for name in (job, job + TABLE_SUFFIX))
PUBLISHED, NONE, INVALID, UNREACHABLE = "published", "none", "invalid", "unreachable"


class PointerReader(SnapshotReader[ModelPointer]):
    """Reads the pointer of one model at most once per TTL: `GET /v1/health` needs no key, anybody may call it often."""

    def load(self, previous: ModelPointer | None, body: bytes | None) -> ModelPointer | None:
        return ModelPointer.from_json(body) if body is not None else None

    def state(self) -> tuple[str, ModelPointer | None]:
        """The state of the model, and its pointer where it is published."""
        pointer = self.get()
        if self.error:
            return INVALID if isinstance(self.error, BundleInvalid) else UNREACHABLE, None
        return (PUBLISHED, pointer) if pointer else (NONE, None)


def routes(services: Services, clock: Callable[[], float] = time.monotonic) -> list[Route]:
    settings = services.settings
    readers = {
        name: PointerReader(services.s3, settings.models_bucket, pointer_key(name), ttl=settings.pointer_ttl, clock=clock)
        for name in NAMES
    }

    def states() -> dict[str, tuple[str, ModelPointer | None]]:
        found = dict(map_parallel(lambda name: (name, readers[name].state()), NAMES, len(NAMES)))
        return {name: found[name] for name in NAMES}

    def list_models(_request: ApiRequest) -> ApiResponse:
        return ApiResponse({"models": [_to_response(name, *state) for name, state in states().items()]})

    def health(_request: ApiRequest) -> ApiResponse:
        models = {name: state for name, (state, _) in states().items()}
        broken = sorted(name for name, state in models.items() if state in (INVALID, UNREACHABLE))
        failures = [f"no usable pointer of {', '.join(broken)}"] if broken else []
        return ApiResponse({"status": "degraded" if broken else "ok", "models": models}, failures=failures)

    return [Route("GET", "/v1/models", list_models), Route("GET", "/v1/health", health)]


def _to_response(name: str, state: str, pointer: ModelPointer | None) -> dict[str, Any]:
    content: dict[str, Any] = {"name": name, "state": state}
    if pointer:
        challenger = pointer.challenger
        content |= {
            "version": pointer.current.version,
            "previous": pointer.previous.version if pointer.previous else None,
            "challenger": {"version": challenger.version, "share": challenger.share} if challenger else None,
        }
    return content
