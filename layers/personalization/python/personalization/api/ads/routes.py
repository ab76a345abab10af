"""``POST /v1/ads/score`` and ``POST /v1/ads/plan``: which ad wins which slot, and when an ad is best sent."""

from __future__ import annotations

from personalization.api.ads import plan as plans
from personalization.api.ads import score as scores
from personalization.api.ads.schemas import PlanRequest, ScoreRequest
from personalization.api.ads.score import AdStores, ScoredAds
from personalization.api.app import Route
from personalization.api.requests import ApiRequest, timestamp_ms
from personalization.api.responses import ApiResponse
from personalization.api.services import ServedModel, Services
from personalization.api.tables import table_route

NAME = "ads"


def routes(services: Services) -> list[Route]:
    house = AdStores.of(services)

    def score(call: ApiRequest) -> ApiResponse:
        request = call.parse_body(ScoreRequest)
        moment = timestamp_ms(request.as_of, call.now_ms)
        served = services.model(NAME, request.user_id)
        if served.bundle is None:
            return ApiResponse(scores.without_model(request, call.request_id), served)
        repeatable = call.has_idempotency_key
        scored = scores.score(request, served.bundle, call.request_id, moment, house, repeatable=repeatable)
        services.monitor.log_decision(scored.content)
        return _answered(scored, served)

    def plan(call: ApiRequest) -> ApiResponse:
        request = call.parse_body(PlanRequest)
        # Segments are answered by the champion: a share of one would compare users that two models speak of.
        served = services.model(NAME, request.user_id)
        return _answered(plans.plan(request, served.required(), call.now_ms, house), served)

    return [Route("POST", "/v1/ads/score", score), Route("POST", "/v1/ads/plan", plan), table_route(services, NAME)]


def _answered(scored: ScoredAds, served: ServedModel) -> ApiResponse:
    return ApiResponse(scored.content, served, scored.warnings, (scored.degraded_reason,))
