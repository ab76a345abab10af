"""Writing a user's window: merge, write under a condition, try again where somebody was faster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from personalization.core.errors import Conflict, StateUnavailable
from personalization.core.time import DAY_SECONDS
from personalization.state.compaction import UserWindow, fold
from personalization.state.dynamodb import WRITE_TOGETHER, Item, StateTable
from personalization.state.event_batch import EventBatch
from personalization.state.items import (
    WINDOW,
    Kind,
    StoredUser,
    gathered,
    parse_items,
    partition,
    same_content,
    window_item,
)

REPEAT_DAYS: Final = 7
TRIES: Final = 6
_ROWS_AT_ONCE: Final = WRITE_TOGETHER - 1  # beside the window itself

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WindowWriter:
    """table   of state
    clock   unix seconds
    ttl     seconds after which a window that is written now expires
    """

    table: StateTable
    clock: Callable[[], float]
    ttl: int

    def remembered(self, user_id: str, kind: Kind) -> StoredUser:
        return parse_items(user_id, self.table.query(partition(kind, user_id)), self.clock())

    def merge(self, deliveries: Sequence[tuple[str, EventBatch]], max_events: int) -> int:
        """Merge the events of a file into the windows of some users; how many windows had to be written."""
        found = self.table.get([(partition("user", user_id), WINDOW) for user_id, _ in deliveries])
        written = 0
        for user_id, delivered in deliveries:
            pk = partition("user", user_id)
            item = found.get((pk, WINDOW))
            known = parse_items(user_id, [item] if item else [], self.clock())
            memory = fold(user_id, known.memory, delivered, None, max_events)
            outcome = None
            if memory.pushed_out == known.memory.pushed_out:
                # Nothing leaves the window, so rows that were not looked at stay what they are: recent, or late.
                outcome = self._put(pk, known, memory, max_events)
            written += self.fold(user_id, "user", delivered, max_events) if outcome is None else outcome
        return written

    def fold(self, user_id: str, kind: Kind, delivered: EventBatch | None = None, max_events: int | None = None) -> bool:
        """Take all of a user's rows, and a delivery, into the window; whether anything had to be written.

        max_events   as the window was written before, where it is `None`

        More rows than one transaction holds are taken in several. Nothing is pushed out before the last of them, so a row
        that waits for its turn is never mistaken for a late one.
        """
        pk = partition(kind, user_id)
        tried = 0
        while tried < TRIES:
            known = self.remembered(user_id, kind)
            keep = max_events or known.max_events
            rows, fresh = known.rows[:_ROWS_AT_ONCE], gathered(user_id, known.fresh[:_ROWS_AT_ONCE])
            last = len(rows) == len(known.rows)
            memory = fold(user_id, known.memory, delivered if last else None, fresh, keep if last else None)
            try:
                if rows:
                    self._absorb(pk, known, memory, keep, rows)
                    if last:
                        return True
                    continue
                outcome = self._put(pk, known, memory, keep)
                if outcome is not None:
                    return outcome
            except Conflict:
                logger.info("a window was changed in between; trying again")
            self.table.wait(tried)
            tried += 1
        raise StateUnavailable(f"a user's window was changed by others {TRIES} times in a row")

    def _put(self, pk: str, known: StoredUser, memory: UserWindow, max_events: int) -> bool | None:
        """Whether the window had to be written; `None` where somebody else was faster."""
        item = self._item(pk, memory, max_events)
        if known.item and same_content(item, known.item):
            lives_on = int(known.item["expires_at"]["N"]) - self.clock()
            if lives_on > self.ttl / 2:
                return False
        condition, values = _unchanged(known)
        return True if self.table.put(item, condition, values) else None

    def _absorb(self, pk: str, known: StoredUser, memory: UserWindow, max_events: int, rows: Sequence[str]) -> None:
        """Write the window and mark its rows, together or not at all. Raises `Conflict`."""
        condition, values = _unchanged(known)
        put: dict[str, Any] = {
            "TableName": self.table.name,
            "Item": self._item(pk, memory, max_events),
            "ConditionExpression": condition,
        }
        if values:
            put["ExpressionAttributeValues"] = values
        until = str(int(self.clock()) + REPEAT_DAYS * DAY_SECONDS)
        marks = [
            {
                "Update": {
                    "TableName": self.table.name,
                    "Key": {"pk": {"S": pk}, "sk": {"S": sk}},
                    "UpdateExpression": "SET absorbed = :yes, expires_at = :until REMOVE #data",
                    "ConditionExpression": "attribute_exists(sk)",  # a row erased in between must not come back
                    "ExpressionAttributeNames": {"#data": "data"},
                    "ExpressionAttributeValues": {":yes": {"BOOL": True}, ":until": {"N": until}},
                }
            }
            for sk in rows
        ]
        self.table.write_together([{"Put": put}, *marks])

    def _item(self, pk: str, memory: UserWindow, max_events: int) -> Item:
        token = f"{self.table.random.getrandbits(64):016x}"
        return window_item(pk, memory, token, max_events, int(self.clock()) + self.ttl)


def _unchanged(known: StoredUser) -> tuple[str, dict[str, Any]]:
    """The condition that the window item is still the one that was read."""
    if known.version is None:
        return "attribute_not_exists(sk)", {}
    return "v = :v", {":v": {"S": known.version}}
