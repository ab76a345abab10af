"""A shop's events from as many files and channels as it has, merged into one; and its tables of items and users."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core import cells
from personalization.core.errors import InvalidInput
from personalization.core.events import Events
from personalization.core.schema import EVENT_TYPES, INTERACTIONS, ITEM_ID, USER_ID, table_kind
from personalization.data import ParsedEvents, SeenIds, open_table, parse_events, parse_mapping
from personalization.data.duplicates import suspected
from personalization.data.interactions import READ
from training.io.cleaning import clean
from training.io.event_collector import EventCollector
from training.io.parquet import is_parquet, open_parquet

MAPPING_SUFFIX: Final = ".map.json"
Chunks = Iterator[tuple[dict[str, Sequence[Any]], int, list[str]]]


@dataclass(frozen=True)
class Sources:
    """Merged events and what became of the rows, for `metrics.json` (counts only: no ids, no cells)."""

    events: Events
    report: dict[str, Any]
    currency: str | None


@dataclass
class _Tally:
    rows: int = 0
    used: int = 0
    duplicates: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    currencies: Counter[str] = field(default_factory=Counter)


def read_interactions(
    paths: Sequence[Path],
    *,
    mapping: Mapping[str, str] | None = None,
    user_ids: Mapping[str, str] | None = None,
    zone: tzinfo = UTC,
    now: datetime | None = None,
) -> Sources:
    """Read and merge files of interactions, drop repeated events by `event_id`, and clean.

    paths      CSV, CSV.gz, JSON Lines or Parquet; a mapping beside a file (``<file>.map.json``) wins over `mapping`
    user_ids   other id → user_id, for channels that know a customer by another name
    zone       of timestamps without an offset
    now        see `cleaning.clean`

    Raises `InvalidInput` where a file holds no interactions, or none of the rows can be used.
    """
    collector, seen = EventCollector(user_ids), SeenIds()
    files, total = [], _Tally()
    for path in paths:
        tally = _Tally()
        for columns, rows, rejects in chunks(path, INTERACTIONS.required, mapping=mapping, only=READ, zone=zone):
            parsed = parse_events(columns, rows, zone, seen=seen)
            collector.add(parsed)
            _count(tally, parsed, rows, rejects, columns.get("currency"))
        files.append(_file_report(path, tally))
        total.used += tally.used
        total.rejected += tally.rejected
        total.currencies += tally.currencies
    if not total.used:
        raise InvalidInput(f"none of the rows is an interaction: {_reasons(total.rejected) or 'the files have no rows'}")
    events, identified = collector.finish()
    copies = suspected(events, identified)
    events, cleaned = clean(events, now or datetime.now(UTC))
    report: dict[str, Any] = {
        "files": files,
        "rejected": dict(total.rejected.most_common()),
        "suspected_duplicates": copies,
        "cleaned": cleaned,
        **_contents(events),
    }
    if user_ids:
        report["id_map"] = {"ids": len(user_ids), "found": len(collector.renamed)}
    if len(total.currencies) > 1:
        words = ", ".join(sorted(total.currencies))
        report["warning"] = f"values in {words} are added up as if they were one currency: convert them first"
    currency = total.currencies.most_common(1)[0][0] if total.currencies else None
    return Sources(events, report, currency)


def read_id_map(path: Path) -> dict[str, str]:
    """Other id → user_id, from a table with a column `user_id` and one more.

    Raises `InvalidInput` for another number of columns, or an other id that stands for two users.
    """
    found: dict[str, str] = {}
    for columns, _, _ in chunks(path, (USER_ID,)):
        others = [name for name in columns if name != USER_ID]
        if len(others) != 1:
            raise InvalidInput(f"{path.name}: expected the columns user_id and one other id, received {', '.join(columns)}")
        for other, user in zip(cells.words(columns[others[0]]), cells.words(columns[USER_ID]), strict=True):
            if other and user and found.setdefault(other, user) != user:
                raise InvalidInput(f"{path.name}: expected each other id once, received one for two users")
    return found


def read_categories(path: Path, mapping: Mapping[str, str] | None = None) -> dict[str, str]:
    """Category by item id, of the items that have one."""
    found: dict[str, str] = {}
    for columns, rows, _ in chunks(path, (ITEM_ID,), mapping=mapping, only={ITEM_ID, "category"}):
        category = cells.words(columns.get("category", [None] * rows))
        pairs = zip(cells.words(columns[ITEM_ID]), category, strict=True)
        found.update((item, word) for item, word in pairs if item and word)
    return found


def read_attributes(
    path: Path,
    users: Sequence[str],
    mapping: Mapping[str, str] | None = None,
    user_ids: Mapping[str, str] | None = None,
    zone: tzinfo = UTC,
) -> dict[str, NDArray[np.object_]]:
    """Columns of the users table, one cell for each of `users`, None where the table does not have the user."""
    place = {user: row for row, user in enumerate(users)}
    renamed = user_ids or {}
    found: dict[str, NDArray[np.object_]] = {}
    for columns, _, _ in chunks(path, (USER_ID,), mapping=mapping, zone=zone):
        words = [renamed.get(word or "", word or "") for word in cells.words(columns[USER_ID])]
        known = [(at, place[word]) for at, word in enumerate(words) if word in place]
        for name, content in columns.items():
            if name != USER_ID:
                column = found.setdefault(name, np.full(len(users), None, dtype=object))
                for at, row in known:
                    column[row] = content[at]
    return found


def chunks(
    path: Path,
    required: Iterable[str],
    *,
    mapping: Mapping[str, str] | None = None,
    only: Iterable[str] | None = None,
    zone: tzinfo = UTC,
) -> Chunks:
    """Columns, number of rows, and the reasons of rejected lines, chunk by chunk, of text or Parquet alike.

    Raises `InvalidInput` where a required column is missing.
    """
    mapping = mapping_of(path, mapping)
    wanted = None if only is None else frozenset(only)
    if is_parquet(path):
        table = open_parquet(path, mapping=mapping, only=wanted, zone=zone)
        _require(path, required, table.columns, table.header)
        for columns, rows in table.chunks():
            yield columns, rows, []
        return
    reader = open_table(path, mapping=mapping, only=wanted)
    _require(path, required, reader.columns, reader.header)
    for chunk in reader.chunks():
        yield chunk.columns, len(chunk), [reject.reason for reject in chunk.rejects]


def mapping_of(path: Path, otherwise: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """The mapping that lies beside a file, or else the one given for all."""
    beside = path.with_name(path.name + MAPPING_SUFFIX)
    return parse_mapping(beside.read_bytes()) if beside.is_file() else otherwise


def _require(path: Path, required: Iterable[str], columns: Sequence[str], header: Sequence[str]) -> None:
    missing = [name for name in required if name not in columns]
    if missing:
        kind = table_kind(set(columns))
        hint = f" (it looks like {kind})" if kind else ""
        raise InvalidInput(
            f"{path.name}: expected the columns {', '.join(required)}; missing: {', '.join(missing)}{hint}. It has "
            f"{', '.join(header[:20])}. --map gives other names: --map {missing[0]}=THEIR_NAME"
        )


def _count(tally: _Tally, parsed: ParsedEvents, rows: int, rejects: list[str], currency: Sequence[Any] | None) -> None:
    tally.rows += rows + len(rejects)
    tally.used += len(parsed.events)
    tally.duplicates += len(parsed.duplicates)
    tally.rejected.update(_bare(reason) for reason in rejects)
    first = {fault.row: fault for fault in reversed(parsed.faults)}  # one reason a row
    tally.rejected.update(f"{fault.column}: {_bare(fault.reason)}" for fault in first.values())
    if currency is not None:
        for cell, count in Counter(currency).items():
            if word := cells.word(cell):
                tally.currencies[word] += count


def _bare(reason: str) -> str:
    """Without the cell: counts are for reports, and a cell may be somebody's."""
    return reason.partition(", received '")[0].partition(', received "')[0]


def _reasons(rejected: Counter[str]) -> str:
    return "; ".join(f"{reason} ({count} rows)" for reason, count in rejected.most_common(4))


def _file_report(path: Path, tally: _Tally) -> dict[str, Any]:
    rejected = sum(tally.rejected.values())
    return {
        "file": path.name, "rows": tally.rows, "used": tally.used, "rejected": rejected, "duplicates": tally.duplicates
    }  # fmt: skip


def _contents(events: Events) -> dict[str, Any]:
    counts = np.bincount(events.event_type, minlength=len(EVENT_TYPES)).tolist()
    moments = [int(events.timestamp.min(initial=np.iinfo(np.int64).max)), int(events.timestamp.max(initial=0))]
    first, last = (datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="seconds") for moment in moments)
    return {
        "events": len(events),
        "users": len(np.unique(events.user)),
        "items": len(np.unique(events.item)),
        "event_types": {name: count for name, count in zip(EVENT_TYPES, counts, strict=True) if count},
        "first": first,
        "last": last,
    }
