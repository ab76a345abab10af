"""Cleaning of interactions: impossible events are dropped or corrected, and counted by reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import numpy as np

from personalization.core.events import Events
from personalization.core.time import DAY_MS, DAY_SECONDS
from personalization.features.orders import is_purchase

_LONGEST_VIEW_SECONDS: Final = float(DAY_SECONDS)
# Earlier than any web shop: a clock that was never set, or a zero for "unknown".
_OLDEST_MS: Final = int(datetime(1990, 1, 1, tzinfo=UTC).timestamp() * 1000)

FUTURE: Final = "dropped: more than a day in the future"
ANCIENT: Final = "dropped: before 1990, unlike most of the events"
EMPTY_PURCHASE: Final = "dropped: a purchase of quantity 0 without a value"
LONG_VIEW: Final = "view_duration of more than a day counts as missing"
RECEIVED_EARLY: Final = "received_at before timestamp counts as the timestamp"


def clean(events: Events, now: datetime) -> tuple[Events, dict[str, int]]:
    """The possible events, and the number of dropped or corrected ones by reason.

    now   events more than a day later are dropped; the day is for wrong clocks. Where most events are later, `now` is taken
          to be wrong, and none is dropped
    """
    future = events.timestamp > int(now.timestamp() * 1000) + DAY_MS
    ancient = events.timestamp < _OLDEST_MS
    for impossible in (future, ancient):
        if impossible.mean() > 0.5:  # a wrong `now`; an order instead of times, or an old data set
            impossible[:] = False
    without_value = ~(np.abs(events.event_value) > 0)  # NaN too
    empty_purchase = is_purchase(events) & (events.quantity == 0) & without_value
    counts = {FUTURE: future.sum(), ANCIENT: ancient.sum(), EMPTY_PURCHASE: empty_purchase.sum()}
    dropped = future | ancient | empty_purchase
    if dropped.any():
        events = events.take(~dropped)
    long_view = events.view_duration > _LONGEST_VIEW_SECONDS
    received_early = events.received_at < events.timestamp
    if long_view.any():
        events = replace(events, view_duration=np.where(long_view, np.nan, events.view_duration))
    if received_early.any():
        events = replace(events, received_at=np.maximum(events.received_at, events.timestamp))
    counts |= {LONG_VIEW: long_view.sum(), RECEIVED_EARLY: received_early.sum()}
    return events, {reason: int(count) for reason, count in counts.items() if count}
