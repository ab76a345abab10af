"""Events of users and sessions in one DynamoDB table.

    pk             sk                       holds
    user#<id>      window                   the newest events in one packed value, and sums over older ones
    user#<id>      event#<ms>#<event id>    one event that came through the API; its existence makes the call idempotent
    session#<id>   …                        the same for visitors who are not logged in

A reader merges both kinds in one query, and writes nothing. One API event in `COMPACT_EVERY`, and a file that evicts events,
compact a user's event items into the window, in transactions that also mark these items as absorbed. So each event is counted
once, even where a process dies in between. An absorbed item stays for a week, so that a repeated call is recognised.

A window keeps the newest `max_events`. The `max_days` of a bundle count from the moment of a request, so they are applied where
features are computed.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from personalization.core.errors import StateUnavailable
from personalization.core.events import Events, empty_events
from personalization.core.parallel import map_parallel
from personalization.core.schema import EVENT_TYPES
from personalization.core.time import DAY_SECONDS, MISSING_TIME, format_timestamp
from personalization.features import HistoryWindow, Lifetime
from personalization.state.compaction import WindowWriter, add_sums
from personalization.state.dynamodb import Item, Put, StateTable
from personalization.state.event_batch import event_batches, event_keys, merge_batches
from personalization.state.items import EVENT, WINDOW, Kind, event_item, is_expired, parse_user, partition_key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

COMPACT_EVERY: Final = 200
_USERS_PER_BATCH: Final = 25
_ERASE_ROUNDS: Final = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class UserState:
    """events    of one user, by time; none where nothing is stored
    evicted   sums over older events, (1,) each, `None` where there are none
    exists    whether anything is stored
    """

    events: Events
    evicted: Lifetime | None
    exists: bool


@dataclass(frozen=True)
class AppendResult:
    """How many events were new, and how many were stored before."""

    accepted: int
    duplicates: int


@dataclass(frozen=True)
class WindowsWritten:
    """How many users' windows were written, and how many held the same already."""

    written: int
    unchanged: int


class StateStore:
    """Reads and writes the events of users and sessions. Every method raises `StateUnavailable` where the table fails.

    client     with short timeouts and bounded retries; connections for `workers` calls at once
    clock      unix seconds
    ttl_days   days after the last write for which state is kept
    workers    calls at once where many items are written
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        *,
        clock: Callable[[], float] = time.time,
        ttl_days: int = 395,
        workers: int = 16,
        sleep: Callable[[float], None] = time.sleep,
        random: Random | None = None,
    ) -> None:
        self._table = StateTable(client, table, sleep, random or Random())
        self._clock, self._ttl, self._workers = clock, ttl_days * DAY_SECONDS, workers
        self._windows = WindowWriter(self._table, clock, self._ttl)

    def read(self, user_id: str, kind: Kind = "user") -> UserState:
        """The events and sums of a user, in one query. Every event whose `append_events` has returned is among them."""
        stored = self._windows.read(user_id, kind)
        evicted, parts = stored.window.evicted, [stored.window.recent] if stored.window.recent else []
        rows = stored.merged_rows(user_id)
        if rows is not None:
            rows, late = rows.split(stored.window.watermark)
            parts += [rows] if len(rows) else []
            evicted = add_sums(evicted, late)
        events = merge_batches(user_id, parts).events if parts else empty_events([user_id])
        return UserState(events, evicted, bool(parts) or evicted is not None)

    def append_events(
        self,
        events: Events,
        event_ids: Sequence[str | None] | None = None,
        order_ids: Sequence[str | None] | None = None,
        kind: Kind = "user",
    ) -> AppendResult:
        """Store events one by one. A repeat is recognised, so a call that failed half-way may be repeated unchanged.

        event_ids, order_ids   (N,) the shop's own, `None` where there is none
        """
        now = int(self._clock())
        batches = list(event_batches(events, event_ids, order_ids))
        ids = dict(zip(event_keys(events, event_ids).tolist(), event_ids or [None] * len(events), strict=True))
        items = [
            event_item(partition_key(kind, user_id), batch.take(np.array([row])), ids[key], now + self._ttl)
            for user_id, batch in batches
            for row, key in enumerate(batch.keys.tolist())
        ]

        def put(some: list[Item]) -> int:
            condition = "attribute_not_exists(sk) OR expires_at <= :now"
            return sum(self._table.put(Put(item, condition, {":now": now})).held for item in some)

        size = max(1, -(-len(items) // self._workers))
        slices = [items[start : start + size] for start in range(0, len(items), size)]
        accepted = sum(map_parallel(put, slices, self._workers))
        # Chosen by the events themselves: about every two hundredth of a user, without a counter that would cost a write.
        due = [user_id for user_id, batch in batches if ((batch.keys >> np.uint64(12)) % COMPACT_EVERY == 0).any()]
        for _ in map_parallel(lambda user_id: self._try_to_compact(user_id, kind), due, self._workers):
            pass
        return AppendResult(accepted, len(events) - accepted)

    def write_windows(
        self,
        events: Events,
        event_ids: Sequence[str | None] | None = None,
        order_ids: Sequence[str | None] | None = None,
        max_events: int | None = None,
    ) -> WindowsWritten:
        """Merge the events of a file into the windows of its users. The same file again changes nothing.

        All events of a user that a file holds belong in one call. Whether the file is a whole history or an increment is
        decided by comparing, see `compaction`.
        """
        keep = max_events or HistoryWindow().max_events
        batches = event_batches(events, event_ids, order_ids)
        chunks = iter(lambda: list(islice(batches, _USERS_PER_BATCH)), [])
        users = written = 0
        merged = map_parallel(lambda chunk: (len(chunk), self._windows.merge(chunk, keep)), chunks, self._workers)
        for chunk_users, chunk_written in merged:
            users, written = users + chunk_users, written + chunk_written
        return WindowsWritten(written, users - written)

    def export(self, user_id: str, kind: Kind = "user") -> dict[str, Any]:
        """All that the table holds on a user, as JSON for people to read.

        ``events`` one by one, ``older`` sums over evicted events, ``items`` each stored item with its expiry, and with its
        content where that is not among the events.
        """
        now = self._clock()
        items = [item for item in self._table.query(partition_key(kind, user_id)) if not is_expired(item, now)]
        stored = parse_user(user_id, items, now)
        batches = [*([stored.window.recent] if stored.window.recent else []), *stored.rows]
        events = [event for batch in batches for event in _event_rows(batch.events)]
        return {
            "events": sorted(events, key=lambda event: str(event["timestamp"])),
            "older": _sums(stored.window.evicted),
            "items": [_described(item) for item in items],
        }

    def erase(self, user_id: str, kind: Kind = "user") -> dict[str, int]:
        """Remove all items of a user; returns how many of which kind, nothing on a repeat."""
        pk = partition_key(kind, user_id)
        removed: Counter[str] = Counter()
        for _ in range(_ERASE_ROUNDS):  # a write that was under way may arrive after a round
            keys = [(pk, item["sk"]["S"]) for item in self._table.query(pk, keys_only=True)]
            if not keys:
                return dict(removed)
            self._table.delete(keys)
            removed.update(sk.partition("#")[0] for _, sk in keys)
        raise StateUnavailable("new items of the user keep arriving; stop sending events, then erase again")

    def _try_to_compact(self, user_id: str, kind: Kind) -> None:
        try:
            self._windows.compact_user(user_id, kind)
        except StateUnavailable as error:  # the response does not depend on it; a later event tries again
            logger.warning("a user's events were not compacted: %s", error.detail)


def _event_rows(events: Events) -> list[dict[str, Any]]:
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
    first, last = (None if t[0] == MISSING_TIME else format_timestamp(int(t[0])) for t in (sums.first, sums.last))
    return {
        "events": int(sums.events[0]),
        "purchases": int(sums.purchases[0]),
        "value": round(float(sums.value[0]), 6),
        "first": first,
        "last": last,
    }


def _described(item: Item) -> dict[str, Any]:
    sk = item["sk"]["S"]
    described: dict[str, Any] = {"key": sk, "expires_at": format_timestamp(int(item["expires_at"]["N"]) * 1000)}
    if sk != WINDOW and not sk.startswith(EVENT):
        described["content"] = {n: _plain(value) for n, value in item.items() if n not in ("pk", "sk", "expires_at")}
    return described


def _plain(value: dict[str, Any]) -> Any:
    """An attribute value as JSON; of bytes only the number."""
    ((kind, content),) = value.items()
    match kind:
        case "N":
            return int(content) if content.lstrip("-").isdigit() else float(content)
        case "B":
            return {"bytes": len(content)}
        case "M":
            return {name: _plain(part) for name, part in content.items()}
        case _:
            return content
