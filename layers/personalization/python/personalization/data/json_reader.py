"""JSON Lines: one object on each line. A line that is no object, or that has a nested cell, is rejected alone."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from typing import Any, Final

import orjson

from personalization.data.column_mapping import ColumnMapping
from personalization.data.records import NOT_TEXT, TOO_LONG, Records, has_undecodable, too_long
from personalization.data.text_blocks import TextBlock

NOT_AN_OBJECT: Final = "expected a JSON object"
NOT_JSON: Final = "expected valid JSON"

_INVALID: Final = object()
_NESTED: Final = {dict, list}


class JsonLinesReader:
    """Reads records whose keys may differ from line to line.

    names   key → our name, of the keys on the first lines
    only    our names of the columns to read; all where `None`
    """

    def __init__(self, mapping: ColumnMapping, names: Mapping[str, str], only: Collection[str] | None = None) -> None:
        self._mapping = mapping
        self._names: dict[str, str | None] = dict(names)
        self._only = only

    def records(self, blocks: Iterator[TextBlock]) -> Iterator[Records]:
        """One `Records` a block."""
        for block in blocks:
            records = Records(block.first_line, block.lines)
            rows = parse_objects(records, block.decodable)
            self._name_keys(dict.fromkeys(chain.from_iterable(rows)))
            columns = [(k, n) for k, n in self._names.items() if n and (self._only is None or n in self._only)]
            nested = {row: fault for row, cells in enumerate(rows) if (fault := _nested_cell(cells, columns))}
            for row, (column, reason) in nested.items():
                records.reject(records.starts[row], reason, f"/{column}")
            if nested:
                records.rejects.sort(key=lambda reject: reject.line)
                rows = [cells for row, cells in enumerate(rows) if row not in nested]
                records.starts = [at for row, at in enumerate(records.starts) if row not in nested]
                records.ends = [at + 1 for at in records.starts]
            records.columns = {name: [cells.get(key) for cells in rows] for key, name in columns}
            yield records

    def _name_keys(self, keys: Collection[str]) -> None:
        """Choose our names for the keys that occur for the first time."""
        for key in keys:
            if key not in self._names:
                self._names[key] = self._mapping.name_late_key(key, {name for name in self._names.values() if name})


def parse_objects(records: Records, decodable: bool) -> list[dict[str, Any]]:
    """The objects on the lines of `records`; fills in its `starts`, `ends` and `rejects`."""
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
            row = _load_leniently(line)
        if isinstance(row, dict):
            rows.append(row)
            starts.append(at)
        else:
            records.reject(at, NOT_JSON if row is _INVALID else NOT_AN_OBJECT)
    records.starts, records.ends = starts, [at + 1 for at in starts]
    return rows


def _nested_cell(cells: Mapping[str, Any], columns: Collection[tuple[str, str]]) -> tuple[str, str] | None:
    """Our name of a column whose cell is an object or a list of anything but scalars, and the reason to reject it."""
    if _NESTED.isdisjoint(map(type, cells.values())):
        return None
    for key, name in columns:
        cell = cells.get(key)
        if isinstance(cell, dict):
            return name, "expected a value or a list of values, received an object"
        if isinstance(cell, list) and any(isinstance(part, dict | list) for part in cell):
            return name, "expected a value or a list of values, received a nested list"
    return None


def _load_leniently(line: str) -> Any:
    """JSON with the NaN and Infinity that Python writes, which are checked as cells. `_INVALID` where it is no JSON."""
    try:
        content = json.loads(line)
        orjson.dumps(content)  # half a surrogate pair could not be written again
    except (TypeError, ValueError, RecursionError):
        return _INVALID
    return content
