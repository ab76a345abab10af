"""The events of a dropped file, user by user, in memory that does not grow with the file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from personalization.batch.partitions import EventPartitions, partition_count
from personalization.batch.rejects import reject_rows
from personalization.batch.row_counts import DUPLICATE
from personalization.batch.task import ScoringTask
from personalization.bundles.bundle import Bundle
from personalization.core.errors import RowFault
from personalization.core.events import Events
from personalization.core.schema import INTERACTIONS
from personalization.data import SeenIds, open_table, parse_events
from personalization.data.duplicates import count_suspected_duplicates
from personalization.data.interactions import INPUT_COLUMNS
from personalization.features.orders import is_return

USERS_PER_CHUNK: Final = 2_048


def events_by_user(bundle: Bundle, task: ScoringTask) -> Iterator[Events]:
    """The accepted events of a file, up to `USERS_PER_CHUNK` users at a time, sorted by user and time.

    Rejects bad rows and duplicates, fills in `task.row_counts` (among them `as_of`), and stores the events of each partition
    after its users are answered. Raises `TooManyRejects` before the first users are returned.
    """
    counts = task.row_counts
    with (
        tempfile.TemporaryDirectory(dir=task.temp_dir) as directory,
        EventPartitions(Path(directory), partition_count(task.path)) as partitions,
    ):
        newest = _write_partitions(bundle, task, partitions)
        counts.check(task.max_reject_share)
        counts.as_of = newest if task.as_of is None else task.as_of
        counts.users = 0
        for number in range(partitions.count):
            partition = partitions.take(number)
            if not len(partition.events):
                continue
            identified = np.array([event_id is not None for event_id in partition.event_ids], dtype=bool)
            counts.suspected += count_suspected_duplicates(partition.events, identified)
            counts.users += len(partition.events.users)
            yield from _chunks_of_users(partition.events, USERS_PER_CHUNK)
            if task.dependencies.write_windows:
                task.dependencies.write_windows(bundle, partition)


def _write_partitions(bundle: Bundle, task: ScoringTask, partitions: EventPartitions) -> int | None:
    """The first pass; returns the newest timestamp, `None` where there is no event."""
    reader = open_table(task.path, mapping=task.mapping, kind=INTERACTIONS.kind, only=INPUT_COLUMNS)
    counts, seen = task.row_counts, SeenIds()
    counts.kind = reader.kind
    newest: int | None = None
    for chunk in reader.chunks():
        parsed = parse_events(chunk.columns, len(chunk), bundle.encoder.zone, bad_cells=task.on_bad_row, seen=seen)
        duplicates = [RowFault(row, "event_id", DUPLICATE) for row in parsed.duplicates]
        reject_rows(task, chunk, parsed.faults + duplicates)
        counts.rows_in += len(chunk) + len(chunk.rejects)
        counts.rows_used += len(parsed.events)
        counts.duplicates += len(parsed.duplicates)
        counts.returns += int(is_return(parsed.events).sum())
        if len(parsed.events):
            newest = max(newest or 0, int(parsed.events.timestamp.max()))
            partitions.add(parsed)
    return newest


def _chunks_of_users(events: Events, count: int) -> Iterator[Events]:
    """The events of `count` users at a time, in the order of the users."""
    events = events.sorted()
    offsets = events.offsets()
    for first, stop in pairwise([*range(0, len(events.users), count), len(events.users)]):
        some = events.take(np.arange(offsets[first], offsets[stop]))
        yield replace(some, user=some.user - np.int32(first), users=events.users[first:stop])
