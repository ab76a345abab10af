"""Timestamps and time zones."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from personalization.core.errors import InvalidInput
from personalization.core.time import format_timestamp, hour_of_day, local_time, parse_timestamp, parse_timezone, weekday

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize("text", ["2026-07-01T12:30:00.250Z", "1970-01-01T00:00:00.000Z"])
def test_a_formatted_timestamp_is_parsed_to_the_same_moment(text: str) -> None:
    moment = parse_timestamp(text)
    assert moment is not None
    assert moment == datetime.fromisoformat(text).timestamp() * 1000
    assert format_timestamp(moment) == text


def test_a_timestamp_in_a_zone_states_its_offset() -> None:
    assert format_timestamp(0, "minutes", BERLIN) == "1970-01-01T01:00+01:00"


def test_local_time_follows_daylight_saving() -> None:
    moments = [datetime(2026, month, 1, 22, 30, tzinfo=UTC) for month in (7, 1)]
    local = local_time(np.array([round(moment.timestamp() * 1000) for moment in moments]), BERLIN)
    expected = [moment.astimezone(BERLIN) for moment in moments]
    assert hour_of_day(local).tolist() == [moment.hour for moment in expected] == [0, 23]
    assert weekday(local).tolist() == [moment.weekday() for moment in expected] == [3, 3]


def test_an_unknown_time_zone_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="'Mars'"):
        parse_timezone("Mars")
