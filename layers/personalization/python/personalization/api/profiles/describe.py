"""Profiles of the users of one request: from events, from ready features, or from state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC
from typing import Any, Final

import numpy as np

from personalization import features
from personalization.api.json_rows import canonical_columns, cell_pointer, columns_of
from personalization.api.problems import pointer
from personalization.api.profiles.schemas import PlacedUser
from personalization.bundles.bundle import Bundle
from personalization.core import cells
from personalization.core.categorical import Vocabulary
from personalization.core.errors import Fault, InvalidInput, TooLarge
from personalization.core.events import concatenate, empty_events
from personalization.core.parallel import map_parallel
from personalization.core.schema import MAX_EVENTS_PER_CALL, USER_ID
from personalization.data.interactions import parse_events
from personalization.features import Lifetime, lifetime
from personalization.profiles import predict
from personalization.profiles.predict import ATTRIBUTE_PREFIX
from personalization.state import StateStore
from personalization.tabular.explain import Explainer

READERS: Final = 8  # users whose state is read at the same time


def describe_users(
    bundle: Bundle | None,
    users: Sequence[PlacedUser],
    as_of_ms: int,
    state: StateStore | None,
    explainer: Explainer | None = None,
) -> tuple[list[dict[str, Any]], list[str]]:
    """A profile for each user, in order, and warnings.

    state       of users without events and features; without it they are described as users without history
    explainer   adds an explanation to each profile

    Raises `InvalidInput` with pointers, `TooLarge`, and `StateUnavailable`: for a user with history a profile without it
    would be wrong.
    """
    _check_users(users)
    profiles: list[dict[str, Any]] = [{}] * len(users)
    sources = [_source(user, state) for user in users]
    for source in sorted(set(sources)):
        rows = [row for row, name in enumerate(sources) if name == source]
        chosen = [users[row] for row in rows]
        if source == "features":
            described = _from_features(bundle, chosen, as_of_ms, explainer)
        elif source == "state" and state:
            described = _from_state(bundle, chosen, as_of_ms, explainer, state)
        else:
            described = _from_events(bundle, chosen, as_of_ms, explainer)
        for row, profile in zip(rows, described, strict=True):
            user_id = users[row].user.user_id
            named = {} if user_id is None else {USER_ID: user_id}
            profiles[row] = named | {name: value for name, value in profile.items() if name != USER_ID} | {"source": source}
    return profiles, _warnings(bundle, users)


def _source(placed: PlacedUser, state: StateStore | None) -> str:
    if placed.user.features is not None:
        return "features"
    if placed.user.events is not None:
        return "events"
    return "state" if state and placed.user.user_id is not None else "none"


def _check_users(users: Sequence[PlacedUser]) -> None:
    faults = []
    seen: set[str] = set()
    for place, user in users:
        if user.user_id is None:
            if user.events is None and user.features is None:
                faults.append(Fault(pointer(*place), "expected user_id, events or features, received none of them"))
        elif cells.is_missing(user.user_id):
            detail = "user_id must not be empty or a placeholder such as 'null'"
            faults.append(Fault(pointer(*place, USER_ID), detail))
        elif user.user_id in seen:
            faults.append(Fault(pointer(*place, USER_ID), "expected each user_id once, received it again"))
        else:
            seen.add(user.user_id)
    if faults:
        raise InvalidInput("some users are not valid", faults)
    events = sum(len(user.events or ()) for _, user in users)
    if events > MAX_EVENTS_PER_CALL:
        raise TooLarge(f"expected at most {MAX_EVENTS_PER_CALL} events of all users, received {events}")


def _from_features(
    bundle: Bundle | None, users: Sequence[PlacedUser], as_of_ms: int, explainer: Explainer | None
) -> list[dict[str, Any]]:
    rows = [
        (user.features or {}) | {ATTRIBUTE_PREFIX + name: value for name, value in (user.attributes or {}).items()}
        for _, user in users
    ]
    try:
        return predict.predict_from_features(bundle, columns_of(rows), len(rows), as_of_ms, explainer=explainer)
    except InvalidInput as error:
        raise InvalidInput(error.detail, [_in_body(fault, users) for fault in error.faults]) from None


def _in_body(fault: Fault, users: Sequence[PlacedUser]) -> Fault:
    """The fault at ``/users/<row>/features/<column>``, with the pointer to its place in the body."""
    _, _, row, _, column = fault.pointer.split("/", 4)
    group = "attributes" if column.startswith(ATTRIBUTE_PREFIX) else "features"
    return Fault(pointer(*users[int(row)].place, group, column.removeprefix(ATTRIBUTE_PREFIX)), fault.detail)


def _from_state(
    bundle: Bundle | None, users: Sequence[PlacedUser], as_of_ms: int, explainer: Explainer | None, state: StateStore
) -> list[dict[str, Any]]:
    ids = [user.user_id for _, user in users if user.user_id is not None]
    states = dict(map_parallel(lambda user_id: (user_id, state.read(user_id)), ids, READERS))
    events = concatenate([states[user_id].events for user_id in ids])
    evicted = _stack([states[user_id].evicted for user_id in ids])
    return predict.predict_profiles(bundle, events, as_of_ms, evicted, _attributes(users), explainer)


def _from_events(
    bundle: Bundle | None, users: Sequence[PlacedUser], as_of_ms: int, explainer: Explainer | None
) -> list[dict[str, Any]]:
    rows = [row for _, user in users for row in user.events or ()]
    owners = [n for n, (_, user) in enumerate(users) for _ in user.events or ()]
    user_ids = [f"\0{n}" if user.user_id is None else user.user_id for n, (_, user) in enumerate(users)]

    def fault(row: int, column: str, detail: str) -> Fault:
        place = (*users[owners[row]].place, "events", row - owners.index(owners[row]))
        return Fault(cell_pointer(place, rows[row], column), detail)

    columns = canonical_columns(rows)
    stated = cells.words(columns.get(USER_ID, [None] * len(rows)))
    expected = {n: user.user_id for n, (_, user) in enumerate(users) if user.user_id is not None}
    faults = [
        fault(row, USER_ID, "expected the events of one user, received another user's")
        for row, (owner, user_id) in enumerate(zip(owners, stated, strict=True))
        if user_id is not None and expected.setdefault(owner, user_id) != user_id
    ]
    columns[USER_ID] = [user_ids[owner] for owner in owners]
    parsed = parse_events(columns, len(rows), bundle.encoder.zone if bundle else UTC)
    faults += [fault(*found) for found in parsed.faults]
    if faults:
        raise InvalidInput("some events are not valid", faults)
    events = parsed.events
    user_codes = Vocabulary(user_ids).codes(events.users)[events.user] if len(events) else events.user
    events = replace(events, user=user_codes, users=user_ids)  # users without events too, in the order of the request
    return predict.predict_profiles(bundle, events, as_of_ms, None, _attributes(users), explainer)


def _stack(sums: Sequence[Lifetime | None]) -> Lifetime | None:
    """Lifetime sums of several users as one, (U,) each; `None` where no user has any."""
    if not any(sums):
        return None
    nothing = lifetime(empty_events([""]))
    parts = [one or nothing for one in sums]
    return Lifetime(*(np.concatenate([getattr(one, field.name) for one in parts]) for field in fields(Lifetime)))


def _attributes(users: Sequence[PlacedUser]) -> dict[str, list[Any]] | None:
    return columns_of([user.attributes or {} for _, user in users]) or None


def _warnings(bundle: Bundle | None, users: Sequence[PlacedUser]) -> list[str]:
    if bundle is None:
        return []
    used = {column.name for column in bundle.encoder.columns}
    known = used | features.FEATURES.keys() | features.TEXT_FEATURES.keys()
    unknown = {
        "features": {name for _, user in users for name in user.features or () if name not in known},
        "attributes": {name for _, user in users for name in user.attributes or () if ATTRIBUTE_PREFIX + name not in used},
    }
    return [
        f"ignored {kind} that the model does not use: {', '.join(sorted(names))}" for kind, names in unknown.items() if names
    ]
