"""Spending along the forecast: shares by hand, and where a campaign is let in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalization.ads.pacing import Pace, Traffic, pace

HOUR = 3_600_000
MONDAY = 4 * 24 * HOUR  # 1970-01-05
# All traffic of a day in its last two hours, three times as much in the second.
EVENINGS = Traffic(([0.0] * 22 + [1.0, 3.0]) * 7)


def test_shares_of_traffic_by_hand() -> None:
    day = (MONDAY, MONDAY + 24 * HOUR)
    shares = [EVENINGS.share(*day, MONDAY + hours * HOUR) for hours in (0, 21, 22.5, 23, 23.5, 24, 30, -5)]
    assert shares == pytest.approx([0, 0, 0.125, 0.25, 0.625, 1, 1, 0])
    even = Traffic()
    assert even.share(MONDAY, MONDAY + 30 * 24 * HOUR, MONDAY + 3 * 24 * HOUR) == pytest.approx(0.1)
    # from the middle of one evening to that of the next but one: 3 + 4 + 1 parts
    assert EVENINGS.share(MONDAY + 23 * HOUR, MONDAY + 71 * HOUR, MONDAY + 24 * HOUR) == pytest.approx(3 / 8)


def test_the_forecast_is_in_the_shops_hours() -> None:
    east = Traffic(([0.0] * 22 + [1.0, 3.0]) * 7, offset_ms=2 * HOUR)
    assert east.share(MONDAY - 2 * HOUR, MONDAY + 22 * HOUR, MONDAY + 21 * HOUR) == pytest.approx(0.25)


@pytest.mark.parametrize("weights", [[1.0] * 167, [0.0] * 168, [1.0] * 167 + [-1.0], [1.0] * 167 + [float("nan")]])
def test_a_forecast_that_is_none(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="168 numbers"):
        Traffic(weights)


@pytest.mark.parametrize(
    ("spent", "part"),
    # Of 96 money over a day a quarter of an hour is 1; at noon 48 are planned.
    [(0.0, 1.0), (47.9, 1.0), (48.0, 1.0), (48.25, 0.75), (48.9, 0.1), (49.0, 0.0), (60.0, 0.0)],
)
def test_how_far_ahead_of_its_plan_a_campaign_may_be(spent: float, part: float) -> None:
    noon = MONDAY + 12 * HOUR
    assert pace(spent, 96.0, Traffic(), MONDAY, MONDAY + 24 * HOUR, noon).weight == pytest.approx(part)
    held = pace(spent, 96.0, Traffic(), MONDAY, MONDAY + 24 * HOUR, noon, control="throttle")
    assert held == Pace(participation=pytest.approx(part))


def test_in_hours_without_traffic_only_what_is_behind_may_be_spent() -> None:
    day = (MONDAY, MONDAY + 24 * HOUR)
    assert pace(0.0, 10.0, EVENINGS, *day, MONDAY + 12 * HOUR).weight == 0.0
    assert pace(2.0, 10.0, EVENINGS, *day, MONDAY + 23 * HOUR).weight == 1.0


@given(spent=st.floats(0, 200), at=st.floats(-1, 2))
def test_the_more_is_spent_the_less_it_takes_part(spent: float, at: float) -> None:
    moment = int(MONDAY + at * 24 * HOUR)
    parts = [pace(money, 100.0, Traffic(), MONDAY, MONDAY + 24 * HOUR, moment).weight for money in (spent, spent + 1)]
    assert 0.0 <= parts[1] <= parts[0] <= 1.0
    if spent >= 100:
        assert parts[0] == 0.0
