"""Events packed into bytes and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalization import features
from personalization.core.events import EVENT_COLUMNS
from personalization.core.schema import EVENT_TYPES
from personalization.state.event_batch import EventBatch, event_batches
from personalization.state.items import UnknownPackingError, pack, pack_lifetime, unpack, unpack_lifetime
from tests.support import NAN, events_of

number = st.one_of(st.just(NAN), st.floats(allow_nan=False, allow_infinity=False))
word = st.one_of(st.none(), st.text(min_size=1, max_size=5).filter(lambda text: text.isprintable()))
row = st.fixed_dictionaries(
    {
        "item_id": word,
        "event_type": st.sampled_from(EVENT_TYPES),
        "timestamp": st.integers(0, 4_102_444_800_000),
        "received_at": st.integers(0, 4_102_444_800_000),
        "quantity": number,
        "event_value": number,
        "rating": number,
        "category": word,
        "channel": word,
        "order_id": st.sampled_from([None, "o1", "o2"]),
    }
)


def words_of(batch: EventBatch) -> list[dict[str, Any]]:
    """Every event with words in place of codes."""
    events = batch.events
    lists = {"item": events.items, "category": events.categories, "channel": events.channels, "user": events.users}
    rows = []
    for n in range(len(events)):
        event = {name: getattr(events, name)[n].item() for name in EVENT_COLUMNS}
        event |= {name: [*words, None][event[name]] for name, words in lists.items()}
        rows.append({name: "NaN" if value != value else value for name, value in event.items()})
    return rows


@given(st.lists(row, min_size=1, max_size=20), st.data())
def test_nothing_is_lost(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.sampled_from([None, "e1", "e2"]), min_size=len(rows), max_size=len(rows)))
    ((user_id, batch),) = event_batches(events_of(rows), ids, [r["order_id"] for r in rows])
    again = unpack(pack(batch), user_id)
    assert words_of(again) == words_of(batch)
    assert again.keys.tolist() == batch.keys.tolist()
    assert again.orders.tolist() == batch.orders.tolist()


def test_a_window_of_five_hundred_events_takes_kilobytes() -> None:
    rows = [
        {"item_id": f"item-{n * n % 97}", "timestamp": 1_700_000_000_000 + 977_001 * n, "event_value": n % 50 + 0.99}
        for n in range(500)
    ]
    ((_, batch),) = event_batches(events_of(rows))
    assert len(pack(batch)) < 8_192


def test_sums_survive() -> None:
    sums = features.lifetime(events_of([{"timestamp": 5, "event_type": "purchase", "event_value": 0.1}, {"timestamp": 9}]))
    again = unpack_lifetime(pack_lifetime(sums))
    assert (again.events[0], again.purchases[0], again.value[0], again.first[0], again.last[0]) == (2, 1, 0.1, 5, 9)
    assert again.first.dtype == np.int64


@pytest.mark.parametrize("packed", [b"", b"\x00abc", b"\xff"])
def test_bytes_of_another_version_are_refused(packed: bytes) -> None:
    with pytest.raises(UnknownPackingError):
        unpack(packed, "u")
    with pytest.raises(UnknownPackingError):
        unpack_lifetime(packed)
