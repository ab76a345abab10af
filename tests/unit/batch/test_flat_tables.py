"""A flat table through the batch code: each row in order, every one accounted for."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalization.batch.output import PartsOutput, StreamOutput
from personalization.batch.row_counts import RowCounts, TooManyRejects
from personalization.batch.scoring import score_file
from personalization.batch.task import ScoringTask
from personalization.bundles.bundle import Bundle, load_bundle
from personalization.core.errors import InvalidInput
from tests.bundles import expected_probability, flat_bundle

HEAD = "user_id,click_count,view_duration,channel,label\n"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    directory = tmp_path_factory.mktemp("flat")
    flat_bundle(directory)
    return load_bundle(directory)


def score(bundle: Bundle, path: Path, **options: Any) -> tuple[list[dict[str, Any]], RowCounts]:
    stream = io.BytesIO()
    row_counts = score_file(bundle, ScoringTask(path, StreamOutput(stream), **options))
    return [json.loads(line) for line in stream.getvalue().splitlines()], row_counts


def rejects(bundle: Bundle, path: Path, directory: Path) -> list[dict[str, Any]]:
    with PartsOutput(directory) as output:
        score_file(bundle, ScoringTask(path, output))
    return [json.loads(line) for line in (directory / "rejects.jsonl").read_bytes().splitlines()]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "user_data.csv"
    path.write_bytes(
        HEAD.encode()
        + b"u0,4,10,web,1\n"
        + b"u1,many,30,app,0\n"  # text where a number belongs
        + b'"u2,1,1,web,0\n'  # a quote that never closes
        + b"u3,,30,app,0\n"
        + b"\n"  # no row
        + b"u4,1,1,caf\xe9,0\n"  # bytes that are no text
        + b"u5,1,2\n"  # too few cells
        + b'u6,0,,"kiosk",\n'
        + b"u7,1e999,x,web,0\n"
    )
    return path


def test_good_rows_are_scored_and_keep_their_number(bundle: Bundle, table: Path):
    lines, row_counts = score(bundle, table)
    assert [line["row"] for line in lines] == [0, 3, 6]
    expected = [expected_probability(4, 10, "web"), expected_probability(None, 30, "app"), expected_probability(0, None, "?")]
    assert [line["probability"] for line in lines] == pytest.approx(expected, abs=1e-6)
    assert all(set(line) == {"row", "probability"} for line in lines)
    assert (row_counts.rows_in, row_counts.rows_used, row_counts.rejected, row_counts.kind) == (8, 3, 5, "table")


def test_each_reject_says_where_and_why(bundle: Bundle, table: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    found = rejects(bundle, table, tmp_path / "out")
    assert [(line["line"], line["pointer"], line["reason"]) for line in found] == [
        (3, "/click_count", "expected a number, received 'many'"),
        (4, "", "expected closed quotes, received text behind a closing quote"),
        (7, "", "expected UTF-8 text, received bytes that cannot be decoded"),
        (8, "", "expected 5 cells, received 3"),
        (10, "/click_count", "expected a number, received '1e999'"),
    ]
    assert found[0]["raw"] == "u1,many,30,app,0"


def test_where_bad_cells_count_as_missing_every_row_has_a_line(bundle: Bundle, table: Path):
    lines, row_counts = score(bundle, table, on_bad_row="missing")
    assert [line["row"] for line in lines] == list(range(8))
    rows = [(4, 10, "web"), (None, 30, "app"), (None, None, None), (None, 30, "app"), (None, None, None), (None, None, None),
            (0, None, "?"), (None, None, "web")]  # fmt: skip
    assert [line["probability"] for line in lines] == pytest.approx([expected_probability(*row) for row in rows], abs=1e-6)
    assert (row_counts.rows_in, row_counts.rows_used, row_counts.rejected, row_counts.bad_cells) == (8, 8, 0, 6)


def test_json_lines_are_scored_as_csv_is(bundle: Bundle, tmp_path: Path):
    path = tmp_path / "rows"
    path.write_text('{"click_count": 4, "view_duration": 10.0, "channel": "web", "extra": {"x": 1}}\n{"channel": 7}\n')
    lines, _ = score(bundle, path)
    expected = [expected_probability(4, 10, "web"), expected_probability(None, None, "7")]
    assert [line["probability"] for line in lines] == pytest.approx(expected, abs=1e-6)


def test_a_mapping_gives_other_names_and_constants(bundle: Bundle, tmp_path: Path):
    path = tmp_path / "rows"
    path.write_text("Klicks;view_duration\n4;10\n")
    lines, row_counts = score(bundle, path, mapping={"click_count": "Klicks", "channel": "=app"})
    assert lines[0]["probability"] == pytest.approx(expected_probability(4, 10, "app"), abs=1e-6)
    assert row_counts.missing_columns == []


def test_columns_that_the_file_lacks_are_missing_and_named(bundle: Bundle, tmp_path: Path):
    path = tmp_path / "rows"
    path.write_text("view_duration,x\n10,1\n")
    lines, row_counts = score(bundle, path)
    assert lines[0]["probability"] == pytest.approx(expected_probability(None, 10, None), abs=1e-6)
    assert row_counts.missing_columns == ["click_count", "channel"]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", {}, "empty file"),
        ("a,b\n1,2\n", {}, "expected columns of the model profiles-table, received none of: click_count"),
        ("click_count\n1\n", {"kind": "interactions"}, "expected a table of table, which the model profiles-table takes"),
    ],
)
def test_a_file_that_the_model_cannot_score_is_told(
    bundle: Bundle, tmp_path: Path, content: str, options: dict[str, Any], message: str
):
    path = tmp_path / "rows"
    path.write_text(content)
    with pytest.raises(InvalidInput, match=message):
        score(bundle, path, **options)


def test_too_many_rejects_are_an_error_with_an_account(bundle: Bundle, table: Path):
    row_counts = RowCounts()
    with pytest.raises(TooManyRejects, match="5 of 8 rows"):
        score(bundle, table, max_reject_share=0.6, row_counts=row_counts)
    assert (row_counts.rows_in, row_counts.rejected) == (8, 5)
    assert score(bundle, table, max_reject_share=0.625)[1].rejected == 5


FIVE_KINDS = {
    "/click_count: expected a number": b"u%d,many,1,web,0\n",
    "/view_duration: expected a number": b"u%d,1,long,web,0\n",
    "expected closed quotes": b'"u%d,1,1,web,0\n',
    "expected UTF-8 text": b"u%d,1,1,\xff\xfe,0\n",
    "expected 5 cells": b"u%d,1,1,web\n",
}


@pytest.mark.parametrize("quoted", [False, True], ids=["plain", "quoted"])
def test_one_bad_row_in_a_hundred_of_five_kinds(bundle: Bundle, tmp_path: Path, quoted: bool):
    rows, kinds = 100_000, list(FIVE_KINDS.values())
    good = b'"u%d","3","7.5","a ""b"", c",1\n' if quoted else b"u%d,3,7.5,app,1\n"
    written = [kinds[i // 100 % 5] % i if i % 100 == 37 else good % i for i in range(rows)]
    path = tmp_path / "rows"
    path.write_bytes(HEAD.encode() + b"".join(written))
    lines, row_counts = score(bundle, path)
    assert (row_counts.rows_in, row_counts.rows_used, row_counts.rejected) == (rows, rows - 1_000, 1_000)
    assert dict(row_counts.reasons) == dict.fromkeys(FIVE_KINDS, 200)
    assert [line["row"] for line in lines] == [i for i in range(rows) if i % 100 != 37]
    expected = expected_probability(3, 7.5, "?" if quoted else "app")
    (probability,) = {line["probability"] for line in lines}
    assert probability == pytest.approx(expected, abs=1e-6)
    every, row_counts = score(bundle, path, on_bad_row="missing")
    assert [line["row"] for line in every] == list(range(rows))
    assert row_counts.rejected == 0


@given(st.data())
def test_no_row_is_ever_lost(bundle: Bundle, tmp_path: Path, data: st.DataObject):
    """Whatever is done to a file behind its header: rows in = scored + rejected, and each has its line in `predict`."""
    whole = b"".join(b"u%d,%d,,web,0\n" % (i, i) for i in range(8))
    at = data.draw(st.integers(0, len(whole)))
    until = data.draw(st.integers(at, len(whole)))
    noise = data.draw(st.one_of(st.binary(max_size=40), st.text('",\n\r1a', max_size=40).map(str.encode)))
    path = tmp_path / "rows"
    path.write_bytes(HEAD.encode() + whole[:at] + noise + whole[until:])
    (tmp_path / "out").mkdir(exist_ok=True)
    with PartsOutput(tmp_path / "out") as output:
        row_counts = score_file(bundle, ScoringTask(path, output))
    scored = [json.loads(line) for part in output.parts for line in (tmp_path / "out" / part.name).read_bytes().splitlines()]
    rejected = (tmp_path / "out" / "rejects.jsonl").read_bytes().splitlines()
    assert row_counts.rows_in == len(scored) + len(rejected) == row_counts.rows_used + row_counts.rejected
    numbers = [line["row"] for line in scored]
    assert numbers == sorted(set(numbers))
    assert all(number < row_counts.rows_in for number in numbers)
    every, _ = score(bundle, path, on_bad_row="missing")
    assert [line["row"] for line in every] == list(range(row_counts.rows_in))
