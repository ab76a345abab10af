"""How state looks in the table: keys, attributes, expiry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from personalization.features import Window
from personalization.state.compaction import MAX_PACKED_BYTES, UserWindow, shrunk
from personalization.state.dynamodb import Item
from personalization.state.event_batch import EventBatch, joined
from personalization.state.packing import pack, pack_lifetime, unpack, unpack_lifetime

Kind = Literal["user", "session"]

WINDOW: Final = "window"
EVENT: Final = "event#"
_LONGEST_SORT_KEY_ID: Final = 512  # bytes; DynamoDB's limit for the whole key is 1024


@dataclass(frozen=True)
class StoredUser:
    """One user's items, understood.

    memory       of the window item
    version      token of the window item, `None` where there is none
    item         the window item itself
    rows         sort keys of the rows that are in no memory yet, and `fresh`, their events in the same order
    max_events   with which the window was written
    """

    memory: UserWindow
    version: str | None
    item: Item | None
    rows: tuple[str, ...]
    fresh: tuple[EventBatch, ...]
    max_events: int


def partition(kind: Kind, user_id: str) -> str:
    return f"{kind}#{user_id}"


def event_sort_key(moment: int, event_id: str | None, key: int) -> str:
    """Sort key of an API event; one without an id, or with a very long one, goes by its hash."""
    if not event_id or len(event_id.encode()) > _LONGEST_SORT_KEY_ID:
        event_id = f"~{key:016x}"
    return f"{EVENT}{moment:013d}#{event_id}"


def event_item(pk: str, sk: str, event: EventBatch, expires_at: int) -> Item:
    """The row of one API event; its key is stated, for the row alone does not tell the n-th copy."""
    return {"pk": {"S": pk}, "sk": {"S": sk}, "data": {"B": pack(event)}, "expires_at": {"N": str(expires_at)}}


def window_item(pk: str, memory: UserWindow, version: str, max_events: int, expires_at: int) -> Item:
    """The window item of a memory; one too large for DynamoDB loses its oldest events to the sums."""
    packed = pack(memory.recent) if memory.recent else b""
    while len(packed) > MAX_PACKED_BYTES and memory.recent:
        memory = shrunk(memory)
        packed = pack(memory.recent) if memory.recent else b""
    item: Item = {
        "pk": {"S": pk},
        "sk": {"S": WINDOW},
        "v": {"S": version},
        "data": {"B": packed},
        "max_events": {"N": str(max_events)},
        "expires_at": {"N": str(expires_at)},
    }
    if memory.evicted is not None:
        item["sums"] = {"B": pack_lifetime(memory.evicted)}
    if memory.boundary is not None:
        item["edge_ms"], item["edge_key"] = ({"N": str(part)} for part in memory.boundary)
    return item


def expired(item: Item, now: float) -> bool:
    """DynamoDB removes expired items within days, not at once."""
    return "expires_at" in item and int(item["expires_at"]["N"]) <= now


def parse_items(user_id: str, items: Sequence[Item], now: float) -> StoredUser:
    """The window and the rows among a user's items; others are passed over."""
    memory, version, window = UserWindow(), None, None
    max_events = Window().max_events
    rows: list[str] = []
    fresh: list[EventBatch] = []
    for item in items:
        sk = item["sk"]["S"]
        if sk == WINDOW:
            window, version = item, item["v"]["S"]
            if not expired(item, now):
                memory, max_events = _memory(user_id, item), int(item["max_events"]["N"])
        elif sk.startswith(EVENT) and "absorbed" not in item and not expired(item, now):
            rows.append(sk)
            fresh.append(unpack(item["data"]["B"], user_id))
    return StoredUser(memory, version, window, tuple(rows), tuple(fresh), max_events)


def gathered(user_id: str, rows: Sequence[EventBatch]) -> EventBatch | None:
    """The rows' events in one journal, each once."""
    return joined(user_id, rows) if rows else None


def same_content(one: Item, other: Item) -> bool:
    """Whether two window items tell the same."""
    told = ("data", "sums", "edge_ms", "edge_key", "max_events")
    return all(_plain(one.get(name)) == _plain(other.get(name)) for name in told)


def plain(value: dict[str, Any]) -> Any:
    """An attribute value as JSON holds it; bytes are only counted."""
    ((kind, content),) = value.items()
    match kind:
        case "N":
            number = float(content)
            return int(content) if number.is_integer() and "." not in content and "E" not in content else number
        case "B":
            return {"bytes": len(content)}
        case "M":
            return {name: plain(part) for name, part in content.items()}
        case "L":
            return [plain(part) for part in content]
        case "NULL":
            return None
        case _:
            return content


def _plain(value: dict[str, Any] | None) -> Any:
    return value and next(iter(value.values()))


def _memory(user_id: str, item: Item) -> UserWindow:
    recent = unpack(item["data"]["B"], user_id) if item["data"]["B"] else None
    sums = unpack_lifetime(item["sums"]["B"]) if "sums" in item else None
    boundary = (int(item["edge_ms"]["N"]), int(item["edge_key"]["N"])) if "edge_ms" in item else None
    return UserWindow(recent, sums, boundary)


def single_rows(journal: EventBatch) -> list[EventBatch]:
    """Each event of a journal on its own."""
    return [journal.take(np.array([row])) for row in range(len(journal))]
