"""Events by user, in memory that does not grow with the file.

A file holds its events in any order, and a user's answer needs all of the user's events. So there are two passes: the first
writes the events into partitions on disk, by a hash of the user id; the second reads one partition after the other.
"""

from __future__ import annotations

import zlib
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from personalization.core.categorical import MISSING, Vocabulary
from personalization.core.events import EVENT_COLUMNS, WORD_LISTS, Events, concatenate, empty_events
from personalization.data.interactions import ParsedEvents, basket_codes

ROWS_PER_PARTITION: Final = 100_000
MAX_PARTITIONS: Final = 256

_EMPTY: Final = empty_events()
_DTYPES: Final = {name: getattr(_EMPTY, name).dtype for name in EVENT_COLUMNS}
_LENGTH_BYTES: Final = 8


@dataclass(frozen=True)
class Partition:
    """All events of some users, in the order of the file.

    events                 E events
    event_ids, order_ids   one id for each event, `None` where it has none
    """

    events: Events
    event_ids: list[str | None]
    order_ids: list[str | None]


class EventPartitions(AbstractContextManager["EventPartitions"]):
    """`count` files in `directory`, one for each partition of the users; closed on exit."""

    def __init__(self, directory: Path, count: int) -> None:
        self.count = count
        self._paths = [directory / f"partition-{number:05d}" for number in range(count)]
        self._open = ExitStack()
        self._files = [self._open.enter_context(path.open("wb")) for path in self._paths]

    def __exit__(self, *_error: object) -> None:
        self._open.close()

    def add(self, parsed: ParsedEvents) -> None:
        """Append events to the partitions of their users."""
        events = parsed.events
        if not len(events):
            return
        partition_of_user = np.array([zlib.crc32(user.encode()) % self.count for user in events.users], dtype=np.int64)
        partition = partition_of_user[events.user]
        order = np.argsort(partition, kind="stable")
        bounds = np.searchsorted(partition[order], np.arange(self.count + 1))
        for number in np.unique(partition).tolist():
            rows = order[bounds[number] : bounds[number + 1]]
            self._files[number].write(_packed(events.take(rows), parsed, rows.tolist()))

    def take(self, number: int) -> Partition:
        """Read one partition and delete its file."""
        path = self._paths[number]
        self._files[number].close()
        raw = memoryview(path.read_bytes())
        path.unlink()
        parts, event_ids, order_ids = [], list[str | None](), list[str | None]()
        at = 0
        while at < len(raw):
            events, ids, orders, at = _unpacked(raw, at)
            parts.append(events)
            event_ids += ids
            order_ids += orders
        events = concatenate(parts) if parts else _EMPTY
        # The events of one basket may come from several chunks of the file.
        order = basket_codes(events.user, Vocabulary().codes(order_ids), events.timestamp)
        return Partition(replace(events, order=order), event_ids, order_ids)


def partition_count(path: Path, compression: int = 6, bytes_per_row: int = 40) -> int:
    """Number of partitions for a file, by its size alone."""
    with path.open("rb") as stream:
        unzipped = path.stat().st_size * (compression if stream.read(2) == b"\x1f\x8b" else 1)
    return min(MAX_PARTITIONS, 1 + unzipped // (bytes_per_row * ROWS_PER_PARTITION))


def _packed(events: Events, parsed: ParsedEvents, rows: list[int]) -> bytes:
    """A length, a JSON header with the texts, and the columns that are not empty."""
    events = events.compact()
    columns = {name: getattr(events, name) for name in EVENT_COLUMNS if name != "order"}
    if np.array_equal(events.received_at, events.timestamp):
        del columns["received_at"]
    columns = {name: column for name, column in columns.items() if not _is_empty(column)}
    header: dict[str, Any] = {"rows": len(events), "columns": list(columns)}
    header |= {words: getattr(events, words) for words in WORD_LISTS.values()}
    for name in ("event_ids", "order_ids"):
        ids = [getattr(parsed, name)[row] for row in rows]
        header[name] = ids if any(ids) else None
    head = orjson.dumps(header)
    return b"".join([len(head).to_bytes(_LENGTH_BYTES, "little"), head, *(c.tobytes() for c in columns.values())])


def _unpacked(raw: memoryview, at: int) -> tuple[Events, list[str | None], list[str | None], int]:
    end = at + _LENGTH_BYTES + int.from_bytes(raw[at : at + _LENGTH_BYTES], "little")
    header = orjson.loads(raw[at + _LENGTH_BYTES : end])
    rows = header["rows"]
    columns: dict[str, Any] = {}
    for name in EVENT_COLUMNS:
        dtype = _DTYPES[name]
        if name in header["columns"]:
            size = rows * dtype.itemsize
            columns[name] = np.frombuffer(raw[end : end + size], dtype=dtype)
            end += size
        else:
            columns[name] = np.full(rows, np.nan if dtype.kind == "f" else MISSING, dtype=dtype)
    if "received_at" not in header["columns"]:
        columns["received_at"] = columns["timestamp"]
    events = Events(**columns, **{words: header[words] for words in WORD_LISTS.values()})
    event_ids, order_ids = ([*(header[name] or [None] * rows)] for name in ("event_ids", "order_ids"))
    return events, event_ids, order_ids, end


def _is_empty(column: np.ndarray[Any, Any]) -> bool:
    return bool(np.isnan(column).all()) if column.dtype.kind == "f" else column.dtype == np.int32 and bool((column < 0).all())
