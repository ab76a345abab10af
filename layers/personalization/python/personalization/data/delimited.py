"""CSV and its cousins with semicolons, tabs or bars: the header, and a block of lines at a time."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Final

from personalization.core.errors import InvalidInput
from personalization.data.records import TOO_LONG, Records, has_undecodable, too_long
from personalization.data.text_blocks import TextBlock
from personalization.data.tolerant_csv import CarefulReading, wrong_width

DELIMITERS: Final = ",;\t|"

_QUOTED = re.compile(r'"[^"]*"')


def sniff_delimiter(header: str) -> str:
    """The delimiter that the header line has most of, outside quotes; a comma where it has none."""
    bare = _QUOTED.sub("", header)
    return max(DELIMITERS, key=bare.count)


def read_header(block: TextBlock) -> tuple[list[str], str, int]:
    """Cells of the first record that is not blank, the delimiter, and the number of the line behind the header.

    Raises `InvalidInput` where there is none, or it is not readable.
    """
    for at, line in enumerate(block.lines):
        if not line.strip():
            continue
        if has_undecodable(line) or "\0" in line:
            raise InvalidInput("expected a header in UTF-8, or in UTF-16 with a byte order mark")
        delimiter = sniff_delimiter(line)
        reader = csv.reader((text + "\n" for text in block.lines[at:]), delimiter=delimiter, strict=True)
        try:
            cells = next(reader)
        except csv.Error as error:
            raise InvalidInput(f"the header's quotes are broken: {error}") from None
        return [cell.strip() for cell in cells], delimiter, block.first_line + at + reader.line_num
    raise InvalidInput("expected a header line, received an empty file")


class DelimitedParser:
    """Records of a file whose header has `width` cells and ends before line `first_line`.

    names   our name → index of the cell
    """

    def __init__(self, delimiter: str, width: int, first_line: int, names: Mapping[str, int]) -> None:
        self._delimiter = delimiter
        self._width = width
        self._first_line = first_line
        self._names = names

    def records(self, blocks: Iterator[TextBlock]) -> Iterator[Records]:
        """One `Records` a block; a record that is open at its end is read with the next."""
        rest: list[str] = []
        line = self._first_line
        for block in blocks:
            skip = max(0, self._first_line - block.first_line)
            lines = rest + block.lines if rest else block.lines[skip:] if skip else block.lines
            records = Records(line, lines)
            long = too_long(lines)
            if block.decodable and not block.quoted and not rest and not long and self._width > 1:
                self._plain(records)
                end = len(lines)
            else:
                end = self._careful(records, long, final=False)
            rest = lines[end:]
            line += end
            yield records
        if rest:
            records = Records(line, rest)
            self._careful(records, [], final=True)
            yield records

    def _plain(self, records: Records) -> None:
        """Without quotes a line is a record, and nothing can go wrong but the number of cells."""
        lines, cuts = records.lines, self._width - 1
        counts = list(map(str.count, lines, repeat(self._delimiter)))
        records.starts, records.ends = range(len(lines)), range(1, len(lines) + 1)
        if set(counts) - {cuts}:
            starts = []
            for at, count in enumerate(counts):
                if count == cuts:
                    starts.append(at)
                elif lines[at].strip():
                    records.reject(at, wrong_width(self._width, count + 1))
            lines = [lines[at] for at in starts]
            records.starts, records.ends = starts, [at + 1 for at in starts]
        # All cells of all lines at once: half the time of a list for each row.
        cells = self._delimiter.join(lines).split(self._delimiter) if lines else []
        records.columns = {name: cells[index :: self._width] for name, index in self._names.items()}

    def _careful(self, records: Records, long: list[int], *, final: bool) -> int:
        """Answers the index of the line from which a record is still open; the number of lines where none is."""
        reading = CarefulReading(records, self._delimiter, self._width)
        at, stop = 0, len(records.lines)
        for border in [*long, stop]:
            at = reading.read(at, border, open_ended=border == stop and not final)
            if border < stop:
                records.reject(border, TOO_LONG)
                at = border + 1
        records.starts, records.ends = reading.starts, reading.ends
        columns: list[Sequence[str]] = list(zip(*reading.rows, strict=True)) if reading.rows else [()] * self._width
        records.columns = {name: columns[index] for name, index in self._names.items()}
        return at
