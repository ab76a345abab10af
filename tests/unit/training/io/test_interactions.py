"""Several files and channels become one log of events, and every row is accounted for."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from personalization.core.errors import InvalidInput
from personalization.core.events import EVENT_COLUMNS, Events
from training.io.interactions import read_interactions
from training.io.tables import read_id_map

NOW = datetime(2025, 7, 1, tzinfo=UTC)
HEADER = "user_id,item_id,event_type,timestamp,order_id,event_value\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def readable(events: Events) -> list[tuple[Any, ...]]:
    """Readable rows: user, item, time."""
    moments = [datetime.fromtimestamp(t / 1000, UTC).strftime("%m-%dT%H:%M") for t in events.timestamp.tolist()]
    return [(events.users[u], events.items[i], t) for u, i, t in zip(events.user, events.item, moments, strict=True)]


def test_files_of_several_channels_are_merged_under_one_name_of_the_user(tmp_path: Path) -> None:
    web = write(
        tmp_path / "web.csv",
        "cookie,product_id,event,time\nc7,tea,view,2025-06-01T10:00:00Z\nc9,cups,buy,2025-06-02T10:00:00Z\n",
    )
    write(tmp_path / "web.csv.map.json", '{"user_id": "cookie", "channel": "=web"}')
    shop = write(tmp_path / "till.csv", "user_id,item_id,timestamp\nann,tea,1748865600\n")
    ids = read_id_map(write(tmp_path / "ids.csv", "cookie,user_id\nc7,ann\nc8,bob\n"))
    sources = read_interactions([web, shop], mapping={"event_type": "=purchase"}, user_ids=ids, now=NOW)
    assert readable(sources.events) == [
        ("ann", "tea", "06-01T10:00"),
        ("c9", "cups", "06-02T10:00"),
        ("ann", "tea", "06-02T12:00"),
    ]
    assert [sources.events.channels[c] if c >= 0 else None for c in sources.events.channel] == ["web", "web", None]
    assert sources.report["id_map"] == {"ids": 2, "found": 1}
    assert sources.report["event_types"] == {"view_item": 1, "purchase": 2}
    assert (sources.report["users"], sources.report["items"]) == (2, 2)


def test_every_row_is_used_rejected_or_a_duplicate(tmp_path: Path) -> None:
    first = write(
        tmp_path / "a.csv",
        "user_id,item_id,event_type,timestamp,event_id,event_value\n"
        "ann,tea,purchase,2025-06-01T10:00:00Z,e1,5\n"
        ",tea,purchase,2025-06-01T10:00:00Z,e2,5\n"
        "bob,tea,purchase,yesterday,e3,5\n"
        "bob,tea,purchase,2025-06-01T11:00:00Z,e4,much\n"
        "bob,tea,purchase,2025-06-01T11:00:00Z,e5,5,6\n"
        "bob,tea,purchase,2025-06-01T12:00:00Z,e6,5\n",
    )
    second = write(
        tmp_path / "b.csv",
        "user_id,item_id,event_type,timestamp,event_id\nann,tea,purchase,2025-06-01T10:00:00Z,e1\ncyd,tea,purchase,2025-06-03,e7\n",
    )
    report = read_interactions([first, second], now=NOW).report
    assert report["files"] == [
        {"file": "a.csv", "rows": 6, "used": 2, "rejected": 4, "duplicates": 0},
        {"file": "b.csv", "rows": 2, "used": 1, "rejected": 0, "duplicates": 1},
    ]
    assert sum(report["rejected"].values()) == 4
    assert report["rejected"]["timestamp: expected RFC 3339 or unix time"] == 1
    assert not any("yesterday" in reason or "much" in reason for reason in report["rejected"])


def test_copies_without_an_event_id_are_kept_and_counted(tmp_path: Path) -> None:
    line = "ann,tea,purchase,2025-06-01T10:00:00Z,o1,5\n"
    sources = read_interactions([write(tmp_path / "a.csv", HEADER + line * 3)], now=NOW)
    assert len(sources.events) == 3
    assert sources.report["suspected_duplicates"] == 2


def test_an_order_that_continues_in_another_file_stays_one_order(tmp_path: Path) -> None:
    one = write(
        tmp_path / "a.csv", HEADER + "ann,tea,purchase,2025-06-01T10:00:00Z,o1,5\nbob,tea,purchase,2025-06-01T10:00:00Z,o1,5\n"
    )
    two = write(tmp_path / "b.csv", HEADER + "ann,cups,purchase,2025-06-01T10:05:00Z,o1,5\nann,pots,purchase,2025-06-02,,5\n")
    order = read_interactions([one, two], now=NOW).events.order.tolist()
    assert order[0] == order[2]
    assert len({order[0], order[1], order[3]}) == 3


def test_parquet_csv_and_json_lines_give_equal_events(tmp_path: Path) -> None:
    rows = [
        {
            "user_id": f"u{n % 3}",
            "item_id": str(n % 4),
            "event_type": ["view", "buy"][n % 2],
            "timestamp": f"2025-06-0{1 + n % 7}T08:00:00",
            "order_id": f"o{n // 2}",
            "quantity": None if n == 3 else n % 2 + 1,
            "unit_price": 2.5,
            "category": None if n == 2 else "tea",
        }
        for n in range(12)
    ]
    names = list(rows[0])
    body = "".join(",".join("" if row[name] is None else str(row[name]) for name in names) + "\n" for row in rows)
    with gzip.open(tmp_path / "a.csv.gz", "wt") as stream:
        stream.write(",".join(names) + "\n" + body)
    write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    arrow = pa.Table.from_pylist([row | {"timestamp": datetime.fromisoformat(str(row["timestamp"]))} for row in rows])
    arrow = arrow.set_column(names.index("event_type"), "event_type", arrow["event_type"].dictionary_encode())
    pq.write_table(arrow, tmp_path / "a.parquet", row_group_size=5)
    zone = ZoneInfo("Europe/Berlin")
    names = ("a.parquet", "a.csv.gz", "a.jsonl")
    parquet, *others = (read_interactions([tmp_path / name], zone=zone, now=NOW).events for name in names)
    for other in others:
        for column in EVENT_COLUMNS:
            np.testing.assert_array_equal(getattr(other, column), getattr(parquet, column), err_msg=column)
        assert (other.users, other.items, other.categories) == (parquet.users, parquet.items, parquet.categories)
    # 08:00 in Berlin's summer is 06:00 UTC.
    assert {datetime.fromtimestamp(t / 1000, UTC).hour for t in parquet.timestamp.tolist()} == {6}


def test_numbers_as_ids_are_the_same_user_in_parquet_and_csv(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"user_id": [7], "item_id": [1.0], "event_type": ["buy"], "timestamp": [1_748_772_000]}),
        tmp_path / "a.parquet",
    )
    csv = write(tmp_path / "b.csv", "user_id,item_id,event_type,timestamp\n7,1,buy,1748772000\n")
    events = read_interactions([tmp_path / "a.parquet", csv], now=NOW).events
    assert (events.users, events.items) == (["7"], ["1"])


def test_several_currencies_give_a_warning(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.csv",
        "user_id,item_id,event_type,timestamp,currency\na,t,buy,2025-06-01,EUR\na,t,buy,2025-06-02,EUR\nb,t,buy,2025-06-01,USD\n",
    )
    sources = read_interactions([file], now=NOW)
    assert sources.currency == "EUR"
    assert "EUR, USD" in sources.report["warning"]


def test_a_file_of_another_kind_is_refused_with_its_missing_columns(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "CustomerID,spend\n7,3\n")
    with pytest.raises(InvalidInput, match=r"missing: item_id, event_type, timestamp.*--map item_id="):
        read_interactions([file], now=NOW)


def test_a_file_without_a_usable_row_is_refused_with_the_reasons(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", HEADER + "ann,tea,purchase,soon,,\n")
    with pytest.raises(InvalidInput, match=r"timestamp: expected RFC 3339 or unix time \(1 rows\)"):
        read_interactions([file], now=NOW)
