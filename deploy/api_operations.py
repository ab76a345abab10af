"""What `openapi.yaml` says about each operation besides its schemas: summary, description, errors and examples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field

from personalization.api.ads.response_models import PlanResponse, ScoreResponse
from personalization.api.ads.schemas import PlanRequest, ScoreRequest
from personalization.api.events import EventsRequest
from personalization.api.explain_options import ExplainOptions
from personalization.api.profiles.response_models import ProfilesResponse, SegmentsResponse
from personalization.api.profiles.schemas import ProfilesRequest
from personalization.api.recommendations.items import ItemsRequest
from personalization.api.recommendations.response_models import (
    ItemsResponse,
    RankingsResponse,
    RecommendationsResponse,
    SimilarItemsResponse,
)
from personalization.api.recommendations.schemas import RankingsRequest, RecommendationsRequest
from personalization.api.requests import RequestBody, Timestamp
from personalization.api.response_models import (
    ErasureResponse,
    EventsResponse,
    HealthResponse,
    ModelsResponse,
    ResponseEnvelope,
    TableResponse,
    UserResponse,
)
from personalization.api.tables import TableRequest
from personalization.core.schema import JOBS, MAX_ITEMS_PER_ANSWER, TABLE_SUFFIX

Tag = Literal["profiles", "recommendations", "ads", "tables", "users", "operations"]


class ProfileQuery(ExplainOptions):
    """Query parameters of ``GET /v1/profiles/{user_id}``."""

    as_of: Annotated[Timestamp | None, Field(description="later events are ignored; now where it is missing")] = None


class SimilarItemsQuery(BaseModel):
    """Query parameters of ``GET /v1/items/{item_id}/similar``."""

    k: Annotated[int, Field(ge=1, le=MAX_ITEMS_PER_ANSWER)] = 20


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    returns    description of the successful response
    errors     statuses besides those of every operation, and of every one with a body
    examples   bodies by name, besides that of the file in `events/`: a summary and the body
    """

    id: str
    tag: Tag
    summary: str
    response: type[ResponseEnvelope]
    returns: str
    description: str = ""
    body: type[RequestBody] | None = None
    query: type[BaseModel] | None = None
    errors: tuple[int, ...] = ()
    needs_key: bool = True
    examples: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    response_example: dict[str, Any] | None = None


def _table(job: str) -> Operation:
    return Operation(
        f"score{job.capitalize()}Table",
        "tables",
        "A probability for each row of a flat feature table",
        TableResponse,
        "One result for each row, in order",
        "Columns that the model does not use are ignored and named in `warnings`. An empty or missing cell counts as missing. "
        "A cell that does not match the type of its column is a 400 with a pointer to it.",
        body=TableRequest,
        errors=(503,),
    )


_FEATURES: Final = {"recency_days": 3, "orders": 4, "monetary": 120.5, "preferred_category": "kitchen"}
_SEGMENTS: Final[dict[str, Any]] = {
    "request_id": "3c1f5f0e-7d0a-4b52-9d2e-6f1f6a0c0023",
    "model": None,
    "variant": None,
    "degraded": False,
    "generated_at": "2026-11-24T07:00:00.000Z",
    "made_at": "2026-11-24T05:12:31.000Z",
    "of_model": {"name": "profiles", "version": "20261120T030000Z-1a2b3c4d"},
    "of_file": "orders/november.csv",
    "as_of": "2026-11-23T22:59:10.000Z",
    "users": 2500,
    "mean_probability": 0.412,
    "mean_churn_risk": 0.188,
    "mean_expected_spend": 31.4,
    "coverage": 0.964,
    "diversity": 5.2,
    "segments": [
        {
            "name": "About to lapse",
            "size": 310,
            "share": 0.124,
            "mean_probability": 0.093,
            "mean_churn_risk": 0.57,
            "mean_expected_spend": 6.2,
            "rule": "a purchase within the last 90 days, and a churn risk of at least 0.412",
            "action": "win back",
            "evidence": "They bought lately enough to be reached, and are far likelier than usual to stay away: 9.3% are "
            "expected to buy within 14 days (all users: 41.2%), 57.0% to stay away for 90 (18.8%), to spend 6.20 each (31.40).",
            "export": "results/profiles/orders/november.csv/0123456789abcdef-20261120T030000Z-1a2b3c4d/"
            "segment-about-to-lapse.jsonl",
        }
    ],
    "rfm": {
        "coverage": 0.964,
        "diversity": 7.9,
        "segments": [
            {
                "name": "Champions",
                "size": 388,
                "share": 0.1552,
                "mean_probability": 0.871,
                "mean_churn_risk": 0.012,
                "mean_expected_spend": 96.3,
            }
        ],
    },
}

OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("POST", "/v1/profiles"): Operation(
        "describeUsers",
        "profiles",
        "Profiles of up to 100 users",
        ProfilesResponse,
        "One profile for each user, in order",
        "A user is described by `events` or by ready `features`, else by the stored state. A single user's fields may be at "
        "the top instead of `users`. At most 5,000 events of all users. Without a model the response is degraded and holds "
        "what the events alone show. Where state does not respond, a user who has to be read from it is a 503. With "
        "`personalization: off` state is not read. A request with several users is served by the champion model.",
        body=ProfilesRequest,
        errors=(503,),
        examples={
            "features": ("One user, described by ready features", {"user_id": "u-1042", "features": _FEATURES}),
            "explained": (
                "The same, with what raises and what lowers the probability",
                {"user_id": "u-1042", "features": _FEATURES, "explain": True, "explain_budget_ms": 500},
            ),
            "several": (
                "Several users at once, one of them read from state",
                {
                    "users": [
                        {"user_id": "u-1042"},
                        {"events": [{"item_id": "mug", "event_type": "add_to_cart", "timestamp": 1795165440}]},
                    ],
                    "as_of": "2026-11-24T07:00:00Z",
                },
            ),
        },
    ),
    ("GET", "/v1/profiles/{user_id}"): Operation(
        "describeUser",
        "profiles",
        "The profile of a user, from state",
        ProfilesResponse,
        "The profile",
        query=ProfileQuery,
        errors=(400, 404, 503),
    ),
    ("GET", "/v1/segments"): Operation(
        "listSegments",
        "profiles",
        "Segments by predicted behaviour, with an action for each",
        SegmentsResponse,
        "All segments, those without users too",
        "Of the users in the newest processed file of interactions. A user is in the first segment whose rule fits; the "
        "numbers in the rules are quantiles of the training data. `export` is the key of a file in the data bucket with the "
        "ids of a segment's users; it expires with the results of its job. The response holds no user id.",
        errors=(404, 503),
        response_example=_SEGMENTS,
    ),
    ("POST", "/v1/recommendations"): Operation(
        "recommend",
        "recommendations",
        "Items to show next",
        RecommendationsResponse,
        "Different items, best first",
        "For a `history` of item ids, else for the stored history of `user_id`, else for a new user (`personalized: false`). "
        "The steps are always the same: eligibility (filters) → score → places of new items → relevance cut → one variant of "
        "each parent → diversity → promotion → k. Filters come before the cut, so a filtered list is full; a list is never "
        "padded and may be short. Items newer than the training can take up to four tenths of a `personal` list, from its "
        "end: there they follow items of a lower `score`. Scenarios: `personal`; `similar` to `item_id`; `bought_together` "
        "with `item_id`, else with the cart, else with the newest basket; `buy_again`; `trending`. Price and stock are read "
        "from the catalogue, whose version is in the response. Without a model the response is degraded and has no items; "
        "where state does not respond it is degraded and suits a new user.",
        body=RecommendationsRequest,
        examples={
            "user": ("For a stored user", {"user_id": "u-1042", "k": 5}),
            "options": (
                "Filters, a promotion, diversity, the page and an explanation",
                {
                    "user_id": "u-1042",
                    "k": 10,
                    "filters": {"category": ["kitchen"], "price_max": 50, "in_stock": True, "not_purchased": True},
                    "promote": {"filters": {"brand": ["Acme"]}, "share": 0.2},
                    "diversity": 0.3,
                    "min_relevance": 0.01,
                    "context": {"item_id": "teapot", "cart": ["mug"]},
                    "explain": True,
                },
            ),
        },
    ),
    ("POST", "/v1/rankings"): Operation(
        "rank",
        "recommendations",
        "Given items in the best order for a user",
        RankingsResponse,
        "The items, best first",
        "All items are in the response, each once. Unknown ones come last, in their order, with `score: null`. Without a model "
        "the response is degraded and keeps the order.",
        body=RankingsRequest,
    ),
    ("GET", "/v1/items/{item_id}/similar"): Operation(
        "similarItems",
        "recommendations",
        "Items similar to an item",
        SimilarItemsResponse,
        "Different items, the most similar first",
        query=SimilarItemsQuery,
        errors=(400, 404),
    ),
    ("PUT", "/v1/items"): Operation(
        "putItems",
        "recommendations",
        "New items, new prices, removed items",
        ItemsResponse,
        "The catalogue holds the change",
        "Takes effect within a minute, without a new model: the vector of a new item is computed from its columns. A column "
        "that a row lacks keeps its value; null removes it. The whole request counts, or nothing of it. A file of items "
        "dropped under `inbox/recommendations/` does the same.",
        body=ItemsRequest,
        errors=(503,),
    ),
    ("POST", "/v1/ads/score"): Operation(
        "scoreAds",
        "ads",
        "Which ad wins which slot, at what price, and why the others lose",
        ScoreResponse,
        "A winner for each slot, or none, and a reason for each loser",
        "Candidates are rows of the ads table in the body, else the ads of the file that was dropped last under `inbox/ads/` "
        "(all of them, or those of `campaigns`). The user is described by `events` or ready `features`, else read from state. "
        "Paid ads are ranked by the expected value of an impression (bid or value times the model's rates), own ads by their "
        "effect (`basis: uplift`) or, for a model trained without withheld impressions, by the response. Where no ad states "
        "money the rate itself ranks (`basis: predicted_rate`).\n\n"
        "An ad of a campaign with a `budget` is charged at the decision when it is billed by impressions (`cpm`); a click or a "
        "conversion is reserved, and charged when an event of `POST /v1/events` returns the winner's `impression_id` as its "
        "`decision_id`. An impression counts for `frequency_cap` (of a known user or session, within seven days) at the "
        "decision. Campaigns keep to their spending plan by `pacing`.\n\n"
        "A repeated `Idempotency-Key` returns the recorded decision, and nothing is counted twice. Without a model the "
        "response is degraded and has no winners; where state does not respond it is degraded, suits a new user, and ads "
        "that would be counted take no part.",
        body=ScoreRequest,
        errors=(409,),
        examples={
            "simple": (
                "Rates of some ads; the highest wins",
                {
                    "user_id": "u-1042",
                    "candidates": [{"ad_id": "ad-1", "category": "kitchen"}, {"ad_id": "ad-2", "category": "garden"}],
                },
            ),
            "auction": (
                "Two slots, two campaigns, one with a budget",
                {
                    "user_id": "u-1042",
                    "channel": "app",
                    "slots": [
                        {"slot_id": "top", "placement": "home", "position": 1},
                        {"slot_id": "side", "placement": "home", "position": 2, "floor": 0.5},
                    ],
                    "candidates": [
                        {
                            "ad_id": "ad-1",
                            "campaign_id": "c-1",
                            "category": "kitchen",
                            "bid": 0.4,
                            "billing": "cpc",
                            "budget": 50,
                        },
                        {
                            "ad_id": "ad-2",
                            "campaign_id": "c-2",
                            "category": "garden",
                            "bid": 3,
                            "billing": "cpm",
                            "frequency_cap": 3,
                        },
                    ],
                    "exploration": {"mode": "epsilon", "epsilon": 0.1},
                    "explain": True,
                },
            ),
            "own": (
                "The shop's own coupons, from the dropped ads",
                {"user_id": "u-1042", "campaigns": ["autumn"], "objective": "own", "exploration": {"mode": "thompson"}},
            ),
        },
    ),
    ("POST", "/v1/ads/plan"): Operation(
        "planAd",
        "ads",
        "When, where and with which creative to send an ad",
        PlanResponse,
        "The best cells, best first",
        "Expected value over hours × channels × creatives, for one user or for several who represent a segment: the best "
        "cells, each with its gain over the mean of the grid, the gains of its hour, channel and creative alone, and the "
        "number of training impressions there. At most 5,000 cells, and 50,000 cells times users. Nothing is counted.",
        body=PlanRequest,
        errors=(404, 503),
        examples={
            "segment": (
                "An ad of the catalogue for a segment",
                {
                    "users": ["u-1042", "u-7", "u-31"],
                    "ad_id": "ad-1",
                    "objective": "paid",
                    "starts_at": "2026-11-25T06:00:00Z",
                    "k": 3,
                },
            ),
        },
    ),
    **{("POST", f"/v1/tables/{job}{TABLE_SUFFIX}"): _table(job) for job in JOBS},
    ("POST", "/v1/events"): Operation(
        "appendEvents",
        "users",
        "What users just did",
        EventsResponse,
        "How many were new",
        "Stored one by one, and visible to the next request. One invalid row, and none is stored. An event is identified by "
        "its `event_id`, else by its content (exact copies within one request are different events), so a request may be "
        "repeated: stored events count as duplicates. An event without `user_id` is stored under its `session_id`.",
        body=EventsRequest,
        errors=(503,),
    ),
    ("GET", "/v1/users/{user_id}"): Operation(
        "getUser",
        "users",
        "Everything that is stored about a user",
        UserResponse,
        "Events, sums over older ones, and each stored item with its expiry",
        errors=(400, 404, 503),
    ),
    ("DELETE", "/v1/users/{user_id}"): Operation(
        "eraseUser",
        "users",
        "Erase a user",
        ErasureResponse,
        "The receipt",
        "State is erased at once; the receipt lists the copies that a request cannot reach, and when the last of each "
        "expires. May be repeated. Events sent, or files dropped, afterwards are stored again.",
        errors=(400, 503),
    ),
    ("GET", "/v1/models"): Operation(
        "listModels", "operations", "The published version of each model", ModelsResponse, "One entry for each model name"
    ),
    ("GET", "/v1/health"): Operation(
        "health",
        "operations",
        "Whether the models' pointers can be read; needs no key",
        HealthResponse,
        "State of each model's pointer",
        needs_key=False,
    ),
}
