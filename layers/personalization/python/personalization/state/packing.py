"""A journal in few bytes, for one attribute of one item: a version byte, then compressed columns.

DynamoDB bills by the kilobyte and by the item, so a user's whole window travels as one binary value. Columns that say
nothing are left out, times are differences, words are listed once. Numbers survive exactly.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from personalization.core.events import Events
from personalization.features import Lifetime
from personalization.state.event_batch import WORD_LISTS, EventBatch
from personalization.state.event_keys import Keys, unstated

VERSION: Final = 1
_NUMBERS: Final = ("quantity", "unit_price", "event_value", "view_duration", "rating")


class UnknownPackingError(ValueError):
    """The bytes were written by a newer version of this module, or are not ours."""


def pack(journal: EventBatch) -> bytes:
    """Bytes from which `unpack` makes the same journal, but for the user's name."""
    events = journal.events
    columns: dict[str, Any] = {
        "timestamp": np.diff(events.timestamp, prepend=0),
        "event_type": events.event_type.astype(np.int64),
    }
    if not np.array_equal(events.received_at, events.timestamp):
        columns["received_at"] = events.received_at - events.timestamp
    for name in _NUMBERS:
        values = getattr(events, name)
        if not np.isnan(values).all():
            columns[name] = values  # orjson writes null for NaN
    for name, words in WORD_LISTS:
        codes = getattr(events, name)
        if codes.max(initial=-1) >= 0:
            used, local = np.unique(codes, return_inverse=True)
            offset = int(used[0] < 0)
            columns[name] = local - offset
            vocabulary = getattr(events, words)
            columns[words] = [vocabulary[code] for code in used[offset:].tolist()]
    columns |= {name: keys for name, keys in (("order", journal.orders), ("key", unstated(events, journal.keys))) if keys.any()}
    return bytes([VERSION]) + zlib.compress(orjson.dumps(columns, option=orjson.OPT_SERIALIZE_NUMPY), 6)


def unpack(packed: bytes, user_id: str) -> EventBatch:
    """The journal of a user. Raises `UnknownPackingError`."""
    if not packed or packed[0] != VERSION:
        raise UnknownPackingError(f"expected events packed in version {VERSION}, received {packed[:1]!r}")
    columns = orjson.loads(zlib.decompress(packed[1:]))
    timestamp = np.cumsum(np.array(columns["timestamp"], dtype=np.int64))
    n = len(timestamp)

    def column(name: str, dtype: type, missing: Any) -> NDArray[Any]:
        return np.array(columns[name], dtype=dtype) if name in columns else np.full(n, missing, dtype=dtype)

    orders: Keys = column("order", np.uint64, 0)
    codes = np.full(n, -1, dtype=np.int32)
    known = orders > 0
    codes[known] = np.unique(orders[known], return_inverse=True)[1]
    parts: dict[str, Any] = {name: column(name, np.float64, np.nan) for name in _NUMBERS}
    for name, words in WORD_LISTS:
        parts |= {name: column(name, np.int32, -1), words: columns.get(words, [])}
    events = Events(
        user=np.zeros(n, dtype=np.int32),
        event_type=column("event_type", np.int8, 0),
        timestamp=timestamp,
        received_at=timestamp + column("received_at", np.int64, 0),
        order=codes,
        users=[user_id],
        **parts,
    )
    return EventBatch(events, orders, column("key", np.uint64, 0))


def pack_lifetime(sums: Lifetime) -> bytes:
    """One user's sums."""
    parts = (sums.events, sums.purchases, sums.value, sums.first, sums.last)
    return bytes([VERSION]) + orjson.dumps([part[0].item() for part in parts])


def unpack_lifetime(packed: bytes) -> Lifetime:
    """Sums of one user, (1,) each. Raises `UnknownPackingError`."""
    if not packed or packed[0] != VERSION:
        raise UnknownPackingError(f"expected sums packed in version {VERSION}, received {packed[:1]!r}")
    told = orjson.loads(packed[1:])
    events, purchases, value = (np.array([number], dtype=np.float64) for number in told[:3])
    first, last = (np.array([moment], dtype=np.int64) for moment in told[3:])
    return Lifetime(events, purchases, value, first, last)
