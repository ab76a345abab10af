"""Outputs of a job: parts of a bounded size on local disk, or one stream."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import orjson

from personalization.batch.jobs import REJECTS
from personalization.data import Reject

MAX_PART_LINES: Final = 50_000
MAX_PART_BYTES: Final = 32 * 1024 * 1024


class Output(Protocol):
    """Receives result lines in order, and rejected rows."""

    def lines(self, blob: bytes, count: int) -> None:
        """Write `count` lines; each ends with a newline."""

    def rejects(self, rejects: Sequence[Reject]) -> None:
        """Write rejected rows."""


class StreamOutput:
    """Writes lines to a binary stream, and no rejects: `RowCounts` has their number."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def lines(self, blob: bytes, count: int) -> None:
        self._stream.write(blob)

    def rejects(self, rejects: Sequence[Reject]) -> None:
        return


@dataclass(frozen=True, slots=True)
class OutputPart:
    """One finished part: file name, lines, sha256."""

    name: str
    lines: int
    sha256: str


class PartsOutput(AbstractContextManager["PartsOutput"]):
    """``part-00000.jsonl``, … and ``rejects.jsonl`` in a directory; the files are complete on exit."""

    def __init__(self, directory: Path, max_lines: int = MAX_PART_LINES, max_bytes: int = MAX_PART_BYTES) -> None:
        self.parts: list[OutputPart] = []
        self._directory, self._max_lines, self._max_bytes = directory, max_lines, max_bytes
        self._rejects = (directory / REJECTS).open("wb")
        self._part: BinaryIO | None = None
        self._lines = self._bytes = 0
        self._hash = hashlib.sha256()

    def lines(self, blob: bytes, count: int) -> None:
        if self._part and (self._lines + count > self._max_lines or self._bytes + len(blob) > self._max_bytes):
            self._finish_part()
        if self._part is None:
            self._part = (self._directory / self._part_name()).open("wb")
            self._lines = self._bytes = 0
            self._hash = hashlib.sha256()
        self._part.write(blob)
        self._hash.update(blob)
        self._lines += count
        self._bytes += len(blob)

    def rejects(self, rejects: Sequence[Reject]) -> None:
        for reject in rejects:
            line = {"line": reject.line, "pointer": reject.pointer, "reason": reject.reason, "raw": reject.raw}
            self._rejects.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def __exit__(self, *_error: object) -> None:
        self._finish_part()
        self._rejects.close()

    def _finish_part(self) -> None:
        if self._part:
            self._part.close()
            self.parts.append(OutputPart(self._part_name(), self._lines, self._hash.hexdigest()))
            self._part = None

    def _part_name(self) -> str:
        return f"part-{len(self.parts):05d}.jsonl"
