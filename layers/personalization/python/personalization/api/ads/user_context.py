"""For whom ads are chosen: told by the request, or read from state; known as just before the question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from personalization.ads.budgets.exposure_store import ExposureStore
from personalization.ads.exposure import Exposure
from personalization.ads.features import RequestContext, request_context
from personalization.api.ads.schemas import AdUser
from personalization.api.json_rows import canonical_columns, cell_pointer
from personalization.api.problems import pointer
from personalization.bundles.bundle import Bundle
from personalization.core.errors import Fault, InvalidInput, StateUnavailable
from personalization.core.events import Events, empty_events
from personalization.core.schema import USER_ID
from personalization.data.interactions import parse_events
from personalization.features import CategoryShares, Lifetime
from personalization.profiles.predict import ATTRIBUTE_PREFIX, history_window
from personalization.state import Kind, StateStore, partition_key


@dataclass(frozen=True)
class UserContext:
    """views            of one viewer
    exposure         what they had to do with each of the ads
    partition        key of their state, `None`: nobody is known
    degraded_reason  why it is not what it should be
    source           events, features, state or none
    """

    views: RequestContext
    exposure: Exposure
    partition: str | None
    source: str
    degraded_reason: str = ""
    warnings: list[str] = field(default_factory=list)


def load_user_context(
    viewer: AdUser, bundle: Bundle, ads: Sequence[str], now_ms: int, users: StateStore | None, exposures: ExposureStore | None
) -> UserContext:
    """What is known of the viewer and their ads. Raises `InvalidInput` for events and features that are not valid."""
    kind, who = _identity(viewer)
    asks = viewer.personalization == "on" and who is not None
    place = partition_key(kind, who) if asks and who is not None else None
    exposure, degraded_reason = Exposure.none(len(ads)), ""
    try:
        if place is not None and exposures is not None:
            exposure = exposures.read(place, ads)
        if viewer.features is None and viewer.events is None and place is not None and users is not None:
            state = users.read(str(who), kind)
            return UserContext(_views(bundle, state.events, now_ms, viewer, state.evicted), exposure, place, "state")
    except StateUnavailable as error:
        degraded_reason = f"answered as for somebody new: {error.detail}"
    if viewer.features is not None:
        return UserContext(_ready(bundle, viewer, now_ms), exposure, place, "features", degraded_reason)
    if viewer.events is not None:
        events = _parsed(viewer.events, bundle, who)
        return UserContext(_views(bundle, events, now_ms, viewer), exposure, place, "events", degraded_reason)
    return UserContext(_views(bundle, empty_events([who or ""]), now_ms, viewer), exposure, place, "none", degraded_reason)


def _identity(viewer: AdUser) -> tuple[Kind, str | None]:
    return ("user", viewer.user_id) if viewer.user_id is not None else ("session", viewer.session_id)


def _views(bundle: Bundle, events: Events, now_ms: int, viewer: AdUser, evicted: Lifetime | None = None) -> RequestContext:
    attributes = {name: [value] for name, value in (viewer.attributes or {}).items()}
    return request_context(events, np.array([now_ms]), history_window(bundle), bundle.encoder.zone, evicted, attributes)


def _ready(bundle: Bundle, viewer: AdUser, now_ms: int) -> RequestContext:
    """Features that the shop has computed: nothing is known of single events."""
    columns: dict[str, Any] = {name: [value] for name, value in (viewer.features or {}).items()}
    columns |= {ATTRIBUTE_PREFIX + name: [value] for name, value in (viewer.attributes or {}).items()}
    faults = [
        Fault(pointer("features" if cell.column in (viewer.features or {}) else "attributes", _bare(cell.column)), cell.reason)
        for cell in bundle.encoder.encode(columns, 1).bad_cells
    ]
    if faults:
        raise InvalidInput(f"{len(faults)} of the features are not what they should be", faults)
    nothing = CategoryShares(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0))
    return RequestContext(np.array([now_ms]), columns, nothing, empty_events([""]))


def _bare(column: str) -> str:
    return column.removeprefix(ATTRIBUTE_PREFIX)


def _parsed(rows: Sequence[Mapping[str, Any]], bundle: Bundle, who: str | None) -> Events:
    name = who or "\0"
    columns = canonical_columns(rows)
    columns[USER_ID] = [name] * len(rows)
    parsed = parse_events(columns, len(rows), bundle.encoder.zone)
    if parsed.faults:
        faults = [Fault(cell_pointer(("events", row), rows[row], column), reason) for row, column, reason in parsed.faults]
        raise InvalidInput("some events are not valid", faults)
    events = parsed.events if len(parsed.events) else empty_events([name])
    return replace(events, users=[name]) if events.users == [name] else events
