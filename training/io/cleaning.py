"""What cannot be true in a log of events, found and counted: nothing goes without being said."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import numpy as np

from personalization.core.events import Events
from personalization.core.time import DAY_MS, DAY_SECONDS
from personalization.features.lifetime import is_purchase

_LONGEST_VIEW_SECONDS: Final = float(DAY_SECONDS)
# Before web shops: a clock that was never set, or a zero that stands for "unknown".
_OLDEST_MS: Final = int(datetime(1990, 1, 1, tzinfo=UTC).timestamp() * 1000)

FUTURE: Final = "dropped: more than a day in the future"
ANCIENT: Final = "dropped: before 1990, unlike most of the events"
NOTHING: Final = "dropped: a purchase of quantity 0 without a value"
LONG_VIEW: Final = "view_duration of more than a day counts as missing"
EARLY: Final = "received_at before timestamp counts as the timestamp"


def clean(events: Events, now: datetime) -> tuple[Events, dict[str, int]]:
    """The events that can be true, and how many were dropped or corrected, by reason.

    now   the moment after which (and a day, for clocks that are wrong) nothing can have happened yet; where most of the
          events lie behind it the clock is doubted, not the events
    """
    counts: dict[str, int] = {}
    future = events.timestamp > int(now.timestamp() * 1000) + DAY_MS
    if future.mean() > 0.5:
        future[:] = False
    ancient = events.timestamp < _OLDEST_MS
    if ancient.mean() > 0.5:  # order only, or a real old set
        ancient[:] = False
    worthless = ~(np.abs(events.event_value) > 0)  # NaN too
    nothing = is_purchase(events) & (events.quantity == 0) & worthless
    for reason, rows in ((FUTURE, future), (ANCIENT, ancient), (NOTHING, nothing)):
        if rows.any():
            counts[reason] = int(rows.sum())
    dropped = future | ancient | nothing
    if dropped.any():
        events = events.take(~dropped)
    long_view = events.view_duration > _LONGEST_VIEW_SECONDS
    if long_view.any():
        counts[LONG_VIEW] = int(long_view.sum())
        events = replace(events, view_duration=np.where(long_view, np.nan, events.view_duration))
    early = events.received_at < events.timestamp
    if early.any():
        counts[EARLY] = int(early.sum())
        events = replace(events, received_at=np.maximum(events.received_at, events.timestamp))
    return events, counts
