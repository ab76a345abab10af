"""Purchase lines joined to orders: a basket of twelve lines is one decision to buy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personalization.core.categorical import Codes
from personalization.core.events import Events, Numbers
from personalization.features.lifetime import is_purchase, net_value


@dataclass(frozen=True, slots=True)
class Orders:
    """M orders, by user, then time.

    user        int32 (M,) code of the user
    timestamp   int64 (M,) milliseconds of the first line
    value       float64 (M,) sum of the lines' values
    """

    user: Codes
    timestamp: NDArray[np.int64]
    value: Numbers


def orders_of(events: Events) -> Orders:
    """Orders of sorted events: lines of one user with the same order code; without one, with the same moment."""
    lines = np.flatnonzero(is_purchase(events))
    user, order, timestamp = events.user[lines], events.order[lines], events.timestamp[lines]
    # Codes of orders and moments must not meet: moments are made negative (and are never −1, which no order has).
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
