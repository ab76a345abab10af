"""Interactions from cells to `Events`, for files and requests alike: what happens to a bad row is decided here.

A row with a bad required cell (`user_id`, `item_id`, `event_type`, `timestamp`) becomes a `RowFault`. A bad optional cell does
the same, or counts as missing where the caller says so. A row whose `event_id` occurred before is a duplicate. Callers turn the
faults into rejected lines (files) or JSON pointers (requests).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from personalization.core import cells
from personalization.core.categorical import MISSING, CategoricalColumn, Codes, Vocabulary
from personalization.core.encoder import TableColumns
from personalization.core.errors import RowFault
from personalization.core.events import Events, Numbers
from personalization.core.schema import (
    EVENT_CODE,
    EVENT_TYPE,
    INTERACTIONS,
    ITEM_ID,
    MAX_ID_LENGTH,
    PURCHASE,
    REFUND,
    TIMESTAMP,
    USER_ID,
    event_type_code,
)
from personalization.core.time import MISSING_TIME
from personalization.data.duplicates import SeenIds

VIEW_DURATION_MS: Final = "view_duration_ms"  # GA4's engagement time
INPUT_COLUMNS: Final = frozenset({*INTERACTIONS.columns, VIEW_DURATION_MS})
BadCells = Literal["reject", "missing"]

# Impossible below zero; a quantity may be, a value too (returns).
_NOT_NEGATIVE: Final = ("unit_price", "view_duration", VIEW_DURATION_MS)

_NO_ID, _TOO_LONG = -2, -3  # codes of cells that are not an id, beside `MISSING`


@dataclass(frozen=True)
class ParsedEvents:
    """R rows, each of which is an event, or has faults, or is a duplicate.

    events       K events; users and items without an event are not listed
    kept         int64 (K,) index of the row of each event
    faults       of the other rows, ordered by row; a row may have several
    duplicates   indices of the rows whose `event_id` occurred before
    event_ids, order_ids, session_ids
                 K words each, `None` where missing
    """

    events: Events
    kept: NDArray[np.int64]
    faults: list[RowFault]
    duplicates: list[int]
    event_ids: list[str | None]
    order_ids: list[str | None]
    session_ids: list[str | None]


def parse_events(
    columns: TableColumns,
    rows: int,
    zone: tzinfo = UTC,
    *,
    bad_cells: BadCells = "reject",
    seen: SeenIds | None = None,
) -> ParsedEvents:
    """Parse `rows` rows.

    columns     cells by canonical column name, each `rows` long; other columns are ignored
    zone        of timestamps without an offset
    bad_cells   a bad cell of an optional column rejects its row, or counts as missing
    seen        event ids of earlier calls, where a file is read in several chunks

    Never raises for data.
    """
    faults: list[RowFault] = []
    optional: list[RowFault] = []
    users = _ids(columns, USER_ID, rows, faults)
    items = _ids(columns, ITEM_ID, rows, faults)
    event_type = _event_types(columns, rows, faults)
    timestamp = _times(columns, TIMESTAMP, rows, zone, faults)
    received_at = _times(columns, "received_at", rows, zone, optional)
    numbers = {name: _numbers(columns, name, rows, optional) for name in sorted(INTERACTIONS.numbers)}
    if VIEW_DURATION_MS in columns and "view_duration" not in columns:
        numbers["view_duration"] = _numbers(columns, VIEW_DURATION_MS, rows, optional) / 1000.0
    _money(numbers, event_type, optional)
    faults += optional if bad_cells == "reject" else []
    faults.sort(key=lambda fault: fault.row)  # stable: in a row the order of the checks above

    good = np.ones(rows, dtype=bool)
    good[[fault.row for fault in faults]] = False
    texts = {
        name: CategoricalColumn.from_cells(columns.get(name), rows)
        for name in ("event_id", "order_id", "session_id", "category", "channel")
    }
    duplicates: list[int] = []
    if texts["event_id"].words:
        kept = np.flatnonzero(good)
        ids = texts["event_id"].cells()
        repeated = (seen or SeenIds()).repeated([ids[row] for row in kept.tolist()])
        duplicates = kept[repeated].tolist()
        good[duplicates] = False
    order = basket_codes(users.codes, texts["order_id"].codes, timestamp)
    events = Events(
        user=users.codes,
        item=items.codes,
        event_type=event_type,
        timestamp=timestamp,
        received_at=np.where(received_at == MISSING_TIME, timestamp, received_at),
        **numbers,
        category=texts["category"].codes,
        channel=texts["channel"].codes,
        order=order,
        users=list(users.words),
        items=list(items.words),
        categories=list(texts["category"].words),
        channels=list(texts["channel"].words),
    )
    kept = np.flatnonzero(good)
    if len(kept) < rows:
        events = events.take(kept).compact()
    event_ids, order_ids, session_ids = (texts[name].take(kept).cells() for name in ("event_id", "order_id", "session_id"))
    return ParsedEvents(events, kept, faults, duplicates, event_ids, order_ids, session_ids)


def basket_codes(user: Codes, order: Codes, timestamp: NDArray[np.int64]) -> Codes:
    """(N,) code of each event's basket: the events of a user with one order id, or without an order id at one moment.

    order       (N,) codes of the shop's order ids, −1 where missing
    timestamp   (N,) milliseconds
    """
    moment = np.where(order >= 0, -1 - order.astype(np.int64), timestamp)  # times begin at 0: the two do not meet
    by_basket = np.lexsort((moment, user))
    starts = np.zeros(len(user), dtype=np.int32)
    u, m = user[by_basket], moment[by_basket]
    starts[1:] = (u[1:] != u[:-1]) | (m[1:] != m[:-1])
    codes = np.empty(len(user), dtype=np.int32)
    codes[by_basket] = np.cumsum(starts, dtype=np.int32)
    return codes


def _ids(columns: TableColumns, name: str, rows: int, faults: list[RowFault]) -> CategoricalColumn:
    vocabulary = Vocabulary()

    def code(cell: Any) -> int:
        if isinstance(cell, bool | list | tuple | dict):
            return _NO_ID
        word = cells.word(cell)
        return _TOO_LONG if word and len(word) > MAX_ID_LENGTH else vocabulary.code(word)

    content = columns.get(name)
    codes = np.full(rows, MISSING, dtype=np.int32) if content is None else cells.map_cells(content, code, np.int32)
    for row in np.flatnonzero(codes < 0).tolist():
        if codes[row] == _TOO_LONG:
            reason = f"expected at most {MAX_ID_LENGTH} characters, received more"
        else:
            reason = "expected an id, received " + ("nothing" if codes[row] == MISSING else "another kind of value")
        faults.append(RowFault(row, name, reason))
    return CategoricalColumn(np.maximum(codes, MISSING), vocabulary.words)


def _event_types(columns: TableColumns, rows: int, faults: list[RowFault]) -> NDArray[np.int8]:
    def code(cell: Any) -> int:
        word = None if isinstance(cell, bool | list | tuple | dict) else cells.word(cell)
        found = event_type_code(word) if word else None
        return MISSING if found is None else found

    content = columns.get(EVENT_TYPE)
    codes = np.full(rows, MISSING, dtype=np.int8) if content is None else cells.map_cells(content, code, np.int8)
    faults += [RowFault(row, EVENT_TYPE, "expected a word, received nothing") for row in np.flatnonzero(codes < 0).tolist()]
    return codes


def _times(columns: TableColumns, name: str, rows: int, zone: tzinfo, faults: list[RowFault]) -> NDArray[np.int64]:
    content = columns.get(name)
    moments, bad = np.full(rows, MISSING_TIME, dtype=np.int64), list[int]()
    if content is not None:
        moments, bad = cells.timestamps(content, zone)
        faults += [RowFault(row, name, cells.expected("RFC 3339 or unix time", content[row])) for row in bad]
    if name == TIMESTAMP:
        missing = np.setdiff1d(np.flatnonzero(moments == MISSING_TIME), bad)
        faults += [RowFault(row, name, "expected RFC 3339 or unix time, received nothing") for row in missing.tolist()]
    return moments


def _numbers(columns: TableColumns, name: str, rows: int, faults: list[RowFault]) -> Numbers:
    content = columns.get(name)
    if content is None:
        return np.full(rows, np.nan)
    values, bad = cells.numbers(content)
    faults += [RowFault(row, name, cells.expected("a number", content[row])) for row in bad]
    if name in _NOT_NEGATIVE:
        negative = np.flatnonzero(values < 0).tolist()
        values[negative] = np.nan
        faults += [RowFault(row, name, cells.expected("zero or more", content[row])) for row in negative]
    return values


def _money(numbers: dict[str, Numbers], event_type: NDArray[np.int8], faults: list[RowFault]) -> None:
    """Fill in a quantity of one where a purchase has none, and the line total, which is negative for returns."""
    bought = np.isin(event_type, [EVENT_CODE[PURCHASE], EVENT_CODE[REFUND]])
    quantity = np.where(bought & np.isnan(numbers["quantity"]), 1.0, numbers["quantity"])
    with np.errstate(over="ignore"):
        total = np.where(np.isnan(numbers["event_value"]), quantity * numbers["unit_price"], numbers["event_value"])
    too_much = np.isinf(total)
    faults += [
        RowFault(row, "unit_price", "expected a price, received an infinite line total")
        for row in np.flatnonzero(too_much).tolist()
    ]
    returned = (event_type == EVENT_CODE[REFUND]) | ((event_type == EVENT_CODE[PURCHASE]) & (quantity < 0))
    numbers["quantity"] = quantity
    numbers["event_value"] = np.where(too_much, np.nan, np.where(returned, -np.abs(total), total))
