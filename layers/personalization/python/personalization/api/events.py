"""``POST /v1/events``: what shoppers just did, stored one by one and counted from the next question on.

A click or an order whose `decision_id` is the `impression_id` of an ad is charged to the ad's campaign.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

from pydantic import Field

from personalization.ads.budgets import Settlement
from personalization.ads.budgets.settlement import ad_outcomes, settle
from personalization.api.ads.score import AdStores
from personalization.api.app import Route
from personalization.api.json_rows import Columns, Row, as_sent, canonical_columns
from personalization.api.problems import pointer
from personalization.api.requests import Body, Call
from personalization.api.responses import ApiResponse
from personalization.api.services import Services
from personalization.core.cells import is_missing, words
from personalization.core.errors import Fault, InvalidInput
from personalization.core.schema import MAX_EVENTS_PER_CALL, USER_ID
from personalization.data.interactions import ParsedEvents, parse_events
from personalization.state.items import Kind, partition

_KINDS: Final[tuple[tuple[Kind, bool], ...]] = (("user", False), ("session", True))


class EventsRequest(Body):
    """Rows of the interactions table. One without a `user_id` needs a `session_id`, and is kept under that."""

    events: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MAX_EVENTS_PER_CALL)]


def routes(services: Services) -> list[Route]:
    house = AdStores.of(services)

    def append(call: Call) -> ApiResponse:
        sent = call.body(EventsRequest).events
        groups = [(kind, places, parse_events(own, len(places)), own) for kind, places, own in _by_owner(sent, call.now_ms)]
        faults = [
            Fault(pointer("events", places[row], *([as_sent(sent[places[row]], column)] if column else [])), reason)
            for _, places, parsed, _ in groups
            for row, column, reason in parsed.faults
        ]
        if faults:
            raise InvalidInput("some events are not valid; none was stored", faults)
        accepted = duplicates = 0
        for kind, _, parsed, _ in groups:
            appended = services.users.append_events(parsed.events, parsed.event_ids, parsed.order_ids, kind)
            accepted += appended.accepted
            duplicates += appended.duplicates + len(parsed.duplicates)
        content: dict[str, Any] = {"accepted": accepted, "duplicates": duplicates}
        # Of duplicates too: a call is repeated where it broke off, and each outcome is charged once.
        settled = [one for kind, _, parsed, own in groups for one in _settled(house, kind, parsed, own, call.now_ms)]
        if settled:
            content["settled"] = sum(not one.unbilled_reason and not one.repeated for one in settled)
        return ApiResponse(content)

    return [Route("POST", "/v1/events", append)]


def _settled(house: AdStores, kind: Kind, parsed: ParsedEvents, columns: Columns, now_ms: int) -> list[Settlement]:
    """What became of the ads that these events followed from."""
    if house.budgets is None or "decision_id" not in columns:
        return []
    events, cells = parsed.events, words(columns["decision_id"])
    told = ad_outcomes([cells[row] for row in parsed.kept.tolist()], events.event_type.tolist())
    partitions = [partition(kind, events.users[user]) for user in events.user.tolist()]
    return settle(told, partitions, now_ms, house.budgets, house.exposures)


def _by_owner(sent: list[Row], now_ms: int) -> Iterator[tuple[Kind, list[int], Columns]]:
    """Events of users and of nameless sessions apart: their places in the request, and their columns."""
    columns = canonical_columns(sent)
    missing = [None] * len(sent)
    # What does not say when it arrived has arrived now: a late event was not known before.
    columns["received_at"] = [now_ms if is_missing(cell) else cell for cell in columns.get("received_at", missing)]
    users, sessions = columns.get(USER_ID, missing), columns.get("session_id", missing)
    nameless = [is_missing(user) and not is_missing(session) for user, session in zip(users, sessions, strict=True)]
    for kind, of_sessions in _KINDS:
        places = [place for place, found in enumerate(nameless) if found is of_sessions]
        if places:
            own = {name: [cells[place] for place in places] for name, cells in columns.items()}
            yield kind, places, own | {USER_ID: own["session_id"]} if of_sessions else own
