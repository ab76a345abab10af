"""JSON Lines: one object a line; a line that is none is rejected alone."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import orjson

from personalization.data.column_mapping import Naming
from personalization.data.records import NOT_TEXT, TOO_LONG, Records, has_undecodable, too_long
from personalization.data.text_blocks import TextBlock

NOT_AN_OBJECT: Final = "expected a JSON object"
NOT_JSON: Final = "expected valid JSON"
_NOTHING: Final = object()
_NESTED: Final = {dict, list}


class JsonLinesParser:
    """Records whose keys may differ from line to line.

    names   key → our name, of the keys that are known in advance
    only    our names of the columns to read; all where `None`
    """

    def __init__(self, naming: Naming, names: Mapping[str, str], only: Collection[str] | None = None) -> None:
        self._naming = naming
        self._names: dict[str, str | None] = dict(names)
        self._only = only

    def records(self, blocks: Iterator[TextBlock]) -> Iterator[Records]:
        for block in blocks:
            records = Records(block.first_line, block.lines)
            rows = self._without_nested(records, parse_objects(records, block.decodable))
            for key, name in self._read(rows):
                records.columns[name] = [row.get(key) for row in rows]
            yield records

    def _read(self, rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
        """Keys to read of these rows, with our names; a key seen for the first time gets its name here."""
        known = dict.fromkeys(self._names)
        for key in dict.fromkeys(chain.from_iterable(rows)):
            if key not in known:
                self._names[key] = self._naming.late(key, {name for name in self._names.values() if name})
        return [(key, name) for key, name in self._names.items() if name and (self._only is None or name in self._only)]

    def _without_nested(self, records: Records, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        bad: dict[int, tuple[str, str]] = {}
        for key, name in self._read(rows):
            if not _NESTED.isdisjoint({type(row.get(key)) for row in rows}):
                for index, row in enumerate(rows):
                    reason = nested_reason(row.get(key))
                    if reason:
                        bad.setdefault(index, (name, reason))
        if not bad:
            return rows
        for index, (name, reason) in bad.items():
            records.reject(records.starts[index], reason, f"/{name}")
        records.rejects.sort(key=lambda reject: reject.line)
        good = [index for index in range(len(rows)) if index not in bad]
        records.starts = [records.starts[index] for index in good]
        records.ends = [records.ends[index] for index in good]
        return [rows[index] for index in good]


def parse_objects(records: Records, decodable: bool) -> list[dict[str, Any]]:
    """The objects on the lines of `records`, whose `starts`, `ends` and `rejects` are filled in."""
    long = set(too_long(records.lines))
    rows = []
    starts = []
    for at, line in enumerate(records.lines):
        if at in long:
            records.reject(at, TOO_LONG)
            continue
        if not decodable and has_undecodable(line):
            records.reject(at, NOT_TEXT)
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            if not line.strip():
                continue
            row = _loads_leniently(line)
            if row is _NOTHING:
                records.reject(at, NOT_JSON)
                continue
        if isinstance(row, dict):
            rows.append(row)
            starts.append(at)
        else:
            records.reject(at, NOT_AN_OBJECT)
    records.starts, records.ends = starts, [at + 1 for at in starts]
    return rows


def nested_reason(cell: Any) -> str | None:
    """Why a JSON value cannot be a cell, where it cannot: an object, or a list of anything but scalars."""
    if isinstance(cell, dict):
        return "expected a value or a list of values, received an object"
    if isinstance(cell, list) and any(isinstance(part, dict | list) for part in cell):
        return "expected a value or a list of values, received a nested list"
    return None


def _loads_leniently(line: str) -> Any:
    """With the NaN and Infinity that Python writes; the cells' own checks judge those. `_NOTHING` where it is no JSON."""
    try:
        content = json.loads(line)
        orjson.dumps(content)  # what we could not write again (half a surrogate pair) is not taken in
    except (TypeError, ValueError, RecursionError):
        return _NOTHING
    return content
