"""JSON Lines: types stay, keys may differ, a bad line is rejected alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from personalization.core.errors import InvalidInput
from personalization.data import open_table
from tests.unit.data.test_table_reader import file, read


def test_values_keep_their_types(tmp_path: Path):
    content = '{"a": 1, "b": "x", "c": [1, "y"], "d": null}\n{"a": 2.5, "b": true, "c": [], "e": "late"}\n'
    rows, lines, rejects = read(file(tmp_path, content), canonical=False)
    assert rows == [
        {"a": 1, "b": "x", "c": [1, "y"], "d": None, "e": None},
        {"a": 2.5, "b": True, "c": [], "d": None, "e": "late"},
    ]
    assert (lines, rejects) == ([1, 2], [])


def test_bad_lines_are_rejected_alone(tmp_path: Path):
    lines = [
        b'{"a": 1, "b": 2}',
        b'{"a": 1, "b": }',
        b"[1, 2]",
        b'{"a": {"deep": 1}, "b": 3}',
        b'{"a": 4, "b": [[1], 2]}',
        b'{"a": "caf\xe9", "b": 5}',
        b"",
        b'{"a": "' + b"x" * 70_000 + b'", "b": 6}',
        b'{"a": "\\ud83d", "b": 7}',
        b'{"a": 8, "b": NaN}',
        b'{"a": 9, "b": 9}',
    ]
    rows, starts, rejects = read(file(tmp_path, b"\n".join(lines)), canonical=False)
    assert [row["a"] for row in rows] == [1, 8, 9]
    assert starts == [1, 10, 11]
    assert [(reject.line, reject.pointer, reject.reason.partition(",")[0]) for reject in rejects] == [
        (2, "", "expected valid JSON"),
        (3, "", "expected a JSON object"),
        (4, "/a", "expected a value or a list of values"),
        (5, "/b", "expected a value or a list of values"),
        (6, "", "expected UTF-8 text"),
        (8, "", "expected a record of at most 65536 bytes"),
        (9, "", "expected valid JSON"),
    ]


def test_what_is_nested_in_a_column_that_nobody_reads_is_no_fault(tmp_path: Path):
    path = file(tmp_path, '{"a": 1, "params": [{"key": "x"}]}\n')
    rows, _, rejects = read(path, canonical=False, only={"a"})
    assert (rows, rejects) == ([{"a": 1}], [])


def test_names_are_ours_also_for_keys_that_come_late(tmp_path: Path):
    head = '{"userId": "u1", "sku": "i1", "event": "view", "ts": 1}\n'
    content = head * 20_000 + '{"userId": "u2", "sku": "i2", "event": "buy", "ts": 2, "transactionId": "t", "userID": "x"}\n'
    reader = open_table(file(tmp_path, content))
    assert reader.kind == "interactions"
    assert reader.columns == ("user_id", "item_id", "event_type", "timestamp")
    *_, last = reader.chunks()
    assert last.columns["user_id"][-1] == "u2"
    assert last.columns["order_id"][-1] == "t"


def test_two_keys_for_one_column_are_refused(tmp_path: Path):
    with pytest.raises(InvalidInput, match=r"'sku' and 'product_id' both mean item_id"):
        read(file(tmp_path, '{"sku": 1, "product_id": 2}\n'))
