"""Parts of a bounded size, the account of rows, and the manifest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from personalization.batch.flat_tables import probability_lines
from personalization.batch.output import PartsOutput
from personalization.batch.row_counts import DUPLICATE, RowCounts, TooManyRejects
from personalization.core.errors import BundleInvalid
from personalization.data import Reject


def test_parts_end_before_they_are_too_long(tmp_path: Path):
    with PartsOutput(tmp_path, max_lines=5, max_bytes=40) as output:
        for blob, count in ((b"a\n" * 3, 3), (b"b\n" * 2, 2), (b"c\n", 1), (b"d" * 35 + b"\n", 1), (b"e" * 60 + b"\n", 1)):
            output.lines(blob, count)
        output.rejects([Reject(7, "/x", "expected a number, received 'ä'", 'ä,"')])
    contents = [(tmp_path / part.name).read_bytes() for part in output.parts]
    assert [part.name for part in output.parts] == ["part-00000.jsonl", "part-00001.jsonl", "part-00002.jsonl"]
    assert contents == [b"a\na\na\nb\nb\n", b"c\n" + b"d" * 35 + b"\n", b"e" * 60 + b"\n"]
    assert [part.lines for part in output.parts] == [5, 2, 1]
    assert [part.sha256 for part in output.parts] == [hashlib.sha256(content).hexdigest() for content in contents]
    assert json.loads((tmp_path / "rejects.jsonl").read_text(encoding="utf-8")) == {
        "line": 7,
        "pointer": "/x",
        "reason": "expected a number, received 'ä'",
        "raw": 'ä,"',
    }


def test_no_line_means_no_part_but_a_file_of_rejects(tmp_path: Path):
    with PartsOutput(tmp_path) as output:
        pass
    assert output.parts == []
    assert [path.name for path in tmp_path.iterdir()] == ["rejects.jsonl"]


def test_probabilities_are_written_so_that_they_read_back_the_same():
    probability = np.array([0.0, 1.0, 0.1, 1 / 3, 1e-8, 0.99999994], dtype=np.float64)
    text = probability_lines(np.arange(3, 9), probability).decode()
    assert text.splitlines()[0] == '{"row":3,"probability":0.0}'
    assert text.endswith("}\n")
    read = [json.loads(line) for line in text.splitlines()]
    assert [line["row"] for line in read] == [3, 4, 5, 6, 7, 8]
    assert np.array_equal(np.float32([line["probability"] for line in read]), probability.astype(np.float32))
    assert max(len(str(line["probability"])) for line in read) <= 10  # no noise of a wider type
    assert probability_lines(np.arange(0), np.zeros(0)) == b""


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_no_number_never_leaves(wrong: float):
    with pytest.raises(BundleInvalid, match="not finite"):
        probability_lines(np.arange(2), np.array([0.5, wrong]))


def test_rejects_are_counted_by_pointer_and_cause():
    row_counts = RowCounts(rows_in=10)
    row_counts.reject(
        [Reject(2, "/n", "expected a number, received 'x'", ""), Reject(3, "/n", "expected a number, received 'y'", "")]
    )
    row_counts.reject([Reject(4, "", "expected closed quotes", "")])
    assert (row_counts.rejected, dict(row_counts.reasons)) == (3, {"/n: expected a number": 2, "expected closed quotes": 1})


def test_the_limit_is_a_share_and_duplicates_are_not_bad():
    row_counts = RowCounts(rows_in=10, duplicates=3)
    row_counts.reject([Reject(line, "/event_id", DUPLICATE, "") for line in range(2, 5)])
    row_counts.reject([Reject(line, "/timestamp", "expected a time, received 'x'", "") for line in range(5, 7)])
    row_counts.check(0.2)
    with pytest.raises(TooManyRejects, match=r"2 of 10 rows were rejected.*0\.19.*/timestamp: expected a time$"):
        row_counts.check(0.19)
    RowCounts().check(0.0)  # nothing came, nothing is bad
