"""``POST /v1/recommendations`` and ``POST /v1/rankings``, ``GET /v1/items/{item_id}/similar``: what to show next."""

from __future__ import annotations

from typing import Final

from personalization.api.app import Route
from personalization.api.recommendations.items import items_routes
from personalization.api.recommendations.recommend import MODEL, rank, recommend, similar_items
from personalization.api.recommendations.schemas import RankingsRequest, RecommendationsRequest
from personalization.api.requests import ApiRequest
from personalization.api.services import Services
from personalization.api.tables import table_route
from personalization.core.errors import Fault, InvalidInput
from personalization.core.schema import MAX_ITEMS_PER_ANSWER

_SIMILAR: Final = 20


def routes(services: Services) -> list[Route]:
    return [
        Route("POST", "/v1/recommendations", lambda call: recommend(services, call.parse_body(RecommendationsRequest), call)),
        Route("POST", "/v1/rankings", lambda call: rank(services, call.parse_body(RankingsRequest), call)),
        Route("GET", "/v1/items/{item_id}/similar", lambda call: similar_items(services, call.path_id("item_id"), _k(call))),
        *items_routes(services),
        table_route(services, MODEL),
    ]


def _k(call: ApiRequest) -> int:
    text = call.query("k") or str(_SIMILAR)
    if not text.isdecimal() or not 1 <= int(text) <= MAX_ITEMS_PER_ANSWER:
        detail = f"expected a whole number from 1 to {MAX_ITEMS_PER_ANSWER}, received {text[:40]!r}"
        raise InvalidInput("k is not valid", [Fault("?k", detail)])
    return int(text)
