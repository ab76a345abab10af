"""What happened after a cut: when the next purchase came, what was spent, what was bought first.

A label window may end before all of it is known (censoring), so each label says how much of its time was seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personalization.core.categorical import Codes
from personalization.core.events import Events
from personalization.core.time import DAY_MS
from personalization.features.lifetime import is_purchase, is_return, net_value
from personalization.features.orders import orders_of
from training.io.point_in_time import Cut

Numbers = NDArray[np.float32]

_HOUR = 1 / 24  # a day may be an hour short where clocks change


@dataclass(frozen=True)
class Purchases:
    """M lines bought or returned, by user, then time; taken once from all events and asked for every cut.

    user, order            int32 codes as in `Events`
    category               int32 index into the categories that are predicted, −1 for any other
    timestamp, received_at int64 milliseconds
    value                  float64 line total, returns negative
    bought                 bool, False for a return
    order_user, order_time   of each order, by user: int32 code, int64 milliseconds of its first line
    """

    user: Codes
    timestamp: NDArray[np.int64]
    received_at: NDArray[np.int64]
    value: NDArray[np.float64]
    bought: NDArray[np.bool_]
    order: Codes
    category: Codes
    order_user: Codes
    order_time: NDArray[np.int64]


@dataclass(frozen=True)
class Labels:
    """Of U users at one cut, with K intervals of time after it.

    exposure      (U, K) share of each interval that was seen, of those the user had not bought before; else 0
    event         (U, K) 1 in the interval of the first purchase, else 0
    spend         (U,) net value from the cut to the horizon, or as far of it as was seen
    seen_days     (U,) days after the cut that were seen
    orders        (U, K) orders up to the end of each interval, or as many as were seen
    first_bought  (U,) index into `Purchases` of the first line, −1 where none was seen
    """

    exposure: Numbers
    event: Numbers
    spend: Numbers
    seen_days: Numbers
    orders: Numbers
    first_bought: NDArray[np.int64]


def purchases_of(events: Events, categories: Sequence[str] = ()) -> Purchases:
    """The lines bought and returned among `events` (in any order); `categories` are those to predict."""
    lines = events.take(is_purchase(events) | is_return(events)).sorted()
    wanted = {word: index for index, word in enumerate(categories)}
    orders = orders_of(lines)
    # One more entry, for the code −1 of lines without a category.
    index = np.array([*(wanted.get(word, -1) for word in events.categories), -1], dtype=np.int32)
    return Purchases(
        user=lines.user,
        timestamp=lines.timestamp,
        received_at=lines.received_at,
        value=net_value(lines),
        bought=is_purchase(lines),
        order=lines.order,
        category=index[lines.category],
        order_user=orders.user,
        order_time=orders.timestamp,
    )


def frequent_categories(events: Events, before: int, most: int, share: float) -> list[str]:
    """Categories of the lines bought and known before a moment, most frequent first: those that cover `share` of the lines.

    At most `most` of them; none where a single one covers everything, for then there is nothing to predict.
    """
    known = is_purchase(events) & (events.timestamp < before) & (events.received_at < before) & (events.category >= 0)
    counts = np.bincount(events.category[known], minlength=len(events.categories))
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    if len(order) < 2:
        return []
    covered = np.cumsum(counts[order]) / counts.sum()
    enough = int(np.searchsorted(covered, share)) + 1
    return [events.categories[code] for code in order[: min(most, max(2, enough))]]


def label(purchases: Purchases, users: int, cut: Cut, days: Sequence[int], horizon: int) -> Labels:
    """Labels of users 0 … `users` − 1 at a cut, from what was known before its limit.

    days      ends of the K intervals, ascending; the first begins at the cut
    horizon   days over which spend is counted
    """
    known = (purchases.timestamp < cut.label_end) & (purchases.received_at < cut.label_end)
    after = np.flatnonzero((purchases.timestamp >= cut.time) & known)
    bought = after[purchases.bought[after]]
    first = np.full(users, -1, dtype=np.int64)
    first[purchases.user[bought[::-1]]] = bought[::-1]  # sorted by time, so written last is first bought
    waited = np.full(users, np.inf)
    buyers = first >= 0
    waited[buyers] = (purchases.timestamp[first[buyers]] - cut.time) / DAY_MS
    ends = np.asarray(days, dtype=np.float64)
    starts = np.concatenate([[0.0], ends[:-1]])
    seen = np.clip((cut.label_days - starts) / (ends - starts), 0.0, 1.0)
    seen[cut.label_days >= ends - _HOUR] = 1.0
    exposure = np.where(waited[:, None] >= starts, seen, 0.0)
    event = (waited[:, None] >= starts) & (waited[:, None] < ends)
    counted = after[purchases.timestamp[after] < cut.time + horizon * DAY_MS]
    spend = np.bincount(purchases.user[counted], weights=purchases.value[counted], minlength=users)
    made = (purchases.order_time >= cut.time) & (purchases.order_time < cut.label_end)
    user, age = purchases.order_user[made], (purchases.order_time[made] - cut.time) / DAY_MS
    orders = np.stack([np.bincount(user[age < end], minlength=users) for end in ends], axis=1)
    return Labels(
        exposure.astype(np.float32),
        event.astype(np.float32),
        spend.astype(np.float32),
        np.full(users, cut.label_days, dtype=np.float32),
        orders.astype(np.float32),
        first,
    )


def bought_within(labels: Labels, days: Sequence[int], within: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(U,) whether each user bought within `within` days (one of `days`), and (U,) whether that could be seen.

    Where the window ended earlier nobody counts as seen, not even those who bought: they alone would look like everybody.
    """
    bought = labels.event[:, : list(days).index(within) + 1].sum(axis=1)
    return bought.astype(np.float32), labels.seen_days >= within - _HOUR


def orders_seen(labels: Labels, days: Sequence[int]) -> Numbers:
    """(U, 2): orders up to the end of the last interval that was seen whole, and its number, −1 where none was."""
    place = (np.asarray(days)[None, :] - _HOUR <= labels.seen_days[:, None]).sum(axis=1) - 1
    count = labels.orders[np.arange(len(place)), np.maximum(place, 0)]
    return np.stack([np.where(place >= 0, count, 0.0), place], axis=1).astype(np.float32)


def first_baskets(purchases: Purchases, labels: Labels, categories: int) -> NDArray[np.bool_]:
    """(U, categories) whether each category is in the user's first basket after the cut.

    A basket is the lines of one order; without an order, those of one moment.
    """
    baskets = np.zeros((len(labels.first_bought), categories), dtype=bool)
    first = labels.first_bought
    buyers = np.flatnonzero(first >= 0)
    # Sorted by user and time: a basket's lines lie close behind its first. Walk on until no basket goes on.
    line = first[buyers]
    order = purchases.order[line]
    moment = purchases.timestamp[line]
    while len(buyers):
        category = purchases.category[line]
        counts = purchases.bought[line] & (category >= 0)
        baskets[buyers[counts], category[counts]] = True
        line = line + 1
        inside = line < len(purchases.user)
        line, buyers, order, moment = line[inside], buyers[inside], order[inside], moment[inside]
        same_order = np.where(order >= 0, purchases.order[line] == order, purchases.timestamp[line] == moment)
        goes_on = (purchases.user[line] == buyers) & same_order
        line, buyers, order, moment = line[goes_on], buyers[goes_on], order[goes_on], moment[goes_on]
    return baskets
