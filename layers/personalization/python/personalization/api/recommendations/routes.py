"""``POST /v1/recommendations`` and ``POST /v1/rankings``, ``GET /v1/items/{item_id}/similar``: what to show next."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.api.app import Route
from personalization.api.recommendations.items import items_routes
from personalization.api.recommendations.schemas import BaseRequest, RankingsRequest, RecommendationsRequest
from personalization.api.recommendations.user_history import UserHistory, load_history
from personalization.api.requests import ApiRequest
from personalization.api.responses import ApiResponse
from personalization.api.services import ServedModel, Services
from personalization.api.tables import table_route
from personalization.core.errors import BundleInvalid, Fault, InvalidInput, NotFound
from personalization.core.schema import MAX_ITEMS_PER_ANSWER
from personalization.recommendations import from_items
from personalization.recommendations import serving_catalog as joining
from personalization.recommendations.explain import Explanations, explain_items
from personalization.recommendations.ranking import Ranked, RankingOptions, rank_items
from personalization.recommendations.reasons import reasons
from personalization.recommendations.scenarios import RECENT, ItemScores, bought_together, buy_again, demand, personal, similar
from personalization.recommendations.serving_catalog import ServingCatalog

NAME: Final = "recommendations"
_SIMILAR: Final = 20


def routes(services: Services) -> list[Route]:
    def recommend(call: ApiRequest) -> ApiResponse:
        request = call.parse_body(RecommendationsRequest)
        served = services.model(NAME, request.user_id)
        if served.bundle is None:
            return ApiResponse({"recommendation_id": call.request_id, "items": []}, served)
        wishes = request.wishes(served.bundle.encoder.zone)
        here, failure = _assortment(services, served)
        shopper = load_history(services, here, request, call.now_ms)
        scoring = _scoring(here, shopper, request)
        listed = rank_items(here, scoring, wishes)
        items = _items(here, scoring, listed, shopper)
        _explain(items, here, scoring, listed.codes, request)
        warnings = shopper.warnings + _warnings(here, wishes, listed)
        content = {
            "recommendation_id": call.request_id,
            "scenario": scoring.scenario,
            "personalized": scoring.personalized,
            "catalogue": _catalogue(here),
            "items": items,
        }
        return ApiResponse(content, served, warnings, (shopper.degraded_reason, failure))

    def rank(call: ApiRequest) -> ApiResponse:
        request = call.parse_body(RankingsRequest)
        asked = list(dict.fromkeys(request.items))
        served = services.model(NAME, request.user_id)
        if served.bundle is None:
            items = [{"item_id": item, "rank": n, "score": None} for n, item in enumerate(asked, 1)]
            return ApiResponse({"recommendation_id": call.request_id, "items": items}, served)
        here, failure = _assortment(services, served)
        shopper = load_history(services, here, request, call.now_ms)
        scoring = personal(here, shopper.history, request.context.category)
        codes, unknown = here.codes(asked)
        listed = _in_order(scoring, np.array(codes, np.int64))
        items = _items(here, scoring, listed, shopper)
        _explain(items, here, scoring, listed.codes, request)
        items += [{"item_id": item, "rank": len(items) + n, "score": None} for n, item in enumerate(unknown, 1)]
        warnings = list(shopper.warnings)
        if len(asked) < len(request.items):
            warnings.append(f"{len(request.items) - len(asked)} items were given more than once")
        if unknown:
            warnings.append(f"{len(unknown)} items are not known and come last, in their order")
        content = {
            "recommendation_id": call.request_id,
            "personalized": scoring.personalized,
            "catalogue": _catalogue(here),
            "items": items,
        }
        return ApiResponse(content, served, warnings, (shopper.degraded_reason, failure))

    def alike(call: ApiRequest) -> ApiResponse:
        item_id, k = call.path_id("item_id"), _k(call)
        served = services.model(NAME)
        if served.bundle is None:
            return ApiResponse({"item_id": item_id, "items": []}, served)
        here, failure = _assortment(services, served)
        if item_id not in here.code_of_item:
            raise NotFound("no item of this id is known")
        nobody = UserHistory(from_items([[]], here.recommender.pace, 1), timed=False)
        scoring = similar(here, nobody.history, here.code_of_item[item_id])
        listed = rank_items(here, scoring, RankingOptions(k))
        content = {"item_id": item_id, "catalogue": _catalogue(here), "items": _items(here, scoring, listed, nobody)}
        return ApiResponse(content, served, failures=(failure,))

    return [
        Route("POST", "/v1/recommendations", recommend),
        Route("POST", "/v1/rankings", rank),
        Route("GET", "/v1/items/{item_id}/similar", alike),
        *items_routes(services),
        table_route(services, NAME),
    ]


def _assortment(services: Services, served: ServedModel) -> tuple[ServingCatalog, str]:
    """The items to recommend, and why they are not what they should be."""
    bundle = served.required()
    catalogue = services.catalogue.get()
    failure = services.catalogue.failure
    return joining.serving_catalog(bundle, catalogue), f"the item catalog could not be refreshed: {failure}" if failure else ""


def _scoring(here: ServingCatalog, shopper: UserHistory, request: RecommendationsRequest) -> ItemScores:
    history = shopper.history
    if request.scenario == "trending":
        return demand(here, history, RECENT, category=request.context.category)
    if request.scenario == "buy_again":
        return buy_again(here, history)
    if request.scenario == "personal":
        return personal(here, history, request.context.category)
    asked = request.item_id or request.context.item_id
    codes, unknown = here.codes([asked] if asked else request.context.cart)
    if unknown and asked:
        pointer = "/item_id" if request.item_id else "/context/item_id"
        raise InvalidInput("item_id is not known", [Fault(pointer, "expected an item of the model or the catalogue")])
    if request.scenario == "similar":
        return similar(here, history, codes[0])
    newest = np.unique(history.item[history.basket == 0]).tolist() if len(history.item) else []
    return bought_together(here, history, codes or newest)


def _in_order(scoring: ItemScores, codes: NDArray[np.int64]) -> Ranked:
    order = np.lexsort((codes, -scoring.values[codes], np.isin(codes, scoring.last)))
    codes = codes[order]
    return Ranked(codes, scoring.values[codes], scoring.relevance(codes), len(codes))


def _items(here: ServingCatalog, scoring: ItemScores, listed: Ranked, shopper: UserHistory) -> list[dict[str, Any]]:
    if not np.isfinite(listed.scores).all():
        raise BundleInvalid("the model answered a score that is no number")
    told = reasons(here, scoring, listed.codes, timed=shopper.timed)
    return [
        {
            "item_id": here.items[code],
            "rank": rank,
            "score": round(score, 6),
            "relevance": round(relevance, 6),
            "reason": reason,
            "metadata": here.attributes.described(code),
        }
        for rank, (code, score, relevance, reason) in enumerate(
            zip(listed.codes.tolist(), listed.scores.tolist(), listed.relevance.tolist(), told, strict=True), 1
        )
    ]


def _explain(
    items: list[dict[str, Any]], here: ServingCatalog, scoring: ItemScores, codes: NDArray[np.int64], request: BaseRequest
) -> None:
    if not request.explain or not len(codes):
        return
    found: Explanations = explain_items(here, scoring, codes, budget_seconds=request.explain_budget_ms / 1000)
    for item, explanation in zip(items, found.described(here), strict=True):
        item["explanation"] = explanation


def _warnings(here: ServingCatalog, wishes: RankingOptions, listed: Ranked) -> list[str]:
    warnings = []
    columns = {
        "category": wishes.filters.category is not None and "category" not in here.attributes.words,
        "brand": wishes.filters.brand is not None and "brand" not in here.attributes.words,
        "price": (wishes.filters.price_min, wishes.filters.price_max) != (None, None) and not len(here.attributes.price),
        "created_at": wishes.filters.created_after is not None and not len(here.attributes.created_at),
    }
    warnings += [f"filters: no item has a {name}" for name, missing in columns.items() if missing]
    if len(listed.codes) < wishes.k:
        warnings.append(f"{len(listed.codes)} items instead of {wishes.k}: {listed.eligible} are eligible")
    return warnings


def _catalogue(here: ServingCatalog) -> dict[str, Any] | None:
    return {"version": here.version} if here.version else None


def _k(call: ApiRequest) -> int:
    text = call.query("k") or str(_SIMILAR)
    if not text.isdecimal() or not 1 <= int(text) <= MAX_ITEMS_PER_ANSWER:
        detail = f"expected a whole number from 1 to {MAX_ITEMS_PER_ANSWER}, received {text[:40]!r}"
        raise InvalidInput("k is not valid", [Fault("?k", detail)])
    return int(text)
