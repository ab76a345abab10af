"""What a file is: compression, encoding, line ends, delimiter, CSV or JSON Lines; and what is no table at all."""

from __future__ import annotations

import codecs
import gzip
from pathlib import Path
from typing import Any

import pytest

from personalization.core.errors import InvalidInput
from personalization.core.schema import MAX_RECORD_BYTES
from personalization.data import Reject, open_table
from personalization.data.text_blocks import BLOCK_BYTES

TABLE = "name,count\nté,1\n茶,2\n"


def read(path: Path, **options: Any) -> tuple[list[dict[str, Any]], list[int], list[Reject]]:
    """All rows of a file as dictionaries, the lines they stand on, and the rejects."""
    rows, lines, rejects = [], list[int](), list[Reject]()
    for chunk in open_table(path, **options).chunks():
        rows += [dict(zip(chunk.columns, cells, strict=True)) for cells in zip(*chunk.columns.values(), strict=True)]
        lines += chunk.lines
        rejects += chunk.rejects
    return rows, lines, rejects


def file(tmp_path: Path, content: bytes | str) -> Path:
    path = tmp_path / "input"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        TABLE.encode(),
        codecs.BOM_UTF8 + TABLE.encode(),
        codecs.BOM_UTF16_LE + TABLE.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TABLE.encode("utf-16-be"),
        gzip.compress(TABLE.encode()),
        gzip.compress(TABLE[:14].encode()) + gzip.compress(TABLE[14:].encode()),  # two streams are one file
        gzip.compress(codecs.BOM_UTF16_LE + TABLE.encode("utf-16-le")),
        TABLE.replace("\n", "\r\n").encode(),
        TABLE.replace("\n", "\r").encode(),
        TABLE.rstrip("\n").encode(),
        ("\n\n" + TABLE.replace("\n", "\n   \n")).encode(),
        TABLE.replace(",", ";").encode(),
        TABLE.replace(",", "\t").encode(),
        TABLE.replace(",", "|").encode(),
        b'{"name": "t\xc3\xa9", "count": "1"}\n\n{"count": "2", "name": "\xe8\x8c\xb6"}\n',
        codecs.BOM_UTF8 + b'  {"name": "t\\u00e9", "count": "1"}\r\n{"count": "2", "name": "\\u8336"}',
    ],
)
def test_the_same_table_in_every_dress(tmp_path: Path, content: bytes):
    rows, _, rejects = read(file(tmp_path, content), canonical=False)
    assert rows == [{"name": "té", "count": "1"}, {"name": "茶", "count": "2"}]
    assert rejects == []


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path):
    content = '\nname,count\r\n"a\nb",1\r\n\r\n"c",2\rd\ne,3'
    rows, lines, rejects = read(file(tmp_path, content), canonical=False)
    assert [row["name"] for row in rows] == ["a\nb", "c", "e"]
    assert lines == [3, 6, 8]
    assert [(reject.line, reject.raw) for reject in rejects] == [(7, "d")]


def test_a_line_end_may_be_cut_in_two_by_a_block(tmp_path: Path):
    head = "name,count\r\n"
    rows = ["x" * (BLOCK_BYTES % 50 + 30) + ",1"] * (2 * BLOCK_BYTES // 60)
    for shift in range(4):
        content = head + "y" * shift + "\r\n".join(rows) + "\r\n"
        found, lines, rejects = read(file(tmp_path, content), canonical=False)
        assert len(found) == len(rows)
        assert lines == list(range(2, len(rows) + 2))
        assert rejects == []


def test_bytes_that_are_no_text_cost_their_row_only(tmp_path: Path):
    content = b'name,count\na,1\n\xff\xfe,2\n"b\nc\xe9d",3\n\xe8\x8c,4\n\xe8\x8c\xb6,5\n'
    rows, lines, rejects = read(file(tmp_path, content), canonical=False)
    assert [row["count"] for row in rows] == ["1", "5"]
    assert lines == [2, 7]
    assert [(reject.line, reject.raw) for reject in rejects] == [(3, "\\xff\\xfe,2"), (4, '"b'), (6, "\\xe8\\x8c,4")]
    assert {reject.reason for reject in rejects} == {"expected UTF-8 text, received bytes that cannot be decoded"}


def test_half_a_surrogate_pair_in_utf16_costs_its_row_only(tmp_path: Path):
    rows = ["name,count\n", "a,1\n", "b\ud83d,2\n", "😀,3\n"]
    content = codecs.BOM_UTF16_LE + "".join(rows).encode("utf-16-le", "surrogatepass")
    found, _, rejects = read(file(tmp_path, content), canonical=False)
    assert found == [{"name": "a", "count": "1"}, {"name": "😀", "count": "3"}]
    assert [reject.line for reject in rejects] == [3]
    # half a character at the very end
    found, _, rejects = read(file(tmp_path, content + b"\x41"), canonical=False)
    assert len(found) == 2
    assert [reject.line for reject in rejects] == [3, 5]


def test_a_line_that_never_ends_is_not_kept(tmp_path: Path):
    content = b"name,count\na,1\n" + b"x" * (4 * BLOCK_BYTES) + b",2\nb,3\n" + b"y" * (MAX_RECORD_BYTES + 1)
    rows, lines, rejects = read(file(tmp_path, content), canonical=False)
    assert [row["name"] for row in rows] == ["a", "b"]
    assert lines == [2, 4]
    assert [(reject.line, len(reject.raw)) for reject in rejects] == [(3, 1024), (5, 1024)]
    assert {reject.reason for reject in rejects} == {"expected a record of at most 65536 bytes"}


@pytest.mark.parametrize("keep", [1.0, 0.5])
def test_a_gzip_stream_that_is_cut_off_is_told_after_what_was_read(tmp_path: Path, keep: float):
    rows = 200_000
    content = gzip.compress(b"name,count\n" + b"".join(b"n%d,%d\n" % (i, i * i % 1009) for i in range(rows)))
    path = file(tmp_path, content[: int(len(content) * keep) - 9])
    found: list[int] = []
    with pytest.raises(InvalidInput, match="cut off after line") as caught:
        found.extend(len(chunk) for chunk in open_table(path, canonical=False).chunks())
    assert f"after line {sum(found) + 1}:" in caught.value.detail  # the header is a line too
    assert abs(sum(found) - rows * keep) < rows * 0.2


def test_a_damaged_gzip_stream_is_told(tmp_path: Path):
    content = bytearray(gzip.compress(TABLE.encode()))
    content[-6] ^= 1  # its checksum
    with pytest.raises(InvalidInput, match="damaged"):
        read(file(tmp_path, bytes(content)), canonical=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty file"),
        (b"\n  \n\r\n", "empty file"),
        (codecs.BOM_UTF8, "empty file"),
        (gzip.compress(b""), "empty file"),
        (b"1,2.5,3\n4,5,6\n", "line of numbers"),
        (b'[{"a": 1}]', "JSON array"),
        (b"PAR1\x15\x04", "Parquet"),
        (b"PK\x03\x04\x14", "spreadsheet"),
        ("name,count\n".encode("utf-16-le"), "byte order mark"),
        ("\ufeffname\n".encode("utf-32-le"), "UTF-32"),
        (b"caf\xe9,count\n", "header in UTF-8"),
        (b'name,"count\n', "header's quotes"),
    ],
)
def test_what_is_no_table_is_refused_with_what_was_expected(tmp_path: Path, content: bytes, message: str):
    with pytest.raises(InvalidInput, match=message):
        read(file(tmp_path, content), canonical=False)


def test_chunks_are_bounded_and_keep_rejects_in_their_place(tmp_path: Path):
    content = "n,m\n" + "".join(f"{i},x\n" if i % 5 else f"{i}\n" for i in range(1, 101)) + "end\n"
    chunks = list(open_table(file(tmp_path, content), canonical=False).chunks(rows=7))
    assert max(map(len, chunks)) == 7
    assert sum(map(len, chunks)) == 80
    seen = [line for chunk in chunks for line in sorted([*chunk.lines, *(reject.line for reject in chunk.rejects)])]
    assert seen == list(range(2, 103))
    assert chunks[1].raw(0) == f"{chunks[1].columns['n'][0]},x"


def test_a_file_with_a_header_only_has_no_rows(tmp_path: Path):
    (chunk,) = open_table(file(tmp_path, "a,b\n"), canonical=False).chunks()
    assert len(chunk) == 0
    assert {name: list(cells) for name, cells in chunk.columns.items()} == {"a": [], "b": []}
