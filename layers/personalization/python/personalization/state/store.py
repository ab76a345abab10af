"""What is known of users and sessions, in one DynamoDB table.

    pk             sk                       holds
    user#<id>      window                   the newest events in one packed value, and sums over older ones
    user#<id>      event#<ms>#<event id>    one event that came through the API; its existence makes the call idempotent
    session#<id>   …                        the same for shoppers without a name

A reader merges both kinds in one query, and writes nothing. One API event in `FOLD_EVERY`, and a file that pushes events out
of the window, fold a user's rows into the window, in transactions that also mark them as absorbed, so that each event is
counted once whatever happens in between. An absorbed row stays for a week: long enough for a repeated call to be recognised.

A window keeps the newest `max_events`. The `max_days` of a bundle count from the moment of a question, so they are applied
where features are computed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from personalization.core.errors import StateUnavailable
from personalization.core.events import Events, empty_events
from personalization.core.parallel import map_parallel
from personalization.core.time import DAY_SECONDS
from personalization.features import Lifetime, Window, lifetime
from personalization.state import user_data
from personalization.state.compaction import split_late
from personalization.state.dynamodb import Item, StateTable
from personalization.state.event_batch import EventBatch, event_batches, joined
from personalization.state.event_keys import event_keys
from personalization.state.items import Kind, event_item, event_sort_key, gathered, partition, single_rows
from personalization.state.windows import WindowWriter

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

FOLD_EVERY: Final = 200
USERS_AT_ONCE: Final = 25

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class UserState:
    """events    of one user, by time; none where nothing is known
    evicted   sums over older events, (1,) each, `None` where there are none
    known     whether anything is stored
    """

    events: Events
    evicted: Lifetime | None
    known: bool


@dataclass(frozen=True)
class Appended:
    """How many events were new, and how many were there already."""

    accepted: int
    duplicates: int


@dataclass(frozen=True)
class Written:
    """How many users' windows were written, and how many told the same already."""

    users: int
    unchanged: int


class StateStore:
    """Reads and writes state. Every method raises `StateUnavailable` where the table does not answer in time.

    client          with short timeouts and bounded retries
    ttl_days        after which what is written now expires
    clock           unix seconds
    sleep, random   for the waits between tries
    workers         threads that write at the same time; the client's connection pool should hold as many
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        *,
        ttl_days: int = 395,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        random: Random | None = None,
        workers: int = 16,
    ) -> None:
        self._table = StateTable(client, table, sleep, random or Random())
        self._clock, self._ttl, self._workers = clock, ttl_days * DAY_SECONDS, workers
        self._windows = WindowWriter(self._table, clock, self._ttl)

    def read(self, user_id: str, kind: Kind = "user") -> UserState:
        """What is known of a user, in one query; an event whose `append_events` has answered is among it."""
        known = self._windows.remembered(user_id, kind)
        evicted, parts = known.memory.evicted, [known.memory.recent] if known.memory.recent else []
        rows = gathered(user_id, known.fresh)
        if rows is not None:
            rows, late = split_late(rows, known.memory.boundary)
            parts += [rows] if len(rows) else []
            if len(late):
                sums = lifetime(late.events)
                evicted = evicted.merge(sums) if evicted else sums
        events = joined(user_id, parts).events if parts else empty_events([user_id])
        return UserState(events, evicted, bool(parts) or evicted is not None)

    def append_events(
        self,
        events: Events,
        event_ids: Sequence[str | None] | None = None,
        order_ids: Sequence[str | None] | None = None,
        kind: Kind = "user",
    ) -> Appended:
        """Store events one by one. A repeat is recognised, so a call that failed half-way may be repeated as it was.

        event_ids, order_ids   the shop's own, aligned with the events, `None` where there is none
        """
        now = int(self._clock())
        deliveries = list(event_batches(events, event_ids, order_ids))
        ids: dict[int, str | None] = {}
        if event_ids is not None:
            ids = dict(zip(event_keys(events, event_ids).tolist(), event_ids, strict=True))
        items = [
            event_item(partition(kind, user_id), _sort_key(row, ids), row, now + self._ttl)
            for user_id, delivered in deliveries
            for row in single_rows(delivered)
        ]
        moment = {":now": {"N": str(now)}}

        def put(some: list[Item]) -> int:
            return sum(self._table.put(item, "attribute_not_exists(sk) OR expires_at <= :now", moment) for item in some)

        share = max(1, -(-len(items) // self._workers))
        slices = [items[start : start + share] for start in range(0, len(items), share)]
        accepted = sum(map_parallel(put, slices, self._workers))
        # Chosen by the events themselves: about every two hundredth of a user, without a counter that would cost a write.
        due = [user_id for user_id, delivered in deliveries if ((delivered.keys >> np.uint64(12)) % FOLD_EVERY == 0).any()]
        for _ in map_parallel(lambda user_id: self._fold_quietly(user_id, kind), due, self._workers):
            pass
        return Appended(accepted, len(events) - accepted)

    def write_windows(
        self,
        events: Events,
        event_ids: Sequence[str | None] | None = None,
        order_ids: Sequence[str | None] | None = None,
        max_events: int | None = None,
    ) -> Written:
        """Merge the events of a file into the windows of its users.

        All events of a user that a file holds belong in one call. Whether the file is a whole history or an increment is
        found out by comparing (`folding` says how). The same file again changes nothing.
        """
        keep = max_events or Window().max_events
        deliveries = event_batches(events, event_ids, order_ids)
        chunks = iter(lambda: list(islice(deliveries, USERS_AT_ONCE)), [])
        users = written = 0
        for users_now, written_now in map_parallel(lambda c: (len(c), self._windows.merge(c, keep)), chunks, self._workers):
            users, written = users + users_now, written + written_now
        return Written(written, users - written)

    def everything(self, user_id: str, kind: Kind = "user") -> dict[str, Any]:
        """All that is stored on a user, see `access.everything`."""
        return user_data.everything(self._table, user_id, kind, self._clock())

    def erase(self, user_id: str, kind: Kind = "user") -> dict[str, int]:
        """Remove all that is stored on a user; how many items of which kind."""
        return user_data.erase(self._table, user_id, kind)

    def _fold_quietly(self, user_id: str, kind: Kind) -> None:
        try:
            self._windows.fold(user_id, kind)
        except StateUnavailable as error:  # the answer does not depend on it; a later event tries again
            logger.warning("rows were not folded into a window: %s", error.detail)


def _sort_key(row: EventBatch, ids: Mapping[int, str | None]) -> str:
    key = int(row.keys[0])
    return event_sort_key(int(row.events.timestamp[0]), ids.get(key), key)
