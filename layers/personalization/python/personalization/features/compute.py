"""Features of users at a moment, vectorised over users: the only place where they are computed.

`compute` cuts the events (`history_window`) and calls one function for each group of features. A new feature is a column of
one of these groups, and a line in `names.py`. Each is a sum, a minimum or a maximum over a user's rows, so a user alone and
the same user among a million get the same numbers (a property test holds them equal).
"""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.events import Events, Numbers
from personalization.core.schema import CART, CHECKOUT, EVENT_CODE, RATE, SEARCH, VIEW, WISHLIST
from personalization.core.time import DAY_MS, MISSING_TIME, hour_of_day, local_time, weekday
from personalization.features.category_shares import category_shares
from personalization.features.history_window import HistoryWindow, broadcast_to_users, events_known_at, truncate_to_window
from personalization.features.lifetime import Lifetime, lifetime
from personalization.features.names import TEXT_FEATURES
from personalization.features.orders import Orders, is_purchase, is_return, net_value, orders_of

_TYPE_COUNTS: Final = {
    "views": VIEW, "carts": CART, "checkouts": CHECKOUT, "wishlists": WISHLIST, "searches": SEARCH,
}  # fmt: skip


def compute(
    events: Events,
    as_of: int | NDArray[np.int64],
    window: HistoryWindow,
    zone: tzinfo = UTC,
    evicted: Lifetime | None = None,
) -> dict[str, NDArray[Any]]:
    """Features of each user of `events.users` as they were known at `as_of`.

    events    of U users, in any order; events after `as_of`, or received after it, are ignored
    as_of     milliseconds since 1970 UTC, one for all or (U,)
    window    the bundle's history window
    zone      the shop's time zone, for days, weekdays and hours
    evicted   sums over older events that are no longer in `events` (state), (U,) each

    Returns (U,) columns: float64 for each of `names.FEATURES` (NaN where there is nothing to measure; counts are 0), object
    (str or None) for each of `names.TEXT_FEATURES`.
    """
    users = len(events.users)
    moments = broadcast_to_users(as_of, users)
    known = events_known_at(events, as_of)
    life = lifetime(known)
    if evicted is not None:
        life = life.merge(evicted)
    recent = truncate_to_window(known, as_of, window)
    orders = orders_of(recent)
    columns = _recency(recent, orders, moments, life)
    columns |= _counts(recent, users)
    columns |= _orders(orders, columns, users)
    columns |= _viewing_and_ratings(recent, users)
    columns |= _preferences(recent)
    columns |= _recent_totals(recent, orders, moments, users)
    columns |= _time_patterns(recent, moments, zone, users)
    columns |= {
        "lifetime_events": life.events,
        "lifetime_purchases": life.purchases,
        "lifetime_monetary": life.value,
    }
    # numpy's bincount returns integers where it has no weights
    return {name: c if name in TEXT_FEATURES else c.astype(np.float64, copy=False) for name, c in columns.items()}


def _recency(events: Events, orders: Orders, moments: NDArray[np.int64], life: Lifetime) -> dict[str, NDArray[Any]]:
    last_order = np.full(len(moments), MISSING_TIME)
    np.maximum.at(last_order, orders.user, orders.timestamp)
    last_event = np.full(len(moments), MISSING_TIME)
    np.maximum.at(last_event, events.user, events.timestamp)
    return {
        "recency_days": _days_since(last_event, moments),
        "recency_purchase_days": _days_since(last_order, moments),
        "tenure_days": _days_since(life.first, moments),
    }


def _counts(events: Events, users: int) -> dict[str, NDArray[Any]]:
    total = np.bincount(events.user, minlength=users).astype(np.float64)
    columns: dict[str, NDArray[Any]] = {"events": total}
    for name, event_type in _TYPE_COUNTS.items():
        columns[name] = _count(events, events.event_type == EVENT_CODE[event_type])
    purchase, returned = is_purchase(events), is_return(events)
    value = net_value(events)
    columns["purchase_lines"] = _count(events, purchase)
    columns["returns"] = _count(events, returned)
    # `rating` may come as an event of its own or as a column of a purchase.
    columns["ratings"] = _count(events, np.isfinite(events.rating) | (events.event_type == EVENT_CODE[RATE]))
    units = np.where(purchase, np.where(np.isfinite(events.quantity), events.quantity, 1.0), 0.0)
    columns["units"] = np.bincount(events.user, weights=units, minlength=users)
    columns["items"] = _distinct(events.user, events.item, users)
    columns["monetary"] = np.bincount(events.user, weights=value, minlength=users)
    bought = np.bincount(events.user[purchase], weights=value[purchase], minlength=users)
    given_back = np.bincount(events.user[returned], weights=-value[returned], minlength=users)
    columns["returned_share"] = np.clip(_ratio(given_back, bought), 0.0, 1.0)
    columns["view_share"] = _ratio(columns["views"], total)
    columns["cart_share"] = _ratio(columns["carts"], total)
    columns["purchase_share"] = _ratio(columns["purchase_lines"], total)
    return columns


def _orders(orders: Orders, columns: dict[str, NDArray[Any]], users: int) -> dict[str, NDArray[Any]]:
    number = np.bincount(orders.user, minlength=users).astype(np.float64)
    follows = orders.user[1:] == orders.user[:-1]
    gap = np.diff(orders.timestamp)[follows] / DAY_MS
    gap_user = orders.user[1:][follows]
    gaps = np.bincount(gap_user, minlength=users)
    mean = _ratio(np.bincount(gap_user, weights=gap, minlength=users), gaps)
    squares = np.bincount(gap_user, weights=(gap - mean[gap_user]) ** 2, minlength=users)
    last_value = np.full(users, np.nan)
    is_last = np.ones(len(orders.user), dtype=bool)
    is_last[:-1] = ~follows
    last_value[orders.user[is_last]] = orders.value[is_last]
    return {
        "orders": number,
        "order_gap_days": mean,
        "order_gap_deviation_days": np.sqrt(_ratio(squares, np.where(gaps > 1, gaps - 1, 0))),
        "overdue": _ratio(columns["recency_purchase_days"], mean),
        "average_order_value": _ratio(columns["monetary"], number),
        "last_order_value": last_value,
        "conversion": _ratio(number, columns["views"]),
    }


def _viewing_and_ratings(events: Events, users: int) -> dict[str, NDArray[Any]]:
    seen = np.isfinite(events.view_duration)
    duration = np.bincount(events.user[seen], weights=events.view_duration[seen], minlength=users)
    timed = np.bincount(events.user[seen], minlength=users)
    rated = np.isfinite(events.rating)
    ratings = np.bincount(events.user[rated], minlength=users)
    last_rating = np.full(users, np.nan)
    last_rating[events.user[rated]] = events.rating[rated]  # sorted by time: the last one stays
    return {
        "view_duration": np.where(timed > 0, duration, np.nan),
        "view_duration_mean": _ratio(duration, timed),
        "rating_mean": _ratio(np.bincount(events.user[rated], weights=events.rating[rated], minlength=users), ratings),
        "rating_last": last_rating,
    }


def _preferences(events: Events) -> dict[str, NDArray[Any]]:
    users = len(events.users)
    code, share = category_shares(events).top()
    channel, _ = category_shares(events, events.channel).top()
    return {
        "categories": _distinct(events.user, events.category, users),
        "preferred_category_share": share,
        "preferred_category": _words(events.categories, code),
        "preferred_channel": _words(events.channels, channel),
    }


def _recent_totals(events: Events, orders: Orders, moments: NDArray[np.int64], users: int) -> dict[str, NDArray[Any]]:
    event_age = (moments[events.user] - events.timestamp) / DAY_MS
    order_age = (moments[orders.user] - orders.timestamp) / DAY_MS
    value = net_value(events)

    def total(newer: int, older: int = 0, weights: Numbers | None = None) -> Numbers:
        inside = (event_age < newer) & (event_age >= older)
        weighted = None if weights is None else weights[inside]
        return np.bincount(events.user[inside], weights=weighted, minlength=users).astype(np.float64)

    columns = {"events_7d": total(7), "events_28d": total(28)}
    for days in (7, 14, 28, 91):
        columns[f"orders_{days}d"] = np.bincount(orders.user[order_age < days], minlength=users).astype(np.float64)
    columns["monetary_28d"] = total(28, weights=value)
    columns["monetary_91d"] = total(91, weights=value)
    columns["trend_events"] = np.log1p(columns["events_28d"]) - np.log1p(total(56, 28))
    before = total(56, 28, weights=value)
    columns["trend_monetary"] = np.log1p(np.maximum(columns["monetary_28d"], 0)) - np.log1p(np.maximum(before, 0))
    return columns


def _time_patterns(events: Events, moments: NDArray[np.int64], zone: tzinfo, users: int) -> dict[str, NDArray[Any]]:
    local = local_time(events.timestamp, zone)
    day = local // DAY_MS
    number = np.bincount(events.user, minlength=users)
    return {
        "active_days": _distinct(events.user, day - day.min(initial=0), users),
        "weekend_share": _ratio(_count(events, weekday(local) >= 5), number),
        "evening_share": _ratio(_count(events, hour_of_day(local) >= 18), number),
        "asked_weekday": weekday(local_time(moments, zone)).astype(np.float64),
    }


def _count(events: Events, rows: NDArray[np.bool_]) -> Numbers:
    return np.bincount(events.user[rows], minlength=len(events.users)).astype(np.float64)


def _distinct(user: NDArray[Any], code: NDArray[Any], users: int) -> Numbers:
    """(U,) number of different codes (≥ 0) of each user."""
    known = code >= 0
    width = int(code.max(initial=0)) + 1
    keys = np.unique(user[known].astype(np.int64) * width + code[known])
    return np.bincount(keys // width, minlength=users).astype(np.float64)


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> Numbers:
    """part ÷ whole, NaN where the whole is not positive."""
    out = np.full(len(part), np.nan)
    np.divide(part, whole, out=out, where=np.asarray(whole) > 0)
    return out


def _days_since(moment: NDArray[np.int64], now: NDArray[np.int64]) -> Numbers:
    known = moment != MISSING_TIME
    return np.where(known, (now - np.where(known, moment, 0)) / DAY_MS, np.nan)


def _words(words: list[str], code: NDArray[np.int32]) -> NDArray[np.object_]:
    """(U,) words of codes; code −1 picks the `None` at the end."""
    lookup = np.empty(len(words) + 1, dtype=object)
    lookup[: len(words)] = words
    return np.asarray(lookup[code], dtype=object)
