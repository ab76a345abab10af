"""Headers, aliases, mappings: which column is which."""

from __future__ import annotations

from pathlib import Path

import pytest

from personalization.core.errors import InvalidInput
from personalization.data import open_table, parse_mapping
from tests.unit.data.test_table_reader import file, read


def columns(tmp_path: Path, header: str, **options: object) -> dict[str, str]:
    """{our name: cell} of a table whose cells are c0, c1, …"""
    cells = ",".join(f"c{index}" for index in range(header.count(",") + 1))
    rows, _, _ = read(file(tmp_path, f"{header}\n{cells}\n"), **options)
    return {name: str(cell) for name, cell in rows[0].items()}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("USER_ID,ITEM_ID,EVENT_TYPE,TIMESTAMP", ["user_id", "item_id", "event_type", "timestamp"]),  # Amazon Personalize
        ("user_pseudo_id,item_id,event_name,event_timestamp", ["user_id", "item_id", "event_type", "timestamp"]),  # GA4
        ("CustomerID,Stock Code,eventType,time", ["user_id", "item_id", "event_type", "timestamp"]),
    ],
)
def test_names_of_others_are_ours(tmp_path: Path, header: str, expected: list[str]):
    assert list(columns(tmp_path, header)) == expected
    assert open_table(file(tmp_path, header + "\n")).kind == "interactions"


def test_our_exact_name_wins_over_an_alias(tmp_path: Path):
    assert columns(tmp_path, "sku,item_id,client_id") == {"item_id": "c1", "sku": "c0", "user_id": "c2"}


def test_a_mapping_wins_over_the_header(tmp_path: Path):
    found = columns(
        tmp_path, "Kunde,user_id,Artikel,time", mapping={"user_id": "kunde", "item_id": "Artikel", "event_type": "=purchase"}
    )
    assert found == {"user_id": "c0", "item_id": "c2", "timestamp": "c3", "event_type": "purchase"}


def test_a_flat_table_keeps_its_names(tmp_path: Path):
    assert columns(tmp_path, "Click Count, sku ,,time", canonical=False) == {"Click Count": "c0", "sku": "c1", "time": "c3"}
    assert columns(tmp_path, "a,b", canonical=False, mapping={"x": "A", "b": "=0"}) == {"x": "c0", "b": "0"}


def test_only_the_columns_that_are_asked_for_are_read(tmp_path: Path):
    assert columns(tmp_path, "a,b,c", canonical=False, only={"c", "a", "z"}) == {"a": "c0", "c": "c2"}


@pytest.mark.parametrize(
    ("header", "options", "message"),
    [
        ("a,b,a", {}, "the column 'a' twice"),
        ("User ID,user_id", {}, "'User ID' and 'user_id' are both user_id"),
        ("sku,product_id", {}, "'sku' and 'product_id' both mean item_id"),
        ("a,b", {"mapping": {"user_id": "CustomerID"}}, "column 'CustomerID', which the file does not have"),
        ("user_id,sku,time", {"kind": "interactions"}, r"missing: event_type\. A mapping"),
    ],
)
def test_what_is_ambiguous_or_missing_is_told(tmp_path: Path, header: str, options: dict[str, object], message: str):
    with pytest.raises(InvalidInput, match=message):
        columns(tmp_path, header, **options)


def test_a_message_does_not_quote_a_file_without_header(tmp_path: Path):
    with pytest.raises(InvalidInput) as caught:
        open_table(file(tmp_path, "user-4711,i1,purchase,2026-01-01\n"), kind="interactions")
    assert "4711" not in str(caught.value)


def test_mappings_are_pairs_or_json():
    expected = {"user_id": "Customer ID", "event_type": "=purchase"}
    assert parse_mapping("user_id=Customer ID, event_type==purchase") == expected
    assert parse_mapping('\ufeff{"user_id": "Customer ID", "event_type": "=purchase"}') == expected
    assert parse_mapping(b'{"user_id": "Customer ID", "event_type": "=purchase"}') == expected
    for wrong in ("", "user_id", "=x", "user_id=", '{"user_id": 3}', '{"user_id"'):
        with pytest.raises(InvalidInput, match="mapping"):
            parse_mapping(wrong)
