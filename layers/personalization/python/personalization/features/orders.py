"""Purchase lines, returns and net value of events, and orders: the lines of one basket, which are one decision to buy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personalization.core.categorical import Codes
from personalization.core.events import Events, Numbers
from personalization.core.schema import EVENT_CODE, PURCHASE, REFUND


def is_return(events: Events) -> NDArray[np.bool_]:
    """(N,) whether an event is a refund, or a purchase of a negative quantity."""
    refund = events.event_type == EVENT_CODE[REFUND]
    return np.asarray(refund | ((events.event_type == EVENT_CODE[PURCHASE]) & (events.quantity < 0)), dtype=bool)


def is_purchase(events: Events) -> NDArray[np.bool_]:
    """(N,) whether an event is a purchase line that is no return."""
    return np.asarray((events.event_type == EVENT_CODE[PURCHASE]) & ~(events.quantity < 0), dtype=bool)


def net_value(events: Events) -> NDArray[np.float64]:
    """(N,) value of each purchase, negative for returns; 0 for any other event and where the value is missing."""
    counts = is_purchase(events) | is_return(events)
    return np.where(counts & np.isfinite(events.event_value), events.event_value, 0.0)


@dataclass(frozen=True, slots=True)
class Orders:
    """M orders, sorted by user, then time.

    user        int32 (M,) code of the user
    timestamp   int64 (M,) milliseconds of the first line
    value       float64 (M,) sum of the lines' values
    """

    user: Codes
    timestamp: NDArray[np.int64]
    value: Numbers


def orders_of(events: Events) -> Orders:
    """Orders of events: the purchase lines of a user with one order code, or without a code at one moment.

    events   sorted by user and time
    """
    lines = np.flatnonzero(is_purchase(events))
    user, order, timestamp = events.user[lines], events.order[lines], events.timestamp[lines]
    # Codes of orders are not negative; moments are made negative, so that the two differ (and below −1, which means no order).
    key = np.where(order >= 0, order.astype(np.int64), -timestamp - 2)
    by_order = np.lexsort((timestamp, key, user))
    starts = np.ones(len(lines), dtype=bool)
    u, k = user[by_order], key[by_order]
    starts[1:] = (u[1:] != u[:-1]) | (k[1:] != k[:-1])
    number = np.cumsum(starts) - 1
    value = np.bincount(number, weights=net_value(events)[lines][by_order], minlength=int(starts.sum())).astype(np.float64)
    first = timestamp[by_order][starts]
    owner = u[starts]
    by_time = np.lexsort((first, owner))
    return Orders(owner[by_time], first[by_time], value[by_time])
