"""What a user may ask of us: everything that is stored about them, and to have it erased."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from personalization.core.errors import StateUnavailable
from personalization.core.events import Events
from personalization.core.schema import EVENT_TYPES
from personalization.core.time import MISSING_TIME, format_timestamp
from personalization.features import Lifetime
from personalization.state.dynamodb import StateTable
from personalization.state.items import EVENT, Kind, expired, parse_items, partition, plain

_ERASING_ROUNDS = 5


def everything(table: StateTable, user_id: str, kind: Kind, now: float) -> dict[str, Any]:
    """All that the table holds on one user, for people to read.

    ``events`` as they were told, ``older`` sums over events no longer kept one by one, ``items`` each stored item with its
    expiry; items of other kinds with their content.
    """
    items = [item for item in table.query(partition(kind, user_id)) if not expired(item, now)]
    known = parse_items(user_id, items, now)
    journals = [known.memory.recent] if known.memory.recent else []
    events = [event for part in (*journals, *known.fresh) for event in event_rows(part.events)]
    return {
        "events": sorted(events, key=lambda event: str(event["timestamp"])),
        "older": _sums(known.memory.evicted),
        "items": [
            {"key": item["sk"]["S"], "expires_at": format_timestamp(int(item["expires_at"]["N"]) * 1000)}
            | ({} if _is_packed(item["sk"]["S"]) else {"content": _content(item)})
            for item in items
        ],
    }


def erase(table: StateTable, user_id: str, kind: Kind) -> dict[str, int]:
    """Remove all items of a user; how many of which kind. Nothing there is no error: a repeat answers zeros."""
    pk = partition(kind, user_id)
    removed: Counter[str] = Counter()
    for _ in range(_ERASING_ROUNDS):  # a write that was under way may come in behind a round
        keys = [(pk, item["sk"]["S"]) for item in table.query(pk, keys_only=True)]
        if not keys:
            return dict(removed)
        table.delete(keys)
        removed.update(sk.partition("#")[0] for _, sk in keys)
    raise StateUnavailable("new items of the user keep coming in; stop sending events, then erase again")


def event_rows(events: Events) -> list[dict[str, Any]]:
    """Events as rows with the columns of an interactions table, missing cells left out."""
    rows = []
    for n in range(len(events)):
        row: dict[str, Any] = {
            "event_type": EVENT_TYPES[events.event_type[n]],
            "timestamp": format_timestamp(int(events.timestamp[n])),
            "received_at": format_timestamp(int(events.received_at[n])),
        }
        for name, words in (("item_id", "items"), ("category", "categories"), ("channel", "channels")):
            code = int(getattr(events, name.removesuffix("_id"))[n])
            if code >= 0:
                row[name] = getattr(events, words)[code]
        for name in ("quantity", "unit_price", "event_value", "view_duration", "rating"):
            value = float(getattr(events, name)[n])
            if not np.isnan(value):
                row[name] = value
        rows.append(row)
    return rows


def _sums(sums: Lifetime | None) -> dict[str, Any] | None:
    if sums is None:
        return None
    first, last = (
        None if moment[0] == MISSING_TIME else format_timestamp(int(moment[0])) for moment in (sums.first, sums.last)
    )
    return {
        "events": int(sums.events[0]),
        "purchases": int(sums.purchases[0]),
        "value": round(float(sums.value[0]), 6),
        "first": first,
        "last": last,
    }


def _is_packed(sk: str) -> bool:
    return sk == "window" or sk.startswith(EVENT)


def _content(item: dict[str, Any]) -> dict[str, Any]:
    return {name: plain(value) for name, value in item.items() if name not in ("pk", "sk", "expires_at")}
