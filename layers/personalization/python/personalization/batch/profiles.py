"""Interactions: one line for each user, in memory that does not grow with the file.

The first pass over the file shares its events out by user, the second answers for the users of one share after the other.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from personalization.batch.partitions import EventPartitions, Partition, partition_count
from personalization.batch.row_counts import DUPLICATE
from personalization.batch.task import ScoringTask
from personalization.bundles.bundle import Bundle
from personalization.core.events import Events
from personalization.core.schema import INTERACTIONS
from personalization.data import Chunk, ParsedEvents, Reject, RowFault, SeenIds, open_table, parse_events
from personalization.data.duplicates import suspected
from personalization.data.interactions import READ
from personalization.features.lifetime import is_return
from personalization.profiles import predict

USERS_AT_ONCE: Final = 2_048
_LINE: Final = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY


# Events of some users, sorted by user and time, and the moment of the question → one line for each user.
Answer = Callable[[Events, int], list[dict[str, Any]]]


def score(bundle: Bundle, task: ScoringTask) -> None:
    """One line for each user: the profile as of `task.as_of`, or of the newest timestamp in the file."""

    def answer(events: Events, as_of: int) -> list[dict[str, Any]]:
        found = predict.describe(bundle, events, as_of)
        if task.on_profiles:
            task.on_profiles(found)
        return found

    score_users(bundle, task, answer)


def score_users(bundle: Bundle, task: ScoringTask, answer: Answer) -> None:
    """One line for each user, whatever `answer` says of them."""
    with (
        tempfile.TemporaryDirectory(dir=task.temp_dir) as directory,
        EventPartitions(Path(directory), partition_count(task.path)) as spill,
    ):
        newest = _share_out(bundle, task, spill)
        task.row_counts.check(task.max_reject_share)
        task.row_counts.as_of = newest if task.as_of is None else task.as_of
        task.row_counts.users = 0
        for number in range(spill.count):
            _answer(task, spill.share(number), answer)


def _share_out(bundle: Bundle, task: ScoringTask, spill: EventPartitions) -> int | None:
    """First pass; the newest timestamp, `None` where there is no event."""
    reader = open_table(task.path, mapping=task.mapping, kind=INTERACTIONS.kind, only=READ)
    row_counts = task.row_counts
    row_counts.kind = reader.kind
    seen = SeenIds()
    newest: int | None = None
    for chunk in reader.chunks():
        parsed = parse_events(chunk.columns, len(chunk), bundle.encoder.zone, bad_cells=task.on_bad_row, seen=seen)
        task.reject(_rejects(chunk, parsed))
        row_counts.rows_in += len(chunk) + len(chunk.rejects)
        row_counts.rows_used += len(parsed.events)
        row_counts.duplicates += len(parsed.duplicates)
        row_counts.returns += int(is_return(parsed.events).sum())
        if len(parsed.events):
            newest = max(newest or 0, int(parsed.events.timestamp.max()))
            spill.add(parsed)
    return newest


def _rejects(chunk: Chunk, parsed: ParsedEvents) -> list[Reject]:
    """One for each row that is no event, with its first fault."""
    first: dict[int, RowFault] = {}
    for fault in parsed.faults:
        first.setdefault(fault.row, fault)
    bad = [chunk.reject(fault.row, fault.column, fault.reason) for fault in first.values()]
    return chunk.rejects + bad + [chunk.reject(row, "event_id", DUPLICATE) for row in parsed.duplicates]


def _answer(task: ScoringTask, share: Partition, answer: Answer) -> None:
    """Second pass over some of the users."""
    if not len(share.events):
        return
    row_counts = task.row_counts
    identified = np.array([event_id is not None for event_id in share.event_ids], dtype=bool)
    row_counts.suspected += suspected(share.events, identified)
    row_counts.users = (row_counts.users or 0) + len(share.events.users)
    for events in _by_users(share.events, USERS_AT_ONCE):
        found = answer(events, row_counts.as_of or 0)
        task.output.lines(b"".join(orjson.dumps(line, option=_LINE) for line in found), len(found))
    if task.on_events:
        task.on_events(share)


def _by_users(events: Events, count: int) -> Iterator[Events]:
    """The events of `count` users after the other, in their order."""
    events = events.sorted()
    offsets = events.offsets()
    for first, stop in pairwise([*range(0, len(events.users), count), len(events.users)]):
        rows = np.arange(offsets[first], offsets[stop])
        some = events.take(rows)
        yield replace(some, user=some.user - np.int32(first), users=events.users[first:stop])
