"""Profiles for the users of one request: some told by events, some by ready features, some read from state."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from itertools import accumulate
from typing import Any, Final, NamedTuple

import numpy as np

from personalization import features
from personalization.api.json_rows import Row, as_sent, canonical_columns, columns_of
from personalization.api.problems import pointer
from personalization.bundles.bundle import Bundle
from personalization.core import cells
from personalization.core.categorical import Vocabulary
from personalization.core.errors import Fault, InvalidInput, TooLarge
from personalization.core.events import Events, concatenate
from personalization.core.parallel import map_parallel
from personalization.core.schema import MAX_EVENTS_PER_CALL, USER_ID
from personalization.core.time import MISSING_TIME
from personalization.data.interactions import parse_events
from personalization.features import Lifetime
from personalization.profiles import predict
from personalization.state import UserState
from personalization.tabular.explanation import Explainer

READERS: Final = 8
Read = Callable[[str], UserState]


class ProfileInput(NamedTuple):
    """One user of a request; `place` leads to it in the body."""

    place: tuple[str | int, ...]
    user_id: str | None
    events: list[Row] | None
    features: Row | None
    attributes: Row | None


@dataclass(frozen=True, slots=True)
class _Question:
    bundle: Bundle | None
    as_of_ms: int
    explainer: Explainer | None


def describe_all(
    bundle: Bundle | None, asked: Sequence[ProfileInput], as_of_ms: int, read: Read | None, explainer: Explainer | None = None
) -> tuple[list[dict[str, Any]], list[str]]:
    """A profile for each user, in order, and warnings.

    read   state of a user who is told by nothing; where it is `None`, such a user is answered as one without a history
    explainer   where each profile is to be explained

    Raises `InvalidInput` with pointers, `TooLarge`, and `StateUnavailable`: a profile of somebody known that pretends to
    know nothing would be worse than none.
    """
    _check_users(asked)
    groups: dict[str, list[int]] = {"features": [], "events": [], "state": [], "none": []}
    for n, user in enumerate(asked):
        told = "features" if user.features is not None else "events" if user.events is not None else ""
        groups[told or ("state" if read and user.user_id is not None else "none")].append(n)
    question = _Question(bundle, as_of_ms, explainer)
    answered: list[dict[str, Any]] = [{}] * len(asked)
    for source, members in groups.items():
        if members:
            users = [asked[n] for n in members]
            match source:
                case "features":
                    found = _by_features(question, users)
                case "state":
                    assert read is not None
                    found = _by_state(question, users, read)
                case _:
                    found = _by_events(question, users)
            for n, profile in zip(members, found, strict=True):
                profile.pop(USER_ID, None)
                named = {} if asked[n].user_id is None else {USER_ID: asked[n].user_id}
                answered[n] = named | profile | {"source": source}
    return answered, _warnings(bundle, asked)


def _check_users(asked: Sequence[ProfileInput]) -> None:
    faults = []
    seen: set[str] = set()
    for user in asked:
        if user.user_id is None:
            if user.events is None and user.features is None:
                faults.append(Fault(pointer(*user.place), "expected user_id, events or features, received none of them"))
        elif cells.is_missing(user.user_id):
            faults.append(Fault(pointer(*user.place, USER_ID), "expected an id, received a word for nothing"))
        elif user.user_id in seen:
            faults.append(Fault(pointer(*user.place, USER_ID), "expected each user once, received one again"))
        else:
            seen.add(user.user_id)
    if faults:
        raise InvalidInput("some users are not what this route takes", faults)
    events = sum(len(user.events or ()) for user in asked)
    if events > MAX_EVENTS_PER_CALL:
        raise TooLarge(f"expected at most {MAX_EVENTS_PER_CALL} events in all, received {events}")


def _by_features(question: _Question, users: Sequence[ProfileInput]) -> list[dict[str, Any]]:
    prefix = predict.ATTRIBUTE_PREFIX
    rows = [(user.features or {}) | {prefix + name: value for name, value in (user.attributes or {}).items()} for user in users]
    try:
        return predict.describe_features(
            question.bundle, columns_of(rows), len(rows), question.as_of_ms, explainer=question.explainer
        )
    except InvalidInput as error:
        raise InvalidInput(error.detail, [_placed(fault, users) for fault in error.faults]) from None


def _placed(fault: Fault, users: Sequence[ProfileInput]) -> Fault:
    """The fault of ``/users/<row>/features/<column>`` at its place in the body."""
    _, _, row, _, column = fault.pointer.split("/", 4)
    group, name = "features", column
    if column.startswith(predict.ATTRIBUTE_PREFIX):
        group, name = "attributes", column.removeprefix(predict.ATTRIBUTE_PREFIX)
    return Fault(pointer(*users[int(row)].place, group, name), fault.detail)


def _by_state(question: _Question, users: Sequence[ProfileInput], read: Read) -> list[dict[str, Any]]:
    ids = [user.user_id for user in users if user.user_id is not None]
    states = dict(map_parallel(lambda user_id: (user_id, read(user_id)), ids, READERS))
    known = [states[user_id] for user_id in ids]
    evicted = _stacked([state.evicted for state in known])
    events = concatenate([state.events for state in known])
    return predict.describe(question.bundle, events, question.as_of_ms, evicted, _attributes(users), question.explainer)


def _by_events(question: _Question, users: Sequence[ProfileInput]) -> list[dict[str, Any]]:
    zone = question.bundle.encoder.zone if question.bundle else UTC
    names = [f"\0{n}" if user.user_id is None else user.user_id for n, user in enumerate(users)]
    rows = [row for user in users for row in user.events or ()]
    ends = list(accumulate(len(user.events or ()) for user in users))

    def at(row: int, column: str) -> str:
        """Where in the body a cell stands."""
        user = users[bisect_right(ends, row)]
        first = ends[bisect_right(ends, row)] - len(user.events or ())
        return pointer(*user.place, "events", row - first, *([as_sent(rows[row], column)] if column else []))

    columns = canonical_columns(rows)
    owners = columns.pop(USER_ID, None)
    columns[USER_ID] = [name for user, name in zip(users, names, strict=True) for _ in user.events or ()]
    faults = []
    if owners is not None:
        faults = [
            Fault(at(row, USER_ID), "expected the events of one user, received another's")
            for row in _of_others(owners, users, ends)
        ]
    parsed = parse_events(columns, len(rows), zone)
    faults += [Fault(at(row, column), reason) for row, column, reason in parsed.faults]
    if faults:
        raise InvalidInput("some events are not valid", faults)
    known = _with_users(parsed.events, names)
    return predict.describe(question.bundle, known, question.as_of_ms, None, _attributes(users), question.explainer)


def _of_others(owners: Sequence[Any], users: Sequence[ProfileInput], ends: Sequence[int]) -> list[int]:
    """Rows that state a user other than the one they stand under; one without a name is whom the first row names."""
    found = []
    words = cells.words(owners)
    for user, end in zip(users, ends, strict=True):
        own = range(end - len(user.events or ()), end)
        name = user.user_id or next((words[row] for row in own if words[row]), None)
        found += [row for row in own if words[row] not in (None, name)]
    return found


def _with_users(events: Events, names: list[str]) -> Events:
    """The same events, where these are the users, also those who have none."""
    codes = Vocabulary(names).codes(events.users)
    return replace(events, user=codes[events.user] if len(events) else events.user, users=names)


def _stacked(sums: Sequence[Lifetime | None]) -> Lifetime | None:
    """Sums of several users, (U,) each."""
    if not any(sums):
        return None
    nothing = Lifetime(np.zeros(1), np.zeros(1), np.zeros(1), np.array([MISSING_TIME]), np.array([MISSING_TIME]))
    known = [one or nothing for one in sums]
    return Lifetime(
        np.concatenate([one.events for one in known]),
        np.concatenate([one.purchases for one in known]),
        np.concatenate([one.value for one in known]),
        np.concatenate([one.first for one in known]),
        np.concatenate([one.last for one in known]),
    )


def _attributes(users: Sequence[ProfileInput]) -> dict[str, list[Any]] | None:
    return columns_of([user.attributes or {} for user in users]) or None


def _warnings(bundle: Bundle | None, asked: Sequence[ProfileInput]) -> list[str]:
    if bundle is None:
        return []
    prefix = predict.ATTRIBUTE_PREFIX
    expected = {column.name for column in bundle.encoder.columns}
    known = expected | features.FEATURES.keys() | features.TEXT_FEATURES.keys()
    sent = {name for user in asked for name in user.features or ()}
    told = {name for user in asked for name in user.attributes or ()}
    return [
        f"{what} that the model does not know: {', '.join(sorted(names))}"
        for what, names in (
            ("features", sent - known),
            ("attributes", {name for name in told if prefix + name not in expected}),
        )
        if names
    ]
