"""``POST /v1/events``: appends events to the state of users and of anonymous sessions.

A click or an order whose `decision_id` is the `impression_id` of an ad is charged to the ad's campaign.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NamedTuple

from pydantic import Field

from personalization.ads.budgets.accounts import Settlement
from personalization.ads.budgets.settlement import find_ad_outcomes, settle_outcomes
from personalization.api.ads.stores import AdStores
from personalization.api.app import Route
from personalization.api.json_rows import Columns, InteractionCells, Row, canonical_columns, cell_pointer
from personalization.api.requests import ApiRequest, RequestBody
from personalization.api.responses import ApiResponse
from personalization.api.services import Services
from personalization.core.cells import is_missing, words
from personalization.core.errors import Fault, InvalidInput
from personalization.core.schema import MAX_EVENTS_PER_CALL, USER_ID
from personalization.data.interactions import ParsedEvents, parse_events
from personalization.state import Kind, partition_key


class EventsRequest(RequestBody):
    """Rows of the interactions table. A row without `user_id` needs a `session_id`."""

    events: Annotated[list[InteractionCells], Field(min_length=1, max_length=MAX_EVENTS_PER_CALL)]


class _OwnedEvents(NamedTuple):
    """The events of users, or of anonymous sessions.

    rows      their places in the request
    columns   their cells; of sessions the `session_id` is the `user_id` too
    """

    kind: Kind
    rows: list[int]
    columns: Columns
    parsed: ParsedEvents


def routes(services: Services) -> list[Route]:
    stores = AdStores.of(services)

    def append_events(request: ApiRequest) -> ApiResponse:
        rows = request.parse_body(EventsRequest).events
        groups = list(_by_owner(rows, request.now_ms))
        faults = [
            Fault(cell_pointer(("events", group.rows[fault.row]), rows[group.rows[fault.row]], fault.column), fault.reason)
            for group in groups
            for fault in group.parsed.faults
        ]
        if faults:
            raise InvalidInput("some events are not valid; none was stored", faults)
        accepted = duplicates = 0
        for kind, _, _, parsed in groups:
            appended = services.state.append_events(parsed.events, parsed.event_ids, parsed.order_ids, kind)
            accepted += appended.accepted
            duplicates += appended.duplicates + len(parsed.duplicates)
        content = {"accepted": accepted, "duplicates": duplicates}
        # Of duplicates too: an interrupted call is repeated, and each outcome is charged once.
        settlements = [one for group in groups for one in _settle(stores, group, request.now_ms)]
        if settlements:
            content["settled"] = sum(not one.unbilled_reason and not one.repeated for one in settlements)
        return ApiResponse(content)

    return [Route("POST", "/v1/events", append_events)]


def _settle(stores: AdStores, group: _OwnedEvents, now_ms: int) -> list[Settlement]:
    """Charges clicks and orders that name an impression to the campaigns of the ads."""
    if stores.budgets is None or "decision_id" not in group.columns:
        return []
    events, impression_ids = group.parsed.events, words(group.columns["decision_id"])
    outcomes = find_ad_outcomes([impression_ids[row] for row in group.parsed.kept.tolist()], events.event_type.tolist())
    partitions = [partition_key(group.kind, events.users[user]) for user in events.user.tolist()]
    return settle_outcomes(outcomes, partitions, now_ms, stores.budgets, stores.exposures)


def _by_owner(rows: list[Row], now_ms: int) -> Iterator[_OwnedEvents]:
    """The events of users, then those of anonymous sessions."""
    columns = canonical_columns(rows)
    missing = [None] * len(rows)
    # An event without `received_at` is received now: a late event was not known at its own timestamp.
    columns["received_at"] = [now_ms if is_missing(cell) else cell for cell in columns.get("received_at", missing)]
    owners = zip(columns.get(USER_ID, missing), columns.get("session_id", missing), strict=True)
    anonymous = [is_missing(user) and not is_missing(session) for user, session in owners]
    kinds: tuple[tuple[Kind, bool], ...] = (("user", False), ("session", True))
    for kind, is_session in kinds:
        places = [row for row, flag in enumerate(anonymous) if flag is is_session]
        if places:
            own = {name: [cells[row] for row in places] for name, cells in columns.items()}
            own |= {USER_ID: own["session_id"]} if is_session else {}
            yield _OwnedEvents(kind, places, own, parse_events(own, len(places)))
