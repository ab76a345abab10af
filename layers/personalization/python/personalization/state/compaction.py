"""Compaction: how the files and API events of a user become one window, and how the window is written.

A window holds the newest events one by one, the sums over all evicted ones, and the watermark between the two: the newest
evicted event. Above the watermark a repeated event is recognised by its key, so any order of deliveries gives the same
events. Below it only sums are known:

* File events below the watermark are taken to be in the sums already and are not counted again, unless the file covers the
  user's history better: it begins no later and holds at least as many older events. Then its sums replace those of the window.
* API events below the watermark are late. Each was stored as an item once, and is added to the sums once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from personalization.core.errors import Conflict, StateUnavailable
from personalization.core.time import DAY_SECONDS
from personalization.features import Lifetime, lifetime
from personalization.state.dynamodb import MAX_TRANSACTION, Item, Put, StateTable, Update
from personalization.state.event_batch import EventBatch, merge_batches
from personalization.state.items import (
    WINDOW,
    Kind,
    StoredUser,
    UserWindow,
    parse_user,
    partition_key,
    same_content,
    window_item,
)

# An item may hold 400 KB; beyond this many packed bytes older events are evicted, whatever the window allows.
MAX_PACKED_BYTES: Final = 300_000
REPEAT_DAYS: Final = 7  # for which the item of a compacted event stays, so that a repeated call is recognised
TRIES: Final = 6
_ROWS: Final = MAX_TRANSACTION - 1  # beside the window itself

logger = logging.getLogger(__name__)


def compact_window(
    user_id: str, window: UserWindow, delivered: EventBatch | None, rows: EventBatch | None, max_events: int | None
) -> UserWindow:
    """The window after a delivery.

    delivered    a user's events of one file
    rows         API events that are not in the window yet
    max_events   events that are kept one by one; `None` evicts nothing
    """
    evicted, parts = window.evicted, [window.recent] if window.recent else []
    replaced = np.zeros(0, dtype=np.uint64)
    if delivered is not None:
        delivered, older = delivered.split(window.watermark)
        if len(older) and _covers(older, evicted):
            replaced, evicted = older.keys, lifetime(older.events)
        parts.append(delivered)
    if rows is not None:
        rows, late = rows.split(window.watermark)
        late = late.take(~np.isin(late.keys, replaced))
        evicted = add_sums(evicted, late)
        parts.append(rows)
    parts = [part for part in parts if len(part)]
    if not parts:
        return replace(window, evicted=evicted)
    return _evict(UserWindow(merge_batches(user_id, parts), evicted, window.watermark), max_events)


def add_sums(sums: Lifetime | None, batch: EventBatch) -> Lifetime | None:
    """The sums with the events of a batch added."""
    if not len(batch):
        return sums
    return sums.merge(lifetime(batch.events)) if sums else lifetime(batch.events)


@dataclass(frozen=True)
class WindowWriter:
    """Writes windows under the condition that nobody wrote in between, and tries again where somebody did.

    clock   unix seconds
    ttl     seconds after which a window that is written now expires
    """

    table: StateTable
    clock: Callable[[], float]
    ttl: int

    def read(self, user_id: str, kind: Kind) -> StoredUser:
        """All items of a user, parsed."""
        return parse_user(user_id, self.table.query(partition_key(kind, user_id)), self.clock())

    def merge(self, deliveries: Sequence[tuple[str, EventBatch]], max_events: int) -> int:
        """Merge the events of a file into the windows of some users; returns how many windows had to be written."""
        items = self.table.get([(partition_key("user", user_id), WINDOW) for user_id, _ in deliveries])
        written = 0
        for user_id, delivered in deliveries:
            item = items.get((partition_key("user", user_id), WINDOW))
            stored = parse_user(user_id, [item] if item else [], self.clock())
            window = compact_window(user_id, stored.window, delivered, None, max_events)
            # Where nothing is evicted, event items that were not read stay what they are: recent, or late.
            changed = self._put(user_id, "user", stored, window, max_events) if _same_sums(window, stored.window) else None
            written += self.compact_user(user_id, "user", delivered, max_events) if changed is None else changed
        return written

    def compact_user(
        self, user_id: str, kind: Kind, delivered: EventBatch | None = None, max_events: int | None = None
    ) -> bool:
        """Take all API events of a user, and the events of a file, into the window; returns whether anything was written.

        max_events   as the window was written before, where it is `None`

        More items than one transaction holds are taken in several. Nothing is evicted before the last of them, so an event
        that waits for its turn is never mistaken for a late one. Raises `StateUnavailable`.
        """
        attempt = 0
        while attempt < TRIES:
            stored = self.read(user_id, kind)
            keep = max_events or stored.max_events
            sort_keys, rows = stored.sort_keys[:_ROWS], stored.merged_rows(user_id, _ROWS)
            last = len(sort_keys) == len(stored.sort_keys)
            window = compact_window(user_id, stored.window, delivered if last else None, rows, keep if last else None)
            try:
                if sort_keys:
                    self._absorb(user_id, kind, stored, window, keep, sort_keys)
                    if last:
                        return True
                    continue
                changed = self._put(user_id, kind, stored, window, keep)
                if changed is not None:
                    return changed
            except Conflict:
                logger.info("a window was changed in between; trying again")
            self.table.wait(attempt)
            attempt += 1
        raise StateUnavailable(f"a user's window was changed by others {TRIES} times in a row")

    def _put(self, user_id: str, kind: Kind, stored: StoredUser, window: UserWindow, max_events: int) -> bool | None:
        """Whether the window had to be written; `None` where somebody else was faster."""
        item = self._item(user_id, kind, window, max_events)
        if stored.item and same_content(item, stored.item):
            lives_on = int(stored.item["expires_at"]["N"]) - self.clock()
            if lives_on > self.ttl / 2:
                return False
        return True if self.table.put(_put_unchanged(item, stored)).held else None

    def _absorb(
        self, user_id: str, kind: Kind, stored: StoredUser, window: UserWindow, max_events: int, sort_keys: Sequence[str]
    ) -> None:
        """Write the window and mark the items of its events, together or not at all. Raises `Conflict`."""
        until = int(self.clock()) + REPEAT_DAYS * DAY_SECONDS
        marks = [
            Update(
                partition_key(kind, user_id),
                sk,
                "SET absorbed = :yes, expires_at = :until REMOVE #data",
                "attribute_exists(sk)",  # an item erased in between must not come back
                {":yes": True, ":until": until},
                {"#data": "data"},
            )
            for sk in sort_keys
        ]
        self.table.transact([_put_unchanged(self._item(user_id, kind, window, max_events), stored), *marks])

    def _item(self, user_id: str, kind: Kind, window: UserWindow, max_events: int) -> Item:
        """The window item; one too large for DynamoDB loses the older half of its events to the sums, until it fits."""
        pk, version = partition_key(kind, user_id), f"{self.table.random.getrandbits(64):016x}"
        while True:
            item = window_item(pk, window, version, max_events, int(self.clock()) + self.ttl)
            if len(item["data"]["B"]) <= MAX_PACKED_BYTES or window.recent is None:
                return item
            window = _evict(window, len(window.recent) // 2)


def _put_unchanged(item: Item, stored: StoredUser) -> Put:
    """Write a window item if the one that was read is still there."""
    if stored.item is None:
        return Put(item, "attribute_not_exists(sk)")
    return Put(item, "v = :v", {":v": stored.item["v"]["S"]})


def _evict(window: UserWindow, max_events: int | None) -> UserWindow:
    recent = window.recent
    if recent is None or max_events is None or len(recent) <= max_events:
        return window
    by_age = np.lexsort((recent.keys, recent.events.timestamp))
    out, kept = by_age[: len(recent) - max_events], np.sort(by_age[len(recent) - max_events :])
    newest = (int(recent.events.timestamp[out[-1]]), int(recent.keys[out[-1]]))
    watermark = max(newest, window.watermark or newest)
    return UserWindow(recent.take(kept), add_sums(window.evicted, recent.take(np.sort(out))), watermark)


def _covers(older: EventBatch, evicted: Lifetime | None) -> bool:
    """Whether the older events of a file cover at least the history that the sums do."""
    return evicted is None or bool(older.events.timestamp[0] <= evicted.first[0] and len(older) >= evicted.events[0])


def _same_sums(one: UserWindow, other: UserWindow) -> bool:
    sums = [
        (s.events.item(), s.purchases.item(), s.value.item(), s.first.item()) if s else None
        for s in (one.evicted, other.evicted)
    ]
    return one.watermark == other.watermark and sums[0] == sums[1]
