"""The name of every feature, with its readable name for explanations, in the order of the columns."""

from __future__ import annotations

from typing import Final

FEATURES: Final[dict[str, str]] = {
    # how long ago
    "recency_days": "days since the last event",
    "recency_purchase_days": "days since the last purchase",
    "tenure_days": "days since the first event ever",
    # how often
    "events": "events in the window",
    "active_days": "days with an event",
    "orders": "orders in the window",
    "units": "units bought",
    "items": "different items",
    "order_gap_days": "mean days between orders",
    "order_gap_deviation_days": "standard deviation of the days between orders",
    "overdue": "days since the last purchase ÷ mean days between orders",
    # how much
    "monetary": "net value of purchases",
    "average_order_value": "net value per order",
    "last_order_value": "value of the last order",
    "returned_share": "share of the purchased value that was returned",
    # what kinds of event
    "views": "product views",
    "carts": "additions to the cart",
    "checkouts": "checkouts begun",
    "purchase_lines": "lines bought",
    "returns": "returns",
    "wishlists": "additions to a wish list",
    "searches": "searches",
    "ratings": "ratings given",
    "view_share": "share of events that are views",
    "cart_share": "share of events that are cart additions",
    "purchase_share": "share of events that are purchases",
    "conversion": "orders per product view",
    # how closely they look, how content they are
    "view_duration": "viewing time in all",
    "view_duration_mean": "viewing time per view",
    "rating_mean": "mean rating given",
    "rating_last": "last rating given",
    # what they like
    "categories": "different categories",
    "preferred_category_share": "share of the preferred category",
    # lately, and compared with before
    "events_7d": "events in the last 7 days",
    "events_28d": "events in the last 28 days",
    "orders_7d": "orders in the last 7 days",
    "orders_14d": "orders in the last 14 days",
    "orders_28d": "orders in the last 28 days",
    "orders_91d": "orders in the last 91 days",
    "monetary_28d": "net value of the last 28 days",
    "monetary_91d": "net value of the last 91 days",
    "trend_events": "events of the last 28 days against the 28 before (log ratio)",
    "trend_monetary": "value of the last 28 days against the 28 before (log ratio)",
    # when
    "weekend_share": "share of events on Saturday and Sunday",
    "evening_share": "share of events from 18:00 to 24:00",
    "asked_weekday": "weekday of the request (Monday 0)",
    # in all their time, beyond the window
    "lifetime_events": "events ever",
    "lifetime_purchases": "lines bought ever",
    "lifetime_monetary": "net value ever",
}

TEXT_FEATURES: Final[dict[str, str]] = {
    "preferred_category": "preferred category",
    "preferred_channel": "preferred channel",
}
