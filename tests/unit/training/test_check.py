"""`check`: what files are, which trainings they allow, and what is missing."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from personalization.core.errors import InvalidInput
from training.check import TrainingVerdict, check, inspect_file, verdicts
from training.cli import main


def events(path: Path, days: int = 80, users: int = 40, kind: str = "purchase") -> Path:
    lines = [f"u{n % users},i{n % 7},{kind},{date(2025, 1, 1) + timedelta(days=n % days)}" for n in range(4 * users * 3)]
    path.write_text("user_id,item_id,event_type,timestamp\n" + "\n".join(lines) + "\n")
    return path


def verdict(name: str, *paths: Path) -> TrainingVerdict:
    return next(v for v in verdicts([inspect_file(path) for path in paths]) if v.training.startswith(name))


def test_interactions_train_profiles_and_recommendations(tmp_path: Path) -> None:
    file = events(tmp_path / "e.csv")
    summary = inspect_file(file)
    assert (summary.kind, summary.rows, summary.whole) == ("interactions", 480, True)
    assert (summary.facts["users"], summary.facts["items"], summary.facts["purchases"]) == (40, 7, 480)
    profiles = verdict("profiles", file)
    assert profiles.possible
    assert profiles.command == f"train profiles --interactions {file} --out DIR"
    assert any("no expected spend" in reason for reason in profiles.reasons)
    assert verdict("recommendations", file).possible
    assert verdict("ads", file).reasons == ("no impressions: user_id, ad_id, timestamp, with click or conversion",)


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"kind": "view"}, "no event of type purchase"), ({"days": 20}, "19 days of events"), ({"users": 9}, "9 users: at least")],
)
def test_what_profiles_lack(tmp_path: Path, options: dict[str, int], reason: str) -> None:
    found = verdict("profiles", events(tmp_path / "e.csv", **options))  # type: ignore[arg-type]
    assert not found.possible
    assert any(reason in sentence for sentence in found.reasons)


def test_tables_with_one_row_an_id_are_items_and_users(tmp_path: Path) -> None:
    file = events(tmp_path / "e.csv")
    items = tmp_path / "items.csv"
    items.write_text("item_id,category,kind\n" + "".join(f"i{n},tea,{'ab'[n % 2]}\n" for n in range(7)))
    coupons = tmp_path / "coupons.csv"
    coupons.write_text("item_id,coupon\n" + "".join(f"i{n % 7},c{n}\n" for n in range(20)))
    command = verdict("profiles", file, coupons, items).command
    assert f"--items {items}" in command
    assert str(coupons) not in command
    assert not [v for v in verdicts([inspect_file(items)]) if v.training.startswith("a flat table")]


def test_a_flat_table_is_found_by_its_label(tmp_path: Path) -> None:
    file = tmp_path / "user_data.csv"
    file.write_text("user_id,click_count,plan,label\n" + "".join(f"{n},{n % 9},{'xy'[n % 2]},{n % 2}\n" for n in range(30)))
    found = verdict("a flat table", file)
    assert found.possible
    assert found.command == f"train JOB --table {file} --label label --out DIR"
    plain = tmp_path / "plain.csv"
    plain.write_text("a,b\n1,2\n2,3\n3,4\n")
    assert verdict("a flat table", plain).reasons == ("no column with two different values, which could be a label",)


def test_impressions_in_parquet(tmp_path: Path) -> None:
    rows = [{"user_id": n % 9, "ad_id": n % 3, "timestamp": 1_748_736_000 + n, "click": int(n % 4 == 0)} for n in range(200)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "i.parquet")
    found = verdict("ads", tmp_path / "i.parquet")
    assert found.possible
    assert any("no propensity" in reason for reason in found.reasons)


def test_a_mapping_is_suggested_where_a_column_or_two_are_missing(tmp_path: Path) -> None:
    file = tmp_path / "e.csv"
    file.write_text("CustomerID,StockCode,InvoiceDate\n" + "7,tea,2025-01-01\n" * 3)
    assert any("--map event_type==purchase" in note for note in inspect_file(file).notes)
    mapped = inspect_file(file, {"timestamp": "InvoiceDate", "event_type": "=purchase"})
    assert mapped.kind == "interactions"


def test_rows_that_cannot_be_used_are_counted_without_being_shown(tmp_path: Path) -> None:
    file = tmp_path / "e.csv"
    file.write_text("user_id,item_id,event_type,timestamp\nann,tea,buy,2025-01-01\nann,tea,buy,soon\n,tea,buy,2025-01-01\nx\n")
    notes = "\n".join(inspect_file(file).notes)
    assert "1 rows cannot be used: timestamp: expected RFC 3339 or unix time" in notes
    assert "1 lines are no rows" in notes
    assert "soon" not in notes


def test_the_command_continues_after_a_file_that_is_not_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("[1, 2]")
    assert main(["check", str(events(tmp_path / "e.csv")), str(broken)]) == 0
    printed = capsys.readouterr().out
    assert "e.csv: interactions, 480 rows" in printed
    assert "not usable: expected JSON Lines" in printed
    assert "  yes profiles" in printed
    with pytest.raises(InvalidInput, match="none of the files"):
        check([broken])
