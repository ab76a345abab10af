"""Labels after a cut: the time to the next purchase, the net spend, the orders, and the first basket.

A label window may end before the horizon (right censoring), so each label carries how much of its time was observed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personalization.core.categorical import Codes
from personalization.core.events import Events
from personalization.core.time import DAY_MS
from personalization.features.orders import is_purchase, is_return, net_value, orders_of
from training.io.point_in_time import Cut, horizon_observed, received_after, received_before

Numbers = NDArray[np.float32]


@dataclass(frozen=True)
class PurchaseLines:
    """M lines bought or returned, by user, then time: taken once from all events, used at every cut.

    user, order              int32 codes as in `Events`
    category                 int32 index into the predicted categories, −1 for any other
    timestamp, received_at   int64 milliseconds
    value                    float64 line total, returns negative
    bought                   bool, False for a return
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

    @classmethod
    def from_events(cls, events: Events, categories: Sequence[str] = ()) -> PurchaseLines:
        """The lines bought and returned among `events` (in any order); `categories` are the predicted ones."""
        lines = events.take(is_purchase(events) | is_return(events)).sorted()
        index_of = {category: index for index, category in enumerate(categories)}
        # One more entry, for the code −1 of lines without a category.
        index = np.array([*(index_of.get(category, -1) for category in events.categories), -1], dtype=np.int32)
        orders = orders_of(lines)
        return cls(
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


@dataclass(frozen=True)
class Labels:
    """Of U users at one cut, with K intervals of time after it.

    exposure        (U, K) share of each interval that was observed before the user's first purchase; 0 after it
    event           (U, K) 1 in the interval of the first purchase, else 0
    spend           (U,) net value from the cut to the horizon, or to the end of the label window
    observed_days   (U,) days between the cut and the end of the label window
    orders          (U, K) orders up to the end of each interval, or to the end of the label window
    first_line      (U,) index into `PurchaseLines` of the first line bought, −1 where there is none
    """

    exposure: Numbers
    event: Numbers
    spend: Numbers
    observed_days: Numbers
    orders: Numbers
    first_line: NDArray[np.int64]


def frequent_categories(events: Events, before: int, most: int, share: float) -> list[str]:
    """The most frequent categories of the lines bought and received before a time (ms), until they cover `share` of the lines.

    At most `most` of them, most frequent first; none where there is a single category, for then there is nothing to predict.
    """
    lines = is_purchase(events) & received_before(events.timestamp, events.received_at, before) & (events.category >= 0)
    counts = np.bincount(events.category[lines], minlength=len(events.categories))
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    if len(order) < 2:
        return []
    covered = np.cumsum(counts[order]) / counts.sum()
    enough = int(np.searchsorted(covered, share)) + 1
    return [events.categories[code] for code in order[: min(most, max(2, enough))]]


def label_users(lines: PurchaseLines, users: int, cut: Cut, days: Sequence[int], horizon: int) -> Labels:
    """Labels of users 0 … `users` − 1 at a cut, from what was received before its label window ends.

    days      ends of the K intervals, ascending; the first interval begins at the cut
    horizon   days over which spend is counted
    """
    after = np.flatnonzero(received_after(lines.timestamp, lines.received_at, cut))
    bought = after[lines.bought[after]]
    first_line = np.full(users, -1, dtype=np.int64)
    first_line[lines.user[bought[::-1]]] = bought[::-1]  # sorted by time, so written last is first bought
    waiting_days = np.full(users, np.inf)
    buyers = first_line >= 0
    waiting_days[buyers] = (lines.timestamp[first_line[buyers]] - cut.time) / DAY_MS
    ends = np.asarray(days, dtype=np.float64)
    starts = np.concatenate([[0.0], ends[:-1]])
    observed = np.clip((cut.label_days - starts) / (ends - starts), 0.0, 1.0)
    observed[horizon_observed(cut.label_days, ends)] = 1.0
    exposure = np.where(waiting_days[:, None] >= starts, observed, 0.0)
    event = (waiting_days[:, None] >= starts) & (waiting_days[:, None] < ends)
    within_horizon = after[lines.timestamp[after] < cut.time + horizon * DAY_MS]
    spend = np.bincount(lines.user[within_horizon], weights=lines.value[within_horizon], minlength=users)
    in_window = (lines.order_time >= cut.time) & (lines.order_time < cut.label_end)
    user, age = lines.order_user[in_window], (lines.order_time[in_window] - cut.time) / DAY_MS
    orders = np.stack([np.bincount(user[age < end], minlength=users) for end in ends], axis=1)
    return Labels(
        exposure.astype(np.float32),
        event.astype(np.float32),
        spend.astype(np.float32),
        np.full(users, cut.label_days, dtype=np.float32),
        orders.astype(np.float32),
        first_line,
    )


def bought_within(labels: Labels, days: Sequence[int], within: int) -> tuple[Numbers, NDArray[np.bool_]]:
    """(U,) whether each user bought within `within` days (one of `days`), and (U,) whether these days were observed.

    Where the label window is shorter, buyers do not count as observed either: a sample of buyers only would be biased.
    """
    bought = labels.event[:, : list(days).index(within) + 1].sum(axis=1)
    return bought.astype(np.float32), horizon_observed(labels.observed_days, within)


def horizon_share(labels: Labels, horizon: int) -> Numbers:
    """(U,) share of the horizon that the label window covers."""
    return np.minimum(np.float32(1.0), labels.observed_days / horizon)


def orders_observed(labels: Labels, days: Sequence[int]) -> Numbers:
    """(U, 2): orders up to the end of the last interval that was observed whole, and its number, −1 where none was."""
    interval = horizon_observed(labels.observed_days[:, None], np.asarray(days)[None, :]).sum(axis=1) - 1
    count = labels.orders[np.arange(len(interval)), np.maximum(interval, 0)]
    return np.stack([np.where(interval >= 0, count, 0.0), interval], axis=1).astype(np.float32)


def first_baskets(lines: PurchaseLines, labels: Labels, categories: int) -> NDArray[np.bool_]:
    """(U, categories) whether each category is in the user's first basket after the cut.

    A basket is the lines of one order; without an order, those of one moment.
    """
    baskets = np.zeros((len(labels.first_line), categories), dtype=bool)
    user = np.flatnonzero(labels.first_line >= 0)
    # Sorted by user and time, a basket's lines follow its first one closely: step on until no basket continues.
    line = labels.first_line[user]
    order, timestamp = lines.order[line], lines.timestamp[line]
    while len(user):
        category = lines.category[line]
        counts = lines.bought[line] & (category >= 0)
        baskets[user[counts], category[counts]] = True
        line = line + 1
        inside = line < len(lines.user)
        line, user, order, timestamp = line[inside], user[inside], order[inside], timestamp[inside]
        same_basket = np.where(order >= 0, lines.order[line] == order, lines.timestamp[line] == timestamp)
        kept = (lines.user[line] == user) & same_basket
        line, user, order, timestamp = line[kept], user[kept], order[kept], timestamp[kept]
    return baskets
