"""Inspection of one file: kind of table, counts and possible labels, from its header and its first rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from personalization.core import cells
from personalization.core.schema import (
    EVENT_TYPES,
    FLAT,
    IMPRESSIONS,
    INTERACTIONS,
    ITEM_ID,
    ITEMS,
    PURCHASE,
    TABLES,
    USER_ID,
    USERS,
    table_kind,
)
from personalization.core.time import MISSING_TIME
from personalization.data import SeenIds, parse_events
from training.io.interactions import without_cell
from training.io.tables import read_chunks
from training.tasks.tabular.columns import is_key

SAMPLE_ROWS: Final = 200_000
_LABEL_NAMES: Final = ("label", "target", "y", "clicked", "click", "converted", "conversion", "purchased", "churn", "churned")


@dataclass
class FileSummary:
    """The summary of a file.

    kind      see `schema.TABLES`, or ``table``
    rows      number of rows that were read; all of the file where `whole`
    facts     by name, for the verdicts: users, first, last, purchases, columns, …
    notes     lines for the user
    labels    columns that could be the label of a flat table, likeliest first
    """

    path: Path
    kind: str
    rows: int = 0
    whole: bool = True
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)


def inspect_file(path: Path, mapping: Mapping[str, str] | None = None, sample: int = SAMPLE_ROWS) -> FileSummary:
    """Read the header and the first `sample` rows. Raises `InvalidInput` for a file that is not a table."""
    columns, rows, whole, rejects = _sample(path, mapping, sample)
    kind = table_kind(set(columns)) or FLAT
    summary = FileSummary(path, kind, rows, whole)
    summary.notes += [f"{count} lines are no rows: {reason}" for reason, count in rejects.most_common(3)]
    if not rows:
        summary.notes.append("it has no rows")
    elif kind == INTERACTIONS.kind:
        _interactions(summary, columns, rows)
    elif kind == IMPRESSIONS.kind:
        _impressions(summary, columns, rows)
    else:
        _other(summary, columns)
        _suggest_mapping(summary, set(columns))
    return summary


def _sample(path: Path, mapping: Mapping[str, str] | None, sample: int) -> tuple[dict[str, list[Any]], int, bool, Counter[str]]:
    """Columns by our names, number of rows, whether these are all of the file, and counts of rejected lines by reason."""
    rejects: Counter[str] = Counter()
    columns: dict[str, list[Any]] = {}
    rows = 0
    for chunk in read_chunks(path, (), mapping=mapping):
        for name in columns.keys() | chunk.columns.keys():
            columns.setdefault(name, [None] * rows).extend(chunk.columns.get(name, [None] * chunk.rows))
        rows += chunk.rows
        rejects.update(without_cell(reason) for reason in chunk.reject_reasons)
        if rows >= sample:
            return columns, rows, False, rejects
    return columns, rows, True, rejects


def _interactions(summary: FileSummary, columns: Mapping[str, Sequence[Any]], rows: int) -> None:
    parsed = parse_events(columns, rows, seen=SeenIds())
    events = parsed.events
    kinds = np.bincount(events.event_type, minlength=len(EVENT_TYPES)).tolist()
    types = {name: count for name, count in zip(EVENT_TYPES, kinds, strict=True) if count}
    per_user = np.bincount(events.user, minlength=len(events.users))
    summary.facts |= {
        "users": len(events.users),
        "items": len(events.items),
        "purchases": types.get(PURCHASE, 0),
        "repeat_users": int((per_user >= 2).sum()),
        "values": int(np.isfinite(events.event_value).sum()),
        "categories": len(events.categories),
    }
    if len(events):
        summary.facts |= {"first": int(events.timestamp.min()), "last": int(events.timestamp.max())}
        summary.notes.append(f"{_day(summary.facts['first'])} to {_day(summary.facts['last'])}")
    counted = ", ".join(f"{count:,} {name}" for name, count in types.items())
    summary.notes.append(f"{len(events.users):,} users, {len(events.items):,} items; {counted or 'no usable event'}")
    bad = Counter(f"{fault.column}: {fault.reason.partition(', received ')[0]}" for fault in parsed.faults)
    summary.notes += [f"{count:,} rows cannot be used: {reason}" for reason, count in bad.most_common(4)]
    if parsed.duplicates:
        summary.notes.append(f"{len(parsed.duplicates):,} rows repeat an event_id and will be dropped")


def _impressions(summary: FileSummary, columns: Mapping[str, Sequence[Any]], rows: int) -> None:
    moments = cells.timestamps(columns["timestamp"])[0]
    known = moments[moments != MISSING_TIME]
    summary.facts |= {name: len(set(cells.words(columns[f"{name[:-1]}_id"]))) for name in ("users", "ads")}
    for name in ("click", "conversion"):
        values = cells.numbers(columns[name])[0] if name in columns else np.zeros(0)
        summary.facts[name] = int((values > 0).sum())
    summary.facts["propensity"] = "propensity" in columns
    if len(known):
        summary.facts |= {"first": int(known.min()), "last": int(known.max())}
        summary.notes.append(f"{_day(summary.facts['first'])} to {_day(summary.facts['last'])}")
    summary.notes.append(
        f"{summary.facts['users']:,} users, {summary.facts['ads']:,} ads; {summary.facts['click']:,} clicks, "
        f"{summary.facts['conversion']:,} conversions{'' if summary.facts['propensity'] else '; no propensity'}"
    )


def _other(summary: FileSummary, columns: Mapping[str, Sequence[Any]]) -> None:
    """Of items, ads, users or any table: whether each id has one row, and which columns could be a label."""
    key = {USERS.kind: USER_ID, ITEMS.kind: ITEM_ID}.get(summary.kind)
    if key is not None:
        ids = cells.words(columns[key])
        summary.facts["one_row_each"] = len(set(ids)) == len(ids)
    likely = {name: place for place, name in enumerate(_LABEL_NAMES)}
    candidates = [name for name, content in columns.items() if not is_key(name) and _two_values(content)]
    if summary.kind != FLAT:
        # A table of items may have columns of two words; only a name like "label" makes one of them a label.
        candidates = [name for name in candidates if name in likely]
    summary.labels = sorted(candidates, key=lambda name: likely.get(name, len(likely)))
    shown = list(columns)
    summary.notes.append(f"{len(shown)} columns: {', '.join(shown[:12])}{', …' if len(shown) > 12 else ''}")
    if summary.labels:
        summary.notes.append(f"could be a label (two different values): {', '.join(summary.labels[:5])}")


def _two_values(content: Sequence[Any]) -> bool:
    different: set[str] = set()
    for cell in content:
        word = cells.word(cell)
        if word is not None:
            different.add(word)
            if len(different) > 2:
                return False
    return len(different) == 2


def _suggest_mapping(summary: FileSummary, columns: set[str]) -> None:
    """Note the table that it would be with one or two more columns."""
    for table in TABLES[:3]:
        missing = [name for name in table.required if name not in columns]
        if 0 < len(missing) <= len(table.required) // 2 and len(table.required) > 2 and not summary.labels:
            example = "event_type==purchase" if "event_type" in missing else f"{missing[0]}=THEIR_NAME"
            summary.notes.append(f"{table.kind} but for {', '.join(missing)}: --map {example} (==word: the same in every row)")
            return


def _day(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).date().isoformat()
