"""How user state looks in the table: keys, attributes, expiry, and events packed into bytes.

DynamoDB bills by the kilobyte and by the item, so a user's whole window is one binary attribute: a version byte, then
compressed columns. Empty columns are left out, times are differences, words are listed once. Numbers survive exactly.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from personalization.core.events import Events
from personalization.features import HistoryWindow, Lifetime
from personalization.state.dynamodb import Item, attribute
from personalization.state.event_batch import WORDS, EventBatch, Watermark, events_of_one_user, merge_batches, order_codes

Kind = Literal["user", "session"]

WINDOW: Final = "window"
EVENT: Final = "event#"
PACKING: Final = 1
_NUMBERS: Final = ("quantity", "unit_price", "event_value", "view_duration", "rating")
_MAX_ID_BYTES: Final = 512  # of an event id in a sort key; DynamoDB's limit for the whole key is 1024


class UnknownPackingError(ValueError):
    """The bytes were written by a newer version of this module, or are not packed events."""


@dataclass(frozen=True)
class UserWindow:
    """The events of one user, compacted.

    recent      the newest events, one by one
    evicted     sums over older ones, (1,) each, `None` where there are none
    watermark   moment and key of the newest evicted event
    """

    recent: EventBatch | None = None
    evicted: Lifetime | None = None
    watermark: Watermark | None = None


@dataclass(frozen=True)
class StoredUser:
    """The window item and the event items of one user, parsed.

    window       of the window item
    item         the window item itself, `None` where there is none
    sort_keys    of the event items that are not in the window yet
    rows         the events of these items, in the same order
    max_events   with which the window was written
    """

    window: UserWindow
    item: Item | None
    sort_keys: tuple[str, ...]
    rows: tuple[EventBatch, ...]
    max_events: int

    def merged_rows(self, user_id: str, count: int | None = None) -> EventBatch | None:
        """The events of the first rows in one batch, each once; `None` where there are none."""
        rows = self.rows[:count]
        return merge_batches(user_id, rows) if rows else None


def partition_key(kind: Kind, user_id: str) -> str:
    return f"{kind}#{user_id}"


def event_item(pk: str, event: EventBatch, event_id: str | None, expires_at: int) -> Item:
    """The item of one API event; one without an id, or with a very long one, has the hash of its content in its sort key."""
    if not event_id or len(event_id.encode()) > _MAX_ID_BYTES:
        event_id = f"~{int(event.keys[0]):016x}"
    sk = f"{EVENT}{int(event.events.timestamp[0]):013d}#{event_id}"
    return {"pk": {"S": pk}, "sk": {"S": sk}, "data": {"B": pack(event)}, "expires_at": {"N": str(expires_at)}}


def window_item(pk: str, window: UserWindow, version: str, max_events: int, expires_at: int) -> Item:
    """The item of a window."""
    item: Item = {
        "pk": {"S": pk},
        "sk": {"S": WINDOW},
        "v": {"S": version},
        "data": {"B": pack(window.recent) if window.recent else b""},
        "max_events": {"N": str(max_events)},
        "expires_at": {"N": str(expires_at)},
    }
    if window.evicted is not None:
        item["sums"] = {"B": pack_lifetime(window.evicted)}
    if window.watermark is not None:
        item["edge_ms"], item["edge_key"] = (attribute(part) for part in window.watermark)
    return item


def is_expired(item: Item, now: float) -> bool:
    """DynamoDB removes expired items within days, not at once."""
    return "expires_at" in item and int(item["expires_at"]["N"]) <= now


def parse_user(user_id: str, items: Sequence[Item], now: float) -> StoredUser:
    """The window and the events among a user's items; other items are ignored."""
    window, window_row, max_events = UserWindow(), None, HistoryWindow().max_events
    sort_keys: list[str] = []
    rows: list[EventBatch] = []
    for item in items:
        sk = item["sk"]["S"]
        if sk == WINDOW:
            window_row = item
            if not is_expired(item, now):
                window, max_events = _parse_window(user_id, item), int(item["max_events"]["N"])
        elif sk.startswith(EVENT) and "absorbed" not in item and not is_expired(item, now):
            sort_keys.append(sk)
            rows.append(unpack(item["data"]["B"], user_id))
    return StoredUser(window, window_row, tuple(sort_keys), tuple(rows), max_events)


def same_content(one: Item, other: Item) -> bool:
    """Whether two window items hold the same events and sums."""
    return all(one.get(name) == other.get(name) for name in ("data", "sums", "edge_ms", "edge_key", "max_events"))


def pack(batch: EventBatch) -> bytes:
    """Bytes from which `unpack` restores the batch, but for the user's id."""
    events = events_of_one_user(batch.events, "")
    columns: dict[str, Any] = {
        "timestamp": np.diff(events.timestamp, prepend=0),
        "event_type": events.event_type.astype(np.int64),
    }
    if not np.array_equal(events.received_at, events.timestamp):
        columns["received_at"] = events.received_at - events.timestamp
    for name in _NUMBERS:
        values = getattr(events, name)
        if not np.isnan(values).all():
            columns[name] = values  # orjson writes null for NaN
    for name, words in WORDS:
        if getattr(events, words):
            columns |= {name: getattr(events, name).astype(np.int64), words: getattr(events, words)}
    columns |= {name: keys for name, keys in (("order", batch.orders), ("key", batch.minimal_keys())) if keys.any()}
    return bytes([PACKING]) + zlib.compress(orjson.dumps(columns, option=orjson.OPT_SERIALIZE_NUMPY), 6)


def unpack(packed: bytes, user_id: str) -> EventBatch:
    """The batch of a user. Raises `UnknownPackingError`."""
    columns = orjson.loads(zlib.decompress(_content(packed)))
    timestamp = np.cumsum(np.array(columns["timestamp"], dtype=np.int64))

    def column(name: str, dtype: type, missing: Any) -> NDArray[Any]:
        return np.array(columns[name], dtype=dtype) if name in columns else np.full(len(timestamp), missing, dtype=dtype)

    orders = column("order", np.uint64, 0)
    parts: dict[str, Any] = {name: column(name, np.float64, np.nan) for name in _NUMBERS}
    for name, words in WORDS:
        parts |= {name: column(name, np.int32, -1), words: columns.get(words, [])}
    events = Events(
        user=np.zeros(len(timestamp), dtype=np.int32),
        event_type=column("event_type", np.int8, 0),
        timestamp=timestamp,
        received_at=timestamp + column("received_at", np.int64, 0),
        order=order_codes(orders),
        users=[user_id],
        **parts,
    )
    return EventBatch(events, orders, column("key", np.uint64, 0))


def pack_lifetime(sums: Lifetime) -> bytes:
    """Bytes of one user's sums."""
    parts = (sums.events, sums.purchases, sums.value, sums.first, sums.last)
    return bytes([PACKING]) + orjson.dumps([part[0].item() for part in parts])


def unpack_lifetime(packed: bytes) -> Lifetime:
    """Sums of one user, (1,) each. Raises `UnknownPackingError`."""
    values = orjson.loads(_content(packed))
    events, purchases, value = (np.array([number], dtype=np.float64) for number in values[:3])
    first, last = (np.array([moment], dtype=np.int64) for moment in values[3:])
    return Lifetime(events, purchases, value, first, last)


def _content(packed: bytes) -> bytes:
    if not packed or packed[0] != PACKING:
        raise UnknownPackingError(f"expected bytes packed in version {PACKING}, received {packed[:1]!r}")
    return packed[1:]


def _parse_window(user_id: str, item: Item) -> UserWindow:
    recent = unpack(item["data"]["B"], user_id) if item["data"]["B"] else None
    sums = unpack_lifetime(item["sums"]["B"]) if "sums" in item else None
    watermark = (int(item["edge_ms"]["N"]), int(item["edge_key"]["N"])) if "edge_ms" in item else None
    return UserWindow(recent, sums, watermark)
