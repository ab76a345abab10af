"""Quotes as in RFC 4180, and what is lost where they are broken: a record, or the first line of one that cannot be read."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalization.core.schema import MAX_RECORD_BYTES
from personalization.data import Reject
from tests.unit.data.test_table_reader import file, read

HEAD = "a,b,c\n"
OPEN_QUOTE = "expected closed quotes, received no closing quote within 65536 bytes"
BAD_QUOTES = "expected closed quotes, received text behind a closing quote"


def outcome(tmp_path: Path, body: str) -> tuple[list[tuple[str, ...]], list[tuple[int, str]]]:
    rows, _, rejects = read(file(tmp_path, HEAD + body), canonical=False)
    return [tuple(row.values()) for row in rows], [(reject.line, reject.reason) for reject in rejects]


@pytest.mark.parametrize(
    ("body", "rows", "rejects"),
    [
        ('1,"x ""y"", z",3\n', [("1", 'x "y", z', "3")], []),
        ('1,"x\n\ny",3\n', [("1", "x\n\ny", "3")], []),
        ('1,27" screen,3\n', [("1", '27" screen', "3")], []),  # a quote inside an unquoted cell is text
        (",,\n", [("", "", "")], []),
        # a quote that never closes
        ('"1,2,3\n4,5,6\n7,8,9\n', [("4", "5", "6"), ("7", "8", "9")], [(2, OPEN_QUOTE)]),
        ('1,2,3\n4,5,"6', [("1", "2", "3")], [(3, OPEN_QUOTE)]),
        # one that meets the next row's quote
        ('1,"2,3\n4,"5",6\n7,8,9\n', [("4", "5", "6"), ("7", "8", "9")], [(2, BAD_QUOTES)]),
        ('1,"2,3\n4,"5,6\n7,8,9\n', [("7", "8", "9")], [(2, BAD_QUOTES), (3, OPEN_QUOTE)]),
        ('1,"2"x,3\n4,5,6\n', [("4", "5", "6")], [(2, BAD_QUOTES)]),
        # two stray quotes make one cell of the lines between them, as RFC 4180 has it
        ('1,",3\n4,5,6\n7,",9\n10,11,12\n', [("1", ",3\n4,5,6\n7,", "9"), ("10", "11", "12")], []),
        # running text with commas is none
        ('1,"red, blue\nand, well, green\nhere",3\n', [("1", "red, blue\nand, well, green\nhere", "3")], []),
        # too many and too few cells
        ("1,2\n7,8,9\n", [("7", "8", "9")], [(2, "expected 3 cells, received 2")]),
        ("3,4,5,6\n7,8,9\n", [("7", "8", "9")], [(2, "expected 3 cells, received 4")]),
        # … of a record of two lines, whose second line alone would look like a row
        ('1,"2\n2",3,4\n5,6,7\n', [("5", "6", "7")], [(2, "expected 3 cells, received 4, in lines 2 to 3")]),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_read_is_rejected_with_its_line_and_reason(
    tmp_path: Path, body: str, rows: list[tuple[str, ...]], rejects: list[tuple[int, str]]
):
    assert outcome(tmp_path, body) == (rows, rejects)


def test_a_record_ends_within_64_kilobytes(tmp_path: Path):
    line = "x" * 100 + "\n"
    fits, too_long = MAX_RECORD_BYTES // 101 - 1, MAX_RECORD_BYTES // 101 + 2
    rows, rejects = outcome(tmp_path, f'1,"{line * fits}",3\n')
    assert (len(rows), rejects) == (1, [])
    rows, rejects = outcome(tmp_path, f'1,"{line * too_long}",3\n4,5,6\n')
    assert rows == [("4", "5", "6")]
    assert len(rejects) == too_long + 1  # every physical line was tried alone
    assert rejects[0] == (2, OPEN_QUOTE)


def test_a_quote_that_stays_open_over_several_blocks_costs_one_line(tmp_path: Path):
    good = [("4", f"five {i}", "6") for i in range(60_000)]
    rows, rejects = outcome(tmp_path, '1,"2,3\n' + "".join(",".join(row) + "\n" for row in good))
    assert rejects == [(2, OPEN_QUOTE)]
    assert rows == good


def test_a_long_line_inside_quotes_ends_the_record_before_it(tmp_path: Path):
    rows, rejects = outcome(tmp_path, f'1,"2\n{"x" * (MAX_RECORD_BYTES + 1)}\n3",4\n5,6,7\n')
    assert rows == [("5", "6", "7")]
    assert [line for line, _ in rejects] == [2, 3, 4]


CELLS = st.text(st.sampled_from('ab,;"\n é茶😀\t|'), max_size=6)


@given(
    table=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=8),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_a_csv_writer_writes_is_read_as_it_was(tmp_path: Path, table: list[tuple[str, str, str]], quoting: int):
    text = io.StringIO()
    csv.writer(text, quoting=quoting, lineterminator="\n").writerows([("a", "b", "c"), *table])
    rows, _, rejects = read(file(tmp_path, text.getvalue()), canonical=False)
    assert [tuple(row.values()) for row in rows] == table
    assert rejects == []


def last_line(reject: Reject) -> int:
    """Of the rejected record: a reason counts lines where there are several."""
    return int(reject.reason.rpartition(" to ")[2]) if " to " in reject.reason else reject.line


@given(st.data())
def test_no_line_is_ever_lost(tmp_path: Path, data: st.DataObject):
    """Each line that is not blank is in a row or is a reject, whatever bytes were put where."""
    whole = HEAD.encode() + b"".join(b'%d,"x%d",y\n' % (i, i) for i in range(6))
    at = data.draw(st.integers(len(HEAD), len(whole)))
    until = data.draw(st.integers(at, min(at + 12, len(whole))))
    noise = data.draw(st.one_of(st.binary(max_size=30), st.text('",\n\r a', max_size=30).map(str.encode)))
    content = whole[:at] + noise + whole[until:]
    path = file(tmp_path, content)
    rows, starts, rejects = read(path, canonical=False)
    # Physical lines counted a second way: a row covers the line breaks in its cells.
    physical = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n").split(b"\n")
    covered = [
        line
        for row, start in zip(rows, starts, strict=True)
        for line in range(start, start + 1 + "".join(row.values()).count("\n"))
    ]
    undecodable = [reject.line for reject in rejects if "decoded" in reject.reason]
    rejected = [line for reject in rejects for line in range(reject.line, last_line(reject) + 1)]
    accounted = [1, *covered, *rejected]
    assert len(accounted) == len(set(accounted))
    left = [number for number, line in enumerate(physical, 1) if number not in accounted and line.decode("latin1").strip()]
    # A record with bytes that are no text is rejected as a whole; its reason does not count its lines.
    assert not left or undecodable
    assert len(rows) + len(rejects) >= 1
