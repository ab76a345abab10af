"""Columns of the tables whose rows requests hold, for `openapi.yaml`.

Handlers do not import this module: rows are read column by column, not validated one by one.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Text = str | float | None
Number = float | str | None


class _Row(BaseModel):
    model_config = ConfigDict(extra="allow")


class InteractionRow(_Row):
    """A row of the interactions table.

    `event_value` is the total of the line. A `refund`, or a negative quantity, is a return.
    """

    user_id: Text = None
    item_id: str | float
    event_type: Annotated[str, Field(examples=["view_item", "add_to_cart", "purchase", "refund"])]
    timestamp: Annotated[str | float, Field(description="RFC 3339, unix seconds or milliseconds")]
    event_id: Text = None
    session_id: Text = None
    order_id: Text = None
    received_at: Annotated[Text, Field(description="now where it is missing")] = None
    quantity: Number = None
    unit_price: Number = None
    event_value: Number = None
    currency: str | None = None
    view_duration: Annotated[Number, Field(description="seconds")] = None
    rating: Number = None
    category: Text = None
    channel: Text = None
    recommendation_id: str | None = None
    decision_id: Annotated[
        str | None, Field(description="of an ad the `impression_id` of its winner: a click or an order is charged by it")
    ] = None


class ItemRow(_Row):
    """A row of the items table; any further column is a feature."""

    item_id: str | float
    parent_id: Annotated[Text, Field(description="a list holds one variant of each parent")] = None
    category: Text = None
    brand: Text = None
    price: Number = None
    title: Text = None
    created_at: Text = None
    in_stock: bool | str | float | None = None


class AdRow(_Row):
    """A row of the ads table; any further column is a feature.

    Money is 0 to 1e12. An ad without `campaign_id` is a campaign of its own. The flight ends before `ends_at`.
    """

    ad_id: str | float
    campaign_id: Annotated[Text, Field(description="required beside a budget")] = None
    bid: Annotated[Number, Field(description="for 1,000 impressions, a click or a conversion, by `billing`")] = None
    billing: Annotated[str | None, Field(description="cpm, cpc or cpa; cpc where there is a bid, else cpa")] = None
    value: Annotated[Number, Field(description="value of a conversion")] = None
    cost: Annotated[Number, Field(description="cost of showing an own ad")] = None
    discount: Annotated[Number, Field(description="cost of each conversion under an own ad")] = None
    budget: Annotated[Number, Field(description="of the campaign")] = None
    budget_period: Annotated[str | None, Field(description="flight or day")] = None
    frequency_cap: Annotated[Number, Field(description="impressions of the ad that one user sees within seven days")] = None
    evidence: Annotated[Number, Field(description="earlier impressions of the ad, for exploration")] = None
    channel: str | None = None
    creative: str | None = None
    item_id: Text = None
    category: str | None = None
    starts_at: Text = None
    ends_at: Text = None


class TableRow(_Row):
    """Cells by column name; a cell is text, a number, a boolean or null."""
