"""Interactions of a shop, merged from as many files and channels as it has into one log of events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core import cells
from personalization.core.categorical import Vocabulary
from personalization.core.errors import InvalidInput
from personalization.core.events import EVENT_COLUMNS, Events, empty_events
from personalization.core.schema import EVENT_TYPES, INTERACTIONS
from personalization.data import ParsedEvents, SeenIds, parse_events
from personalization.data.duplicates import count_suspected_duplicates
from personalization.data.interactions import INPUT_COLUMNS, basket_codes
from training.io.cleaning import clean
from training.io.tables import TableChunk, read_chunks

# Column of codes → the list of words that the codes index.
_WORDS: Final = {"user": "users", "item": "items", "category": "categories", "channel": "channels"}
_NO_ORDER: Final = -1


@dataclass(frozen=True)
class InteractionData:
    """events     of all files, in the order of the files
    report     counts of rows, for `metrics.json`; it holds no ids and no cells
    currency   the most frequent one, None where no row has one
    """

    events: Events
    report: dict[str, Any]
    currency: str | None


def read_interactions(
    paths: Sequence[Path],
    *,
    mapping: Mapping[str, str] | None = None,
    user_ids: Mapping[str, str] | None = None,
    zone: tzinfo = UTC,
    now: datetime | None = None,
) -> InteractionData:
    """Read and merge files of interactions, drop repeated events by `event_id`, and clean.

    paths      CSV, CSV.gz, JSON Lines or Parquet; a mapping beside a file (``<file>.map.json``) wins over `mapping`
    user_ids   other id → user_id, for channels with user ids of their own
    zone       of timestamps without an offset
    now        see `cleaning.clean`

    Raises `InvalidInput` where a file holds no interactions, or no row can be used.
    """
    log, seen = _EventLog(user_ids or {}), SeenIds()
    files, total = [], _RowCounts()
    for path in paths:
        counts = _RowCounts()
        for chunk in read_chunks(path, INTERACTIONS.required, mapping=mapping, only=INPUT_COLUMNS, zone=zone):
            parsed = parse_events(chunk.columns, chunk.rows, zone, seen=seen)
            log.append(parsed)
            counts.add(chunk, parsed)
        files.append(
            {
                "file": path.name,
                "rows": counts.rows,
                "used": counts.used,
                "rejected": counts.rejected.total(),
                "duplicates": counts.duplicates,
            }
        )
        total.used += counts.used
        total.rejected += counts.rejected
        total.currencies += counts.currencies
    if not total.used:
        reasons = "; ".join(f"{reason} ({count} rows)" for reason, count in total.rejected.most_common(4))
        raise InvalidInput(f"none of the rows is an interaction: {reasons or 'the files have no rows'}")
    events, has_event_id = log.merged()
    copies = count_suspected_duplicates(events, has_event_id)
    events, cleaned = clean(events, now or datetime.now(UTC))
    report: dict[str, Any] = {
        "files": files,
        "rejected": dict(total.rejected.most_common()),
        "suspected_duplicates": copies,
        "cleaned": cleaned,
        **_contents(events),
    }
    if user_ids:
        report["id_map"] = {"ids": len(user_ids), "found": len(log.renamed)}
    if len(total.currencies) > 1:
        report["warning"] = (
            f"values in {', '.join(sorted(total.currencies))} are added up as if they were one currency: convert them first"
        )
    return InteractionData(events, report, total.currencies.most_common(1)[0][0] if total.currencies else None)


def without_cell(reason: str) -> str:
    """The reason of a reject without the cell that it quotes: reports count reasons, and a cell may be personal."""
    return reason.partition(", received '")[0].partition(', received "')[0]


@dataclass
class _RowCounts:
    rows: int = 0
    used: int = 0
    duplicates: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    currencies: Counter[str] = field(default_factory=Counter)

    def add(self, chunk: TableChunk, parsed: ParsedEvents) -> None:
        self.rows += chunk.rows + len(chunk.reject_reasons)
        self.used += len(parsed.events)
        self.duplicates += len(parsed.duplicates)
        self.rejected.update(without_cell(reason) for reason in chunk.reject_reasons)
        first_fault = {fault.row: fault for fault in reversed(parsed.faults)}  # one reason a row
        self.rejected.update(f"{fault.column}: {without_cell(fault.reason)}" for fault in first_fault.values())
        for cell, count in Counter(chunk.columns.get("currency", ())).items():
            if word := cells.word(cell):
                self.currencies[word] += count


class _EventLog:
    """Parsed chunks, merged under common codes; its memory is about that of the result."""

    def __init__(self, user_ids: Mapping[str, str]) -> None:
        self._user_ids = user_ids
        self._vocabularies = {column: Vocabulary() for column in _WORDS}
        self._chunks: dict[str, list[NDArray[Any]]] = {name: [] for name in EVENT_COLUMNS}
        self._has_event_id: list[NDArray[np.bool_]] = []
        self.renamed: set[str] = set()  # other ids that occurred

    def append(self, parsed: ParsedEvents) -> None:
        events = parsed.events
        for column, words_name in _WORDS.items():
            words: Sequence[str] = getattr(events, words_name)
            if column == "user" and self._user_ids:
                self.renamed.update(word for word in words if word in self._user_ids)
                words = [self._user_ids.get(word, word) for word in words]
            recode = np.append(self._vocabularies[column].codes(words), np.int32(-1))
            self._chunks[column].append(recode[getattr(events, column)])  # code −1 picks the appended −1
        for name in EVENT_COLUMNS:
            if name not in _WORDS and name != "order":
                self._chunks[name].append(getattr(events, name))
        # An order may continue in the next chunk: the hash of its id (64 bits, constant within a process) joins the parts.
        hashes = [_NO_ORDER if order is None else hash(order) >> 1 for order in parsed.order_ids]
        self._chunks["order"].append(np.array(hashes, dtype=np.int64))
        self._has_event_id.append(np.fromiter((i is not None for i in parsed.event_ids), dtype=bool, count=len(events)))

    def merged(self) -> tuple[Events, NDArray[np.bool_]]:
        """All events in order, and (N,) which of them have an `event_id`. The log is empty afterwards."""
        fields: dict[str, Any] = {}
        template = empty_events()
        for name in EVENT_COLUMNS:
            chunks = self._chunks.pop(name)  # one column at a time, so that chunks and result never coexist for all
            fields[name] = np.concatenate(chunks) if chunks else getattr(template, name)
        hashes = fields["order"]
        order = np.full(len(hashes), _NO_ORDER, dtype=np.int32)
        has_order = hashes != _NO_ORDER
        order[has_order] = np.unique(hashes[has_order], return_inverse=True)[1]
        fields["order"] = basket_codes(fields["user"], order, fields["timestamp"])
        fields |= {words_name: self._vocabularies[column].words for column, words_name in _WORDS.items()}
        return Events(**fields), np.concatenate([np.zeros(0, dtype=bool), *self._has_event_id])


def _contents(events: Events) -> dict[str, Any]:
    counts = np.bincount(events.event_type, minlength=len(EVENT_TYPES)).tolist()
    times = [int(events.timestamp.min(initial=np.iinfo(np.int64).max)), int(events.timestamp.max(initial=0))]
    first, last = (datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds") for ms in times)
    return {
        "events": len(events),
        "users": len(np.unique(events.user)),
        "items": len(np.unique(events.item)),
        "event_types": {name: count for name, count in zip(EVENT_TYPES, counts, strict=True) if count},
        "first": first,
        "last": last,
    }
