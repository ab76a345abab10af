"""Parts of an item catalog against a plain dictionary that does the same row by row."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalization.catalog import CatalogPart, ItemCatalog, empty_catalog, parse_items
from personalization.core.errors import CatalogInvalid

ids = st.sampled_from(["a", "b", "c", "d", "e"])
rows = st.lists(
    st.fixed_dictionaries(
        {"item_id": ids}, optional={"price": st.none() | st.integers(0, 9), "brand": st.none() | st.sampled_from(["x", "y"])}
    ),
    max_size=6,
)
changes = st.lists(st.tuples(rows, st.lists(ids, max_size=2)), max_size=5)


def parts_of(change: tuple[list[dict[str, Any]], list[str]]) -> list[CatalogPart]:
    """One part a row, then one for what is removed."""
    rows, removed = change
    parts = [parse_items({name: [cell] for name, cell in row.items()}, 1, UTC).part for row in rows]
    return [*parts, CatalogPart([], {}, removed)]


def by_hand(every: list[tuple[list[dict[str, Any]], list[str]]]) -> dict[str, dict[str, str | None]]:
    items: dict[str, dict[str, str | None]] = {}
    for rows, removed in every:
        for row in rows:
            item = items.setdefault(row["item_id"], {})
            item.update({name: None if cell is None else str(cell) for name, cell in row.items() if name != "item_id"})
        for item_id in removed:
            items.pop(item_id, None)
    return items


def items_of(catalog: ItemCatalog) -> dict[str, dict[str, str | None]]:
    return {
        item: {name: column.word(row) for name, column in catalog.columns.items() if column.codes[row] != -2}
        for row, item in enumerate(catalog.ids)
        if not catalog.removed[row]
    }


@given(changes)
def test_parts_fold_to_what_a_dictionary_holds(every: list[tuple[list[dict[str, Any]], list[str]]]) -> None:
    catalog = empty_catalog()
    for change in every:
        for part in parts_of(change):
            catalog = catalog.with_part(CatalogPart.from_bytes(part.to_bytes()))
    assert items_of(catalog) == by_hand(every)
    folded = empty_catalog().with_part(CatalogPart.from_bytes(catalog.as_part().to_bytes()))
    assert items_of(folded) == by_hand(every)
    gone = {item for item, removed in zip(catalog.ids, catalog.removed, strict=True) if removed}
    assert {item for item, removed in zip(folded.ids, folded.removed, strict=True) if removed} == gone


def test_the_same_part_is_the_same_bytes() -> None:
    columns = {"item_id": ["a", "b"], "price": ["1", None], "title": ["Ä", "b/c"], "odd/name": ["1", "2"]}
    one, two = (parse_items(dict(c), 2, UTC).part for c in (columns, reversed(columns.items())))
    assert one.to_bytes() == two.to_bytes()
    assert CatalogPart.from_bytes(one.to_bytes()).columns["odd/name"].cells() == ["1", "2"]


@pytest.mark.parametrize("raw", [b"", b"PK", b"{}"])
def test_bytes_that_are_not_a_part_are_refused(raw: bytes) -> None:
    with pytest.raises(CatalogInvalid):
        CatalogPart.from_bytes(raw)


def test_rows_with_faults_are_left_out_and_named() -> None:
    columns = {
        "item_id": ["a", "", "c", "d", "a", "x" * 300, "g"],
        "price": ["1.5", "2", "-1", "many", "2.5", "1", ""],
        "in_stock": [True, "yes", "no", "0", "perhaps", "1", None],
        "created_at": ["2026-01-01", None, None, None, None, None, "yesterday"],
    }
    parsed = parse_items(columns, 7, UTC)
    assert [(fault.row, fault.column) for fault in parsed.faults] == [
        (1, "item_id"), (2, "price"), (3, "price"), (4, "in_stock"), (5, "item_id"), (6, "created_at")
    ]  # fmt: skip
    assert parsed.faults[2].reason == "expected a number, not negative, received 'many'"
    assert parsed.used.tolist() == [True] + [False] * 6
    assert parsed.part.ids == ["a"]


def test_of_several_rows_the_last_counts_and_a_column_can_remove() -> None:
    parsed = parse_items({"item_id": ["a", "b", "a", "c"], "price": [1, 2, 3, 4], "removed": [None, "true", "", "no"]}, 4, UTC)
    assert parsed.part.ids == ["a", "c"]
    assert parsed.part.columns["price"].cells() == ["3", "4"]
    assert parsed.part.removed == ["b"]
    assert "removed" not in parsed.part.columns
