"""Request bodies of recommendations and rankings."""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from personalization.api.requests import Id, RequestBody, Timestamp, timestamp_ms
from personalization.core.schema import (
    MAX_CANDIDATES_PER_CALL,
    MAX_EVENTS_PER_CALL,
    MAX_FILTER_IDS,
    MAX_FILTER_WORDS,
    MAX_ITEMS_PER_ANSWER,
)
from personalization.recommendations.eligibility import Filters
from personalization.recommendations.ranking import Promotion, RankingOptions

Words = Annotated[list[Id], Field(min_length=1, max_length=MAX_FILTER_WORDS)]
Ids = Annotated[list[Id], Field(max_length=MAX_FILTER_IDS)]
Share = Annotated[float, Field(ge=0, le=1)]


class FiltersBody(RequestBody):
    """Items that pass all of these. An item without the attribute does not pass; without a stock flag it is in stock."""

    category: Words | None = None
    brand: Words | None = None
    price_min: Annotated[float, Field(ge=0)] | None = None
    price_max: Annotated[float, Field(ge=0)] | None = None
    in_stock: bool | None = None
    created_after: Annotated[Timestamp | None, Field(description="RFC 3339 or unix time")] = None
    not_purchased: Annotated[bool, Field(description="no item that the history holds as bought")] = False
    include_ids: Annotated[Ids | None, Field(description="only these items")] = None
    exclude_ids: list[Id] = Field(default_factory=list, max_length=MAX_FILTER_IDS)

    def filters(self, zone: tzinfo = UTC, pointer: str = "/filters") -> Filters:
        """Raises `InvalidInput` for an invalid `created_after`."""
        return Filters(
            category=_tuple(self.category),
            brand=_tuple(self.brand),
            price_min=self.price_min,
            price_max=self.price_max,
            in_stock=self.in_stock,
            created_after=None
            if self.created_after is None
            else timestamp_ms(self.created_after, 0, f"{pointer}/created_after", zone),
            not_purchased=self.not_purchased,
            include_ids=_tuple(self.include_ids),
            exclude_ids=tuple(self.exclude_ids),
        )


class PromotionBody(RequestBody):
    """At least `share` of the list passes `filters`, where so many items do."""

    filters: FiltersBody
    share: Share


class ContextBody(RequestBody):
    """The page that shows the list: its item and its category, and the items in the cart."""

    item_id: Id | None = None
    cart: list[Id] = Field(default_factory=list, max_length=MAX_ITEMS_PER_ANSWER)
    category: Id | None = None


class BaseRequest(RequestBody):
    """The user of the request. A history replaces that of `user_id`; without both the user counts as new."""

    user_id: Id | None = None
    history: Annotated[list[Id] | None, Field(max_length=MAX_EVENTS_PER_CALL, description="item ids, oldest first")] = None
    context: ContextBody = ContextBody()
    personalization: Annotated[Literal["on", "off"], Field(description="off: state is not read")] = "on"
    explain: Annotated[bool, Field(description="add an explanation to each item")] = False
    explain_budget_ms: Annotated[int, Field(ge=1, le=10_000, description="for all explanations of the request")] = 250


class RecommendationsRequest(BaseRequest):
    """A list of at most `k` items."""

    k: Annotated[int, Field(ge=1, le=MAX_ITEMS_PER_ANSWER)] = 20
    scenario: Literal["personal", "similar", "bought_together", "buy_again", "trending"] = "personal"
    item_id: Annotated[
        Id | None,
        Field(description="seed of `similar` and `bought_together`; else the item of `context`, or its cart"),
    ] = None
    filters: FiltersBody = FiltersBody()
    promote: PromotionBody | None = None
    diversity: Annotated[Share, Field(description="0: items are ordered by score alone")] = 0.0
    min_relevance: Annotated[Share, Field(description="items of a lower relevance are left out")] = 0.0

    @model_validator(mode="after")
    def _has_seed_item(self) -> Self:
        if self.scenario == "similar" and not (self.item_id or self.context.item_id):
            raise ValueError("expected item_id, which items are to be similar to")
        return self

    def options(self, zone: tzinfo) -> RankingOptions:
        """Raises `InvalidInput` for an invalid `created_after`.

        zone   of times without an offset
        """
        promotion = None
        if self.promote is not None:
            promotion = Promotion(self.promote.filters.filters(zone, "/promote/filters"), self.promote.share)
        return RankingOptions(self.k, self.filters.filters(zone), promotion, self.diversity, self.min_relevance)


class RankingsRequest(BaseRequest):
    """Items to rank for a user; all of them are in the response."""

    items: Annotated[list[Id], Field(min_length=1, max_length=MAX_CANDIDATES_PER_CALL)]


def _tuple(words: list[str] | None) -> tuple[str, ...] | None:
    return None if words is None else tuple(words)
