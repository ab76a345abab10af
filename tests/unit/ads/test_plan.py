"""The grid of hours, channels and creatives, with values that can be computed by hand."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from personalization.ads.plan import PlanGrid, PlanValues, best_cells, evaluate_grid
from personalization.bundles.bundle import load_bundle
from tests.ad_factory import candidates_of
from tests.ads_bundle import ads_bundle, click

HOUR = 3_600_000
NINE = 1_790_000_000_000 // (24 * HOUR) * 24 * HOUR + 9 * HOUR
GRID = PlanGrid([NINE, NINE + HOUR], ["mail", "app"], ["a", "b", "c"])
# 10 an hour after nine, 3 for the app, 1 or 2 for the creatives b and c
VALUE = np.array([10.0 * hour + 3.0 * channel + creative for hour in (0, 1) for channel in (0, 1) for creative in (0, 1, 2)])


def test_the_best_cells_and_their_evidence() -> None:
    values = PlanValues(VALUE[:, None], {"pctr": VALUE / 100})
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
    best = best_cells(GRID, PlanValues(VALUE[:, None] * np.array([1.0, 3.0]), {}), 1)[0]
    assert best["expected_value"] == 30.0
    assert best["evidence"]["standard_error"] == pytest.approx(15.0)  # 15 and 45: deviation 21.21, over the root of 2
    assert best["evidence"]["share_of_users"] == 1.0


def test_the_share_of_users_for_whom_the_best_cell_is_better() -> None:
    values = PlanValues(np.array([[0.0], [1.0]]) * np.array([5.0, -1.0, 0.5, -1.0]), {})
    best = best_cells(PlanGrid([NINE, NINE + HOUR]), values, 1)[0]
    assert best["hour"].endswith("10:00Z")
    assert best["evidence"]["share_of_users"] == 0.5
    assert "channel" not in best


def test_many_cells_and_users_are_each_valued_by_their_own_row(tmp_path: Path) -> None:
    ads_bundle(tmp_path)
    bundle, users = load_bundle(tmp_path), 200
    grid = PlanGrid([NINE + n * HOUR for n in range(48)], ["mail", "app"])
    rows = [{"ad.size": [1.0], "orders": [float(user % 3)]} for user in range(users)]
    values = evaluate_grid(bundle, grid, candidates_of({"bid": 2.0}), rows, "paid")  # 19,200 rows: several chunks
    expected = [
        [2.0 * click(channel, ad__size=1, orders=user % 3, hour=(9 + hour) % 24) for user in range(users)]
        for hour in range(48)
        for channel in ("mail", "app")
    ]
    assert values.expected == pytest.approx(np.array(expected), abs=1e-6)
    assert values.rates["pctr"] == pytest.approx(np.mean(expected, axis=1) / 2, abs=1e-6)


def test_hours_are_written_in_the_shops_zone() -> None:
    grid = PlanGrid([NINE], zone=ZoneInfo("America/New_York"))
    assert grid.cell(0) == {"hour": "2026-09-21T05:00-04:00"}
