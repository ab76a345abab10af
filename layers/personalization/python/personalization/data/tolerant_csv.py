"""CSV that does not trust its quotes: a stray one costs one line, not its neighbours.

A record that cannot be read (a quote that never closes, text behind a closing quote, more or fewer cells than the header)
loses its first physical line; reading resumes on the next. A quote in the middle of an unquoted cell is text (``27" screen``),
as spreadsheets and databases have it.
"""

from __future__ import annotations

import csv
from typing import Final

from personalization.core.schema import MAX_RECORD_BYTES
from personalization.data.records import NOT_TEXT, TOO_LONG, Records, byte_length, has_undecodable

QUOTING: Final = "expected closed quotes"
SWALLOWS: Final = "expected a closing quote before the next rows"

_UNFINISHED: Final = "unexpected end of data"  # of csv.Error where the lines end inside quotes


class CarefulReading:
    """Reads the lines of `records`, none of which is too long, and rejects those that are no record there.

    rows            the cells of each good record
    starts, ends    indices of its first line, and behind its last
    """

    def __init__(self, records: Records, delimiter: str, width: int) -> None:
        self.rows: list[list[str]] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        self._records = records
        self._lines = records.lines
        self._delimiter = delimiter
        self._width = width
        self._torn = 0  # behind the last line of a record whose quotes were good, but not its cells
        self._undecodable = {at for at, line in enumerate(records.lines) if not line.isascii() and has_undecodable(line)}

    def read(self, at: int, stop: int, *, open_ended: bool) -> int:
        """Read the lines from `at` up to `stop`. Answers `stop`, or where a record begins that may go on behind it."""
        while at < stop:
            at, is_open = self._run(at, stop)
            if is_open:
                if open_ended and self._size(at, stop) <= MAX_RECORD_BYTES:
                    return at
                self._records.reject(at, QUOTING)
                at += 1
        return at

    def _run(self, at: int, stop: int) -> tuple[int, bool]:
        """Read until a record is broken. Answers on which line to go on, and whether the record there never closes."""
        base = at
        lines = (self._lines[index] + "\n" for index in range(at, stop))
        reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
        try:
            for cells in reader:
                end = base + reader.line_num
                if len(cells) <= 1 and not self._lines[at].strip():
                    at = end  # a blank line is no record
                    continue
                if self._undecodable and not self._undecodable.isdisjoint(range(at, end)):
                    self._records.reject(at, NOT_TEXT)
                elif fault := self._fault(at, end, cells):
                    self._records.reject(at, fault)
                    if end > at + 1:
                        self._torn = end
                        return at + 1, False
                else:
                    self.rows.append(cells)
                    self.starts.append(at)
                    self.ends.append(end)
                at = end
        except csv.Error as error:
            if str(error) == _UNFINISHED:
                return at, True
            self._records.reject(at, NOT_TEXT if at in self._undecodable else QUOTING)
            at += 1
        return at, False

    def _fault(self, at: int, end: int, cells: list[str]) -> str | None:
        """What is wrong with a record, if anything."""
        if len(cells) != self._width:
            return wrong_width(self._width, len(cells))
        if end == at + 1:
            # The tail of a record that was torn apart is no row, though it may look like one: its quote has no other.
            return QUOTING if at < self._torn and self._lines[at].count('"') % 2 else None
        if self._size(at, end) > MAX_RECORD_BYTES:
            return TOO_LONG
        return SWALLOWS if self._swallows_rows(at + 1, end - 1) else None

    def _size(self, at: int, end: int) -> int:
        return sum(byte_length(line) + 1 for line in self._lines[at:end])

    def _swallows_rows(self, at: int, end: int) -> bool:
        """Whether most lines inside a quoted cell look like rows of this file: then its quote was a stray one.

        Running text has its commas in other numbers, or with a blank behind them.
        """
        if self._width < 3 or at == end:
            return False
        cuts, loose = self._width - 1, self._delimiter + " "
        alike = sum(
            line.count(self._delimiter) == cuts and '"' not in line and loose not in line for line in self._lines[at:end]
        )
        return 2 * alike > end - at


def wrong_width(width: int, cells: int) -> str:
    return f"expected {width} cells, received {cells}"
