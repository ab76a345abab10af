"""Response bodies of recommendations, rankings and the catalogue; see `api.response_models`."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from personalization.api.response_models import Count, Probability, ResponseEnvelope, ResponseModel, omittable

Rank = Annotated[int, Field(ge=1)]


class CatalogueVersion(ResponseModel):
    version: str


Catalogue = Annotated[
    CatalogueVersion | None, Field(description="of items and prices; null: those that the model was trained with")
]


class ItemReason(ResponseModel):
    kind: Literal["because_of", "often_bought_with", "bought_after", "similar_to", "buy_again", "trending", "popular"]
    text: str
    item_id: str = omittable("the item of the history or the request behind the reason")
    every_days: float = omittable("days between purchases of the item")


class ItemMetadata(ResponseModel):
    """From the catalogue."""

    title: str = omittable()
    category: str = omittable()
    brand: str = omittable()
    parent_id: str = omittable()
    price: float = omittable()
    in_stock: bool = omittable()


class ScoreContribution(ResponseModel):
    """Of an item of the history, or of a component without a history."""

    item_id: str = omittable()
    name: str = omittable()
    component: str = omittable()
    value: float
    standard_error: float


class OtherContributions(ResponseModel):
    count: Count
    value: float


class ItemExplanation(ResponseModel):
    """The base, the contributions and the others sum to the score."""

    base: Annotated[float, Field(description="score of an average item")]
    contributions: Annotated[list[ScoreContribution], Field(description="largest first")]
    others: OtherContributions = omittable()
    orders: Annotated[int, Field(description="sampled orders of the history; a larger budget samples more")]


class RankedItem(ResponseModel):
    item_id: str
    rank: Rank
    score: float
    relevance: Annotated[
        Probability,
        Field(
            description="probability that the user takes the item next; for `similar` and `bought_together` the strength of "
            "the relation, for `trending` and new users the item's share of all events"
        ),
    ]
    reason: ItemReason
    metadata: ItemMetadata
    explanation: ItemExplanation = omittable("with `explain`")


class UnrankedItem(ResponseModel):
    """An unknown item, or any item without a model."""

    item_id: str
    rank: Rank
    score: None


class RecommendationsResponse(ResponseEnvelope):
    recommendation_id: UUID
    scenario: str = omittable()
    personalized: bool = omittable("false: the items suit a new user, by popularity alone")
    catalogue: Catalogue = omittable()
    items: list[RankedItem]


class RankingsResponse(ResponseEnvelope):
    recommendation_id: UUID
    personalized: bool = omittable("false: the order suits a new user, by popularity alone")
    catalogue: Catalogue = omittable()
    items: list[RankedItem | UnrankedItem]


class SimilarItemsResponse(ResponseEnvelope):
    item_id: str
    catalogue: Catalogue = omittable()
    items: list[RankedItem]


class ItemsResponse(ResponseEnvelope):
    stored: Annotated[Count, Field(description="different items with a row")]
    removed: Count
    catalogue: Catalogue
