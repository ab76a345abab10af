"""``POST /v1/recommendations``: what to show next to a user, for a history, or to somebody new."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from personalization import recommendations
from personalization.api.answers import Answer
from personalization.api.application import Route
from personalization.api.calls import Body, Call
from personalization.api.services import Services
from personalization.api.tables import table_routes
from personalization.errors import StateUnavailable
from personalization.schema import MAX_EVENTS_PER_CALL, MAX_ID_LENGTH, MAX_ITEMS_PER_ANSWER

NAME = "recommendations"
Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH)]


class RecommendationsRequest(Body):
    """A history counts before a user; without both, what suits somebody new is answered."""

    user_id: Id | None = None
    history: Annotated[list[Id], Field(max_length=MAX_EVENTS_PER_CALL)] | None = None  # item ids, oldest first
    k: Annotated[int, Field(ge=1, le=MAX_ITEMS_PER_ANSWER)] = 20
    personalization: Literal["on", "off"] = "on"


def routes(services: Services) -> list[Route]:
    def recommend(call: Call) -> Answer:
        request = call.body(RecommendationsRequest)
        served = services.model(NAME, request.user_id)
        if served.bundle is None:
            return Answer({"recommendation_id": call.request_id, "items": []}, because=served.because)
        history, because = _history(services, request)
        items = recommendations.recommend(served.bundle, [history], request.k)[0]
        content = {"recommendation_id": call.request_id, "items": items}
        return Answer(content, served.bundle, served.variant, because or served.because)

    return [Route("POST", "/v1/recommendations", recommend), *table_routes(services, NAME)]


def _history(services: Services, request: RecommendationsRequest) -> tuple[list[str], str]:
    """Item ids, oldest first, and why they are not what they should be."""
    if request.history is not None:
        return request.history, ""
    if request.user_id is None or request.personalization == "off":
        return [], ""
    try:
        events = services.users.read(request.user_id).events
    except StateUnavailable as error:
        return [], f"answered as for somebody new: {error.detail}"
    return [events.items[code] for code in events.item.tolist() if code >= 0], ""
