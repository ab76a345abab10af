"""Tables of CSV, JSON Lines and Parquet: flat tables whole, and lookups of users and items by id."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from personalization.core.cells import numbers, words
from personalization.core.errors import InvalidInput
from training.io.tables import read_attributes, read_categories, read_flat_table, read_id_map


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_a_flat_table_has_the_same_cells_in_parquet_and_json_lines(tmp_path: Path) -> None:
    rows = [{"Click Count": n % 3, "spend": None if n == 2 else n / 4, "city": ["a", None][n % 2]} for n in range(7)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet", row_group_size=3)
    write(tmp_path / "t.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    mapping = {"town": "city", "shop": "=web"}
    parquet, lines = (read_flat_table(tmp_path / name, mapping) for name in ("t.parquet", "t.jsonl"))
    assert parquet.rows == lines.rows == 7
    assert parquet.columns.keys() == lines.columns.keys() == {"Click Count", "spend", "town", "shop"}
    for name, content in lines.columns.items():
        assert words(parquet.columns[name]) == words(content)


def test_times_of_a_flat_parquet_table_stay_times_and_decimals_are_numbers(tmp_path: Path) -> None:
    day = datetime(2025, 3, 1, 8)  # noqa: DTZ001
    pq.write_table(pa.table({"joined": [day, None], "price": [Decimal("1.50"), None]}), tmp_path / "t.parquet")
    table = read_flat_table(tmp_path / "t.parquet")
    assert list(table.columns["joined"]) == [day, None]
    assert numbers(table.columns["price"])[0].tolist()[0] == 1.5


def test_a_table_without_rows_or_with_a_mapping_to_no_column_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "t.parquet")
    with pytest.raises(InvalidInput, match=r"expected rows in t\.parquet, received none"):
        read_flat_table(tmp_path / "t.parquet")
    with pytest.raises(InvalidInput, match="'b', which the file does not have"):
        read_flat_table(tmp_path / "t.parquet", {"label": "b"})


def test_categories_and_attributes_are_read_by_id(tmp_path: Path) -> None:
    items = write(tmp_path / "items.csv", "sku,item_category\ntea1,tea\ncup1,\npot1,pots\n")
    assert read_categories(items) == {"tea1": "tea", "pot1": "pots"}
    users = write(tmp_path / "users.csv", "user_id,Age Group,region\nc7,30-39,north\nzoe,50-59,south\n")
    result = read_attributes(users, ["bob", "ann"], user_ids={"c7": "ann"})
    assert {name: column.tolist() for name, column in result.items()} == {
        "age_group": [None, "30-39"],
        "region": [None, "north"],
    }


def test_an_id_map_must_be_unambiguous(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="one for two users"):
        read_id_map(write(tmp_path / "a.csv", "cookie,user_id\nc7,ann\nc7,bob\n"))
    with pytest.raises(InvalidInput, match="user_id and one other id"):
        read_id_map(write(tmp_path / "b.csv", "cookie,phone,user_id\nc7,1,ann\n"))
