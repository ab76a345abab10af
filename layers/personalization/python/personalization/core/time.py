"""Units of time, RFC 3339 timestamps and time zones. A moment is int64 milliseconds since 1970 UTC everywhere."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from personalization.core.errors import InvalidInput

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
DAY_SECONDS: Final = 86_400

MISSING_TIME: Final = np.iinfo(np.int64).min  # stands for a missing moment in a column

# The range of accepted moments: 1970 (some data sets count from 0 and state the order only) to 2100.
MIN_TIMESTAMP_MS: Final = 0
MAX_TIMESTAMP_MS: Final = 4_102_444_800_000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def parse_timestamp(cell: Any, zone: tzinfo = UTC) -> int | None:
    """Milliseconds since 1970 UTC of one cell; `None` where it is missing or not a valid timestamp.

    cell   RFC 3339, a date, a `date` or `datetime`, or a number: unix seconds, milliseconds, microseconds (GA4) or nanoseconds,
           recognised by size
    zone   of times without an offset
    """
    if isinstance(cell, bool) or cell is None:
        return None
    try:
        if isinstance(cell, str):
            cell = cell.strip()
            if len(cell) >= 8 and (cell[4] == "-" or cell[8:9] == "T"):
                return _accepted(_milliseconds(datetime.fromisoformat(cell), zone))
        elif isinstance(cell, date):  # Parquet
            moment = cell if isinstance(cell, datetime) else datetime(cell.year, cell.month, cell.day, tzinfo=zone)
            return _accepted(_milliseconds(moment, zone))
        number = float(cell)
    except (TypeError, ValueError, OverflowError):
        return None
    if not 0 <= number < 1e20:
        return None
    # 1e11 s is the year 5138 and 1e11 ms is 1973, so no accepted time is ambiguous.
    scale = 1_000.0 if number < 1e11 else 1.0 if number < 1e14 else 1e-3 if number < 1e17 else 1e-6
    return _accepted(round(number * scale))


def format_timestamp(moment_ms: int, timespec: str = "milliseconds", zone: tzinfo = UTC) -> str:
    """RFC 3339 text of a moment, with ``Z`` for UTC.

    >>> format_timestamp(1_767_225_600_000)
    '2026-01-01T00:00:00.000Z'
    """
    return datetime.fromtimestamp(moment_ms / 1000, zone).isoformat(timespec=timespec).replace("+00:00", "Z")


def parse_timezone(name: str) -> tzinfo:
    """Rules of a time zone such as ``Europe/Berlin``. Raises `InvalidInput` for a name that the database does not have."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError):
        raise InvalidInput(f"expected a time zone such as Europe/Berlin, received {name!r}") from None


def local_time(moments_ms: NDArray[np.int64], zone: tzinfo) -> NDArray[np.int64]:
    """(N,) UTC milliseconds → milliseconds of the local wall clock. The offset is looked up once for each different hour."""
    if zone is UTC:
        return moments_ms
    hours, inverse = np.unique(moments_ms // HOUR_MS, return_inverse=True)
    offsets = [(datetime.fromtimestamp(int(hour) * 3600, zone).utcoffset() or timedelta()) // _MILLISECOND for hour in hours]
    return np.asarray(moments_ms + np.array(offsets, dtype=np.int64)[inverse])


def weekday(local_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) weekday of local milliseconds, Monday 0. The first day of 1970 was a Thursday."""
    return (local_ms // DAY_MS + 3) % 7


def hour_of_day(local_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) hour 0 … 23 of local milliseconds."""
    return local_ms % DAY_MS // HOUR_MS


def _milliseconds(moment: datetime, zone: tzinfo) -> int:
    return ((moment if moment.tzinfo else moment.replace(tzinfo=zone)) - _EPOCH) // _MILLISECOND


def _accepted(milliseconds: int) -> int | None:
    return milliseconds if MIN_TIMESTAMP_MS <= milliseconds <= MAX_TIMESTAMP_MS else None
