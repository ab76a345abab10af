"""``POST /v1/ads/score`` and ``POST /v1/ads/plan``: which ad wins which slot, and when an ad is best sent."""

from __future__ import annotations

from personalization.api.ads.plan import plan
from personalization.api.ads.schemas import PlanRequest, ScoreRequest
from personalization.api.ads.score import ScoredAds, score, without_model
from personalization.api.ads.stores import AdStores
from personalization.api.app import Route
from personalization.api.requests import ApiRequest, timestamp_ms
from personalization.api.responses import ApiResponse
from personalization.api.services import ServedModel, Services
from personalization.api.tables import table_route

NAME = "ads"


def routes(services: Services) -> list[Route]:
    """The routes of the ads function."""
    stores = AdStores.of(services)

    def score_ads(request: ApiRequest) -> ApiResponse:
        body = request.parse_body(ScoreRequest)
        as_of = timestamp_ms(body.as_of, request.now_ms)
        served = services.model(NAME, body.user_id)
        if served.bundle is None:
            return ApiResponse(without_model(body, request.request_id), served)
        repeatable = request.has_idempotency_key
        scored = score(body, served.bundle, request.request_id, as_of, stores, repeatable=repeatable)
        services.monitor.log_decision(scored.content)
        return _response(scored, served)

    def plan_ad(request: ApiRequest) -> ApiResponse:
        body = request.parse_body(PlanRequest)
        # A segment has no user id, so the champion answers: users of two models could not be compared.
        served = services.model(NAME, body.user_id)
        return _response(plan(body, served.required(), request.now_ms, stores), served)

    return [
        Route("POST", "/v1/ads/score", score_ads),
        Route("POST", "/v1/ads/plan", plan_ad),
        table_route(services, NAME),
    ]


def _response(scored: ScoredAds, served: ServedModel) -> ApiResponse:
    return ApiResponse(scored.content, served, scored.warnings, (scored.degraded_reason,))
