"""The shop's time zone, as an option names it."""

from __future__ import annotations

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from personalization.core.errors import InvalidInput


def zone_named(name: str) -> tzinfo:
    """``Europe/Berlin`` → its rules. Raises `InvalidInput` for a name that the time zone database does not have."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError):
        raise InvalidInput(f"expected a time zone such as Europe/Berlin, received {name!r}") from None
