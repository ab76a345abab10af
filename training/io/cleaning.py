"""Cleaning of interactions: impossible events are dropped or corrected, and counted by reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import numpy as np

from personalization.core.events import Events
from personalization.core.time import DAY_MS, DAY_SECONDS
from personalization.features.lifetime import is_purchase

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
    counts: dict[str, int] = {}
    future = events.timestamp > int(now.timestamp() * 1000) + DAY_MS
    if future.mean() > 0.5:
        future[:] = False
    ancient = events.timestamp < _OLDEST_MS
    if ancient.mean() > 0.5:  # order only, or a real old set
        ancient[:] = False
    without_value = ~(np.abs(events.event_value) > 0)  # NaN too
    empty_purchase = is_purchase(events) & (events.quantity == 0) & without_value
    for reason, rows in ((FUTURE, future), (ANCIENT, ancient), (EMPTY_PURCHASE, empty_purchase)):
        if rows.any():
            counts[reason] = int(rows.sum())
    dropped = future | ancient | empty_purchase
    if dropped.any():
        events = events.take(~dropped)
    long_view = events.view_duration > _LONGEST_VIEW_SECONDS
    if long_view.any():
        counts[LONG_VIEW] = int(long_view.sum())
        events = replace(events, view_duration=np.where(long_view, np.nan, events.view_duration))
    received_early = events.received_at < events.timestamp
    if received_early.any():
        counts[RECEIVED_EARLY] = int(received_early.sum())
        events = replace(events, received_at=np.maximum(events.received_at, events.timestamp))
    return events, counts
