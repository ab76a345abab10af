"""CSV, delimited by commas, semicolons, tabs or bars: the header, and the records of a block of lines at a time.

Quotes have the meaning of RFC 4180 (`csv` in strict mode). A quote within an unquoted cell is text (``27" screen``).
- A record with broken quotes, or one that does not end within `MAX_RECORD_BYTES`: its first line is rejected, and reading
  resumes at the next line. So a quote that is never closed costs one line.
- A record with another number of cells than the header, or with bytes that are no text: it is rejected as a whole. A stray
  quote that meets another one costs the lines between them, at most 64 KB.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Final, NamedTuple

from personalization.core.errors import InvalidInput
from personalization.core.schema import MAX_RECORD_BYTES
from personalization.data.records import NOT_TEXT, TOO_LONG, Records, byte_length, has_undecodable, too_long
from personalization.data.text_blocks import TextBlock

DELIMITERS: Final = ",;\t|"
BAD_QUOTES: Final = "expected closed quotes, received text behind a closing quote"
OPEN_QUOTE: Final = f"expected closed quotes, received no closing quote within {MAX_RECORD_BYTES} bytes"

_QUOTED: Final = re.compile(r'"[^"]*"')
_END_OF_LINES: Final = "unexpected end of data"  # message of csv.Error where the lines end within quotes
_LONG_CELL: Final = "field larger than field limit"  # … and where a cell has more than 131,072 characters


class CsvHeader(NamedTuple):
    """The first record of a file.

    names       of the columns, as written
    delimiter   of all records
    next_line   number of the line behind the header
    """

    names: list[str]
    delimiter: str
    next_line: int


def read_header(block: TextBlock) -> CsvHeader:
    """The first record that is not blank. Raises `InvalidInput` where there is none, or it cannot be read."""
    for at, line in enumerate(block.lines):
        if not line.strip():
            continue
        if has_undecodable(line) or "\0" in line:
            raise InvalidInput("expected a header in UTF-8, or in UTF-16 with a byte order mark")
        delimiter = _sniff_delimiter(line)
        reader = csv.reader((text + "\n" for text in block.lines[at:]), delimiter=delimiter, strict=True)
        try:
            cells = next(reader)
        except csv.Error as error:
            raise InvalidInput(f"the header's quotes are broken: {error}") from None
        return CsvHeader([cell.strip() for cell in cells], delimiter, block.first_line + at + reader.line_num)
    raise InvalidInput("expected a header line, received an empty file")


class CsvReader:
    """Reads the records behind a header.

    columns   our name → index of the cell, of the columns to read
    """

    def __init__(self, header: CsvHeader, columns: Mapping[str, int]) -> None:
        self._delimiter = header.delimiter
        self._width = len(header.names)
        self._first_line = header.next_line
        self._columns = columns

    def records(self, blocks: Iterator[TextBlock]) -> Iterator[Records]:
        """One `Records` a block. A record that is open at the end of a block is read with the next block."""
        unread: list[str] = []
        line = self._first_line
        for block in blocks:
            lines = unread + block.lines[max(0, self._first_line - block.first_line) :]
            records = Records(line, lines)
            if block.decodable and not block.quoted and not unread and self._width > 1 and not too_long(lines):
                self._split_lines(records)
                end = len(lines)
            else:
                end = self._parse_lines(records, is_last=False)
            unread = lines[end:]
            line += end
            yield records
        if unread:
            records = Records(line, unread)
            self._parse_lines(records, is_last=True)
            yield records

    def _split_lines(self, records: Records) -> None:
        """Without quotes a line is a record. All cells of all lines are split at once: half the time of a list for each row."""
        lines, delimiters = records.lines, self._width - 1
        counts = list(map(str.count, lines, repeat(self._delimiter)))
        records.starts, records.ends = range(len(lines)), range(1, len(lines) + 1)
        if set(counts) - {delimiters}:
            starts = [at for at, count in enumerate(counts) if count == delimiters]
            for at, count in enumerate(counts):
                if count != delimiters and lines[at].strip():
                    records.reject(at, self._wrong_width(count + 1))
            lines = [lines[at] for at in starts]
            records.starts, records.ends = starts, [at + 1 for at in starts]
        cells = self._delimiter.join(lines).split(self._delimiter) if lines else []
        records.columns = {name: cells[index :: self._width] for name, index in self._columns.items()}

    def _parse_lines(self, records: Records, *, is_last: bool) -> int:
        """Parse lines with quotes. Returns the index of the line whose record goes on in the next block, else their number."""
        lines = [line + "\n" for line in records.lines]
        undecodable = {at for at, line in enumerate(lines) if not line.isascii() and has_undecodable(line)}
        rows: list[list[str]] = []
        starts: list[int] = []
        ends: list[int] = []
        at, stop = 0, len(lines)
        while at < stop:
            # A reader for each run of good records: after an error parsing starts anew at the next line.
            first = at
            reader = csv.reader(map(lines.__getitem__, range(first, stop)), delimiter=self._delimiter, strict=True)
            reason = ""
            try:
                for cells in reader:
                    end = first + reader.line_num
                    if _size(lines, at, end) > MAX_RECORD_BYTES + 1:  # the last line end does not count
                        reason = TOO_LONG if end == at + 1 else OPEN_QUOTE
                        break
                    if undecodable and not undecodable.isdisjoint(range(at, end)):
                        records.reject(at, NOT_TEXT)
                    elif len(cells) == self._width:
                        rows.append(cells)
                        starts.append(at)
                        ends.append(end)
                    elif len(cells) > 1 or lines[at].strip():  # a blank line is no record
                        where = (
                            f", in lines {records.first_line + at} to {records.first_line + end - 1}" if end > at + 1 else ""
                        )
                        records.reject(at, self._wrong_width(len(cells)) + where)
                    at = end
            except csv.Error as error:
                message = str(error)
                if message == _END_OF_LINES and not is_last and _size(lines, at, stop) <= MAX_RECORD_BYTES:
                    break
                if byte_length(lines[at]) > MAX_RECORD_BYTES + 1:
                    reason = TOO_LONG
                elif at in undecodable:
                    reason = NOT_TEXT
                else:
                    reason = OPEN_QUOTE if message == _END_OF_LINES or message.startswith(_LONG_CELL) else BAD_QUOTES
            if reason:
                records.reject(at, reason)
                at += 1
        records.starts, records.ends = starts, ends
        columns: list[Sequence[str]] = list(zip(*rows, strict=True)) if rows else [()] * self._width
        records.columns = {name: columns[index] for name, index in self._columns.items()}
        return at

    def _wrong_width(self, cells: int) -> str:
        return f"expected {self._width} cells, received {cells}"


def _sniff_delimiter(header: str) -> str:
    """The delimiter that the header line has most of, outside quotes; a comma where it has none."""
    return max(DELIMITERS, key=_QUOTED.sub("", header).count)


def _size(lines: Sequence[str], at: int, end: int) -> int:
    """Bytes of some lines with their line ends; of a single short line only a bound, which spares its encoding."""
    if end == at + 1 and len(lines[at]) <= MAX_RECORD_BYTES // 4:
        return 4 * len(lines[at])
    return sum(map(byte_length, lines[at:end]))
