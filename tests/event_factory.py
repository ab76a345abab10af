"""Events for tests of training, from rows whose days are counted from a cut."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from personalization.core.categorical import Vocabulary
from personalization.core.events import Events
from personalization.core.schema import EVENT_CODE

DAY_MS: Final = 86_400_000
CUT: Final = round(datetime(2025, 6, 1, tzinfo=UTC).timestamp() * 1000)

# user, day, event type, value, category, order, day of receipt
Row = tuple[Any, ...]


def events_by_day(rows: list[Row]) -> Events:
    """Events in the order of the rows. A cell that a row leaves out is missing; without a day of receipt it is the event's."""
    full = [(*row, *(None,) * (7 - len(row))) for row in rows]
    users, categories, orders = Vocabulary(), Vocabulary(), Vocabulary()
    timestamp = np.array([CUT + round(row[1] * DAY_MS) for row in full], dtype=np.int64)
    received = np.array(
        [t if row[6] is None else CUT + round(row[6] * DAY_MS) for t, row in zip(timestamp, full, strict=True)], dtype=np.int64
    )
    nothing = np.full(len(full), np.nan)
    return Events(
        user=users.codes([row[0] for row in full]),
        item=np.zeros(len(full), np.int32),
        event_type=np.array([EVENT_CODE[row[2]] for row in full], np.int8),
        timestamp=timestamp,
        received_at=received,
        quantity=np.where([row[2] in ("purchase", "refund") for row in full], 1.0, np.nan),
        unit_price=nothing,
        event_value=np.array([np.nan if row[3] is None else row[3] for row in full], np.float64),
        view_duration=nothing,
        rating=nothing,
        category=categories.codes([row[4] for row in full]),
        channel=np.full(len(full), -1, np.int32),
        order=orders.codes([row[5] for row in full]),
        users=users.words,
        items=["item"],
        categories=categories.words,
    )
