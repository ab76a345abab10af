"""Records and rejects of a block of lines, as the readers of CSV and JSON Lines return them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from personalization.core.schema import MAX_RECORD_BYTES, MAX_RECORDED_REJECTS_RAW
from personalization.data.text_blocks import TextBlock

TOO_LONG: Final = f"expected a record of at most {MAX_RECORD_BYTES} bytes"
NOT_TEXT: Final = "expected UTF-8 text, received bytes that cannot be decoded"

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was not used.

    line      1-based physical line on which the record starts; a header is line 1
    pointer   ``/column`` where one cell is the cause, else empty
    reason    what was expected; behind ``, received`` what came. Manifests count reasons by the part before it
    raw       text of the record, cut at 1,024 characters
    """

    line: int
    pointer: str
    reason: str
    raw: str


@dataclass(slots=True)
class Records:
    """Records of one block of lines.

    lines           the block's physical lines, the first of which is number `first_line`
    columns         our name → one cell for each record
    starts, ends    indices into `lines`: of a record's first line, and behind its last
    rejects         by line
    """

    first_line: int
    lines: list[str]
    columns: dict[str, Sequence[Any]] = field(default_factory=dict)
    starts: Sequence[int] = field(default_factory=list)
    ends: Sequence[int] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)

    def raw(self, row: int) -> str:
        return printable("\n".join(self.lines[self.starts[row] : self.ends[row]]))

    def reject(self, at: int, reason: str, pointer: str = "") -> None:
        """Reject the physical line with this index."""
        self.rejects.append(Reject(self.first_line + at, pointer, reason, printable(self.lines[at])))


class RecordReader(Protocol):
    """Parses blocks of lines; a record may continue in the next block."""

    def records(self, blocks: Iterator[TextBlock]) -> Iterator[Records]: ...


def printable(text: str) -> str:
    """At most 1,024 characters, with undecodable bytes as ``\\xff``."""
    text = text[:MAX_RECORDED_REJECTS_RAW]
    if has_undecodable(text):
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return text[:MAX_RECORDED_REJECTS_RAW]


def has_undecodable(text: str) -> bool:
    return _SURROGATE.search(text) is not None


def too_long(lines: Sequence[str]) -> list[int]:
    """Indices of the lines that are longer than a record may be."""
    shortest = MAX_RECORD_BYTES // 4  # counting bytes costs an encoding, and a character has at most four
    if max(map(len, lines), default=0) <= shortest:
        return []
    return [at for at, line in enumerate(lines) if len(line) > shortest and byte_length(line) > MAX_RECORD_BYTES]


def byte_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))
