"""Responses of the routes for recommendations, rankings and similar items: catalog, history, scores, list, reasons."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from personalization.api.recommendations.schemas import BaseRequest, RankingsRequest, RecommendationsRequest
from personalization.api.recommendations.user_history import UserHistory, load_history
from personalization.api.requests import ApiRequest
from personalization.api.responses import ApiResponse
from personalization.api.services import Services
from personalization.core.errors import BundleInvalid, Fault, InvalidInput, NotFound
from personalization.recommendations.explain import explain_items
from personalization.recommendations.history import InteractionHistory, from_items
from personalization.recommendations.ranking import RankedItems, RankingOptions, rank_given, rank_items
from personalization.recommendations.reasons import reasons
from personalization.recommendations.recommender import RECENT
from personalization.recommendations.scenarios import (
    ScenarioScores,
    bought_together,
    buy_again,
    personal,
    popular_items,
    similar,
)
from personalization.recommendations.serving_catalog import ServingCatalog, serving_catalog

MODEL = "recommendations"


def recommend(services: Services, request: RecommendationsRequest, call: ApiRequest) -> ApiResponse:
    """A list for a user; empty and degraded without a model. Raises `InvalidInput` for an unknown seed item."""
    served = services.model(MODEL, request.user_id)
    if served.bundle is None:
        return ApiResponse({"recommendation_id": call.request_id, "items": []}, served)
    options = request.options(served.bundle.encoder.zone)
    catalog = serving_catalog(served.bundle, services.catalog.get())
    user = load_history(services, catalog, request, call.now_ms)
    scores = _scores(catalog, user.history, request)
    ranked = rank_items(catalog, scores, options)
    items = _items(catalog, scores, ranked, user, request)
    content = {
        "recommendation_id": call.request_id,
        "scenario": scores.scenario,
        "personalized": scores.personalized,
        "catalogue": _catalog_version(catalog),
        "items": items,
    }
    warnings = user.warnings + _warnings(catalog, options, ranked)
    return ApiResponse(content, served, warnings, (user.degraded_reason, _catalog_failure(services)))


def rank(services: Services, request: RankingsRequest, call: ApiRequest) -> ApiResponse:
    """The items of the request in the order for a user; those that are not in the catalog come last, in their order."""
    items = list(dict.fromkeys(request.items))
    served = services.model(MODEL, request.user_id)
    if served.bundle is None:
        return ApiResponse({"recommendation_id": call.request_id, "items": _unscored(items, 0)}, served)
    catalog = serving_catalog(served.bundle, services.catalog.get())
    user = load_history(services, catalog, request, call.now_ms)
    codes, unknown = catalog.lookup(items)
    scores = personal(catalog, user.history, request.context.category)
    ranked = rank_given(catalog, scores, np.array(codes, np.int64))
    content = {
        "recommendation_id": call.request_id,
        "personalized": scores.personalized,
        "catalogue": _catalog_version(catalog),
        "items": _items(catalog, scores, ranked, user, request) + _unscored(unknown, len(codes)),
    }
    warnings = list(user.warnings)
    if len(items) < len(request.items):
        warnings.append(f"{len(request.items) - len(items)} items were given more than once")
    if unknown:
        warnings.append(f"{len(unknown)} items are not known and come last, in their order")
    return ApiResponse(content, served, warnings, (user.degraded_reason, _catalog_failure(services)))


def similar_items(services: Services, item_id: str, k: int) -> ApiResponse:
    """Items like one item. Raises `NotFound` where it is not in the catalog."""
    served = services.model(MODEL)
    if served.bundle is None:
        return ApiResponse({"item_id": item_id, "items": []}, served)
    catalog = serving_catalog(served.bundle, services.catalog.get())
    if item_id not in catalog.code_of_item:
        raise NotFound("no item of this id is known")
    user = UserHistory(from_items([[]], catalog.recommender.pace, 1), timed=False)
    scores = similar(catalog, user.history, catalog.code_of_item[item_id])
    ranked = rank_items(catalog, scores, RankingOptions(k))
    content = {
        "item_id": item_id,
        "catalogue": _catalog_version(catalog),
        "items": _items(catalog, scores, ranked, user),
    }
    return ApiResponse(content, served, failures=[_catalog_failure(services)])


def _scores(catalog: ServingCatalog, history: InteractionHistory, request: RecommendationsRequest) -> ScenarioScores:
    if request.scenario == "trending":
        return popular_items(catalog, history, RECENT, request.context.category)
    if request.scenario == "buy_again":
        return buy_again(catalog, history)
    if request.scenario == "personal":
        return personal(catalog, history, request.context.category)
    seed = request.item_id or request.context.item_id
    codes, unknown = catalog.lookup([seed] if seed else request.context.cart)
    if unknown and seed:
        pointer = "/item_id" if request.item_id else "/context/item_id"
        raise InvalidInput("item_id is not known", [Fault(pointer, "expected an item of the model or the item catalog")])
    if request.scenario == "similar":
        return similar(catalog, history, codes[0])
    newest_basket: NDArray[np.int32] = np.unique(history.item[history.basket == 0])
    return bought_together(catalog, history, codes or newest_basket.tolist())


def _items(
    catalog: ServingCatalog,
    scores: ScenarioScores,
    ranked: RankedItems,
    user: UserHistory,
    request: BaseRequest | None = None,
) -> list[dict[str, Any]]:
    if not np.isfinite(ranked.scores).all():
        raise BundleInvalid("expected finite scores, the model returned NaN or infinity")
    columns = (
        ranked.codes.tolist(), ranked.scores.tolist(), ranked.relevance.tolist(),
        reasons(catalog, scores, ranked.codes, timed=user.timed), catalog.attributes.metadata(ranked.codes),
    )  # fmt: skip
    items = [
        {
            "item_id": catalog.items[code],
            "rank": place,
            "score": round(score, 6),
            "relevance": round(relevance, 6),
            "reason": reason,
            "metadata": metadata,
        }
        for place, (code, score, relevance, reason, metadata) in enumerate(zip(*columns, strict=True), 1)
    ]
    if request is not None and request.explain and items:
        explained = explain_items(catalog, scores, ranked.codes, budget_seconds=request.explain_budget_ms / 1000)
        for item, explanation in zip(items, explained.to_json(catalog), strict=True):
            item["explanation"] = explanation
    return items


def _unscored(items: list[str], before: int) -> list[dict[str, Any]]:
    return [{"item_id": item, "rank": before + place, "score": None} for place, item in enumerate(items, 1)]


def _warnings(catalog: ServingCatalog, options: RankingOptions, ranked: RankedItems) -> list[str]:
    filters, attributes = options.filters, catalog.attributes
    missing = {
        "category": filters.category is not None and "category" not in attributes.words,
        "brand": filters.brand is not None and "brand" not in attributes.words,
        "price": (filters.price_min, filters.price_max) != (None, None) and not len(attributes.price),
        "created_at": filters.created_after is not None and not len(attributes.created_at),
    }
    warnings = [f"filters: no item has a {name}" for name, is_missing in missing.items() if is_missing]
    if len(ranked.codes) < options.k:
        warnings.append(f"{len(ranked.codes)} items instead of {options.k}: {ranked.eligible} are eligible")
    return warnings


def _catalog_version(catalog: ServingCatalog) -> dict[str, str] | None:
    return {"version": catalog.version} if catalog.version else None


def _catalog_failure(services: Services) -> str:
    failure = services.catalog.failure
    return f"the item catalog could not be refreshed: {failure}" if failure else ""
