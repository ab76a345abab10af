"""The user of an ad request: features and events from the request, or from state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from personalization.ads.exposure import Exposure
from personalization.ads.features import RequestContext, request_context
from personalization.api.ads.schemas import AdUser
from personalization.api.ads.stores import AdStores
from personalization.api.json_rows import canonical_columns, cell_pointer
from personalization.api.problems import pointer
from personalization.bundles.bundle import Bundle
from personalization.core.errors import Fault, InvalidInput, StateUnavailable
from personalization.core.events import Events, empty_events
from personalization.core.schema import USER_ID
from personalization.data.interactions import parse_events
from personalization.features import CategoryShares, Lifetime
from personalization.profiles.predict import ATTRIBUTE_PREFIX, history_window
from personalization.state import Kind, partition_key


@dataclass(frozen=True)
class UserContext:
    """context           features of one user at the moment of the request
    exposure          counts of the user's earlier impressions, one row for each ad
    partition         partition key of the user's or session's state, `None` for an unknown user
    degraded_reason   why the context is incomplete
    """

    context: RequestContext
    exposure: Exposure
    partition: str | None
    degraded_reason: str = ""


def load_user_context(user: AdUser, bundle: Bundle, ads: Sequence[str], now_ms: int, stores: AdStores) -> UserContext:
    """Features of the user and counts of earlier impressions of `ads`. A user whose state cannot be read counts as new.

    Raises `InvalidInput` for events and features that are not valid.
    """
    kind: Kind = "session" if user.user_id is None else "user"
    owner = user.session_id if user.user_id is None else user.user_id
    key = None if owner is None or user.personalization == "off" else partition_key(kind, owner)
    events, evicted = empty_events([owner or ""]), None
    exposure, degraded_reason = Exposure.none(len(ads)), ""
    try:
        if key is not None and stores.exposures is not None:
            exposure = stores.exposures.read(key, ads)
        if key is not None and stores.users is not None and user.features is None and user.events is None:
            state = stores.users.read(str(owner), kind)
            events, evicted = state.events, state.evicted
    except StateUnavailable as error:
        degraded_reason = f"the user's state cannot be read, the user counts as new: {error.detail}"
    if user.features is not None:
        context = _from_features(user, user.features, bundle, now_ms)
    else:
        if user.events is not None:
            events = _parse_events(user.events, bundle, owner)
        context = _from_events(user, events, evicted, bundle, now_ms)
    return UserContext(context, exposure, key, degraded_reason)


def _from_events(user: AdUser, events: Events, evicted: Lifetime | None, bundle: Bundle, now_ms: int) -> RequestContext:
    attributes = {name: [value] for name, value in (user.attributes or {}).items()}
    return request_context(events, np.array([now_ms]), history_window(bundle), bundle.encoder.zone, evicted, attributes)


def _from_features(user: AdUser, features: Mapping[str, Any], bundle: Bundle, now_ms: int) -> RequestContext:
    """Features that the shop has computed; there are no events."""
    columns: dict[str, Any] = {name: [value] for name, value in features.items()}
    columns |= {ATTRIBUTE_PREFIX + name: [value] for name, value in (user.attributes or {}).items()}
    faults = [
        Fault(
            pointer("features" if cell.column in features else "attributes", cell.column.removeprefix(ATTRIBUTE_PREFIX)),
            cell.reason,
        )
        for cell in bundle.encoder.encode(columns, 1).bad_cells
    ]
    if faults:
        raise InvalidInput(f"{len(faults)} of the features are not valid", faults)
    no_shares = CategoryShares(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0))
    return RequestContext(np.array([now_ms]), columns, no_shares, empty_events([""]))


def _parse_events(rows: Sequence[Mapping[str, Any]], bundle: Bundle, owner: str | None) -> Events:
    """The events of a request, as those of one user."""
    name = owner or "\0"
    columns = canonical_columns(rows)
    columns[USER_ID] = [name] * len(rows)
    parsed = parse_events(columns, len(rows), bundle.encoder.zone)
    if parsed.faults:
        faults = [Fault(cell_pointer(("events", row), rows[row], column), reason) for row, column, reason in parsed.faults]
        raise InvalidInput("some events are not valid", faults)
    return parsed.events if len(parsed.events) else empty_events([name])
