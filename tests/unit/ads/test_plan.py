"""The grid of hours, channels and creatives, with a model that can be done by hand."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from personalization.ads.plan import ROWS_PER_CALL, Grid, PlanQuery, best_cells, evaluate

HOUR = 3_600_000
NINE = 1_790_000_000_000 // (24 * HOUR) * 24 * HOUR + 9 * HOUR
GRID = Grid([NINE, NINE + HOUR], ["mail", "app"], ["a", "b", "c"])


def additive(keen: list[float]) -> Any:
    """10 an hour after nine, 3 for the app, 1 or 2 for creatives b and c, times how keen the user is."""

    def score(asked: PlanQuery) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        value = (10.0 * asked.hour + 3.0 * asked.channel + asked.creative) * np.array(keen)[asked.user]
        return value, {"pctr": value / 100}

    return score


def test_the_best_cells_and_what_speaks_for_them() -> None:
    values = evaluate(GRID, 1, additive([1.0]))
    assert values.mean.reshape(2, 2, 3).tolist() == [[[0, 1, 2], [3, 4, 5]], [[10, 11, 12], [13, 14, 15]]]
    support = {"hour": {"10": 40}, "creative": {"b": 7}}
    best, second = best_cells(GRID, values, 2, support)
    # the mean over the grid is 7.5; hours 2.5 and 12.5, channels 6 and 9, creatives 6.5, 7.5 and 8.5
    assert best == {
        "hour": "2026-09-21T10:00Z", "channel": "app", "creative": "c", "expected_value": 15.0, "pctr": 0.15,
        "evidence": {
            "gain": 7.5, "hour_gain": 5.0, "channel_gain": 1.5, "creative_gain": 1.0,
            "impressions": {"hour": 40, "creative": 0},
        },
    }  # fmt: skip
    assert (second["creative"], second["expected_value"]) == ("b", 14.0)


def test_a_segment_is_averaged_with_its_spread() -> None:
    values = evaluate(GRID, 2, additive([1.0, 3.0]))
    best = best_cells(GRID, values, 1)[0]
    assert best["expected_value"] == 30.0
    assert best["evidence"]["standard_error"] == pytest.approx(15.0)  # 15 and 45: deviation 21.21, over the root of 2
    assert best["evidence"]["share_of_users"] == 1.0


def test_share_of_users_counts_users_above_the_mean() -> None:
    keen = np.array([5.0, -1.0, 0.5, -1.0])

    def opposite(asked: PlanQuery) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return asked.hour * keen[asked.user], {}

    grid = Grid([NINE, NINE + HOUR])
    values = evaluate(grid, 4, opposite)
    best = best_cells(grid, values, 1)[0]
    assert best["hour"].endswith("10:00Z")
    assert best["evidence"]["share_of_users"] == 0.5
    assert "channel" not in best


def test_many_cells_are_asked_in_parts_of_bounded_size() -> None:
    sizes: list[int] = []

    def counting(asked: PlanQuery) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        sizes.append(len(asked.user))
        return 1_000.0 * asked.hour + asked.user, {}

    grid = Grid([NINE + n * HOUR for n in range(50)])
    values = evaluate(grid, 1_000, counting)
    assert max(sizes) <= ROWS_PER_CALL
    assert sum(sizes) == 50_000
    assert (values.expected == np.arange(50_000.0).reshape(50, 1_000)).all()


def test_hours_are_told_in_the_shops_zone() -> None:
    grid = Grid([NINE], zone=ZoneInfo("America/New_York"))
    assert grid.cell(0) == {"hour": "2026-09-21T05:00-04:00"}
