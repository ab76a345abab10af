"""From a file on disk to blocks of text lines, at a bounded amount of memory.

Compression and encoding are detected by content, not by the file's name: gzip by its magic, UTF-16 by its byte order mark.
Everything else is UTF-8. Lines end with LF, CRLF or CR.
"""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from personalization.core.errors import InvalidInput
from personalization.core.schema import MAX_RECORD_BYTES

BLOCK_BYTES: Final = 512 * 1024

_GZIP: Final = b"\x1f\x8b"
_UTF16: Final = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_REFUSED: Final = {
    b"PAR1": "a Parquet file (only training reads those)",
    b"PK\x03\x04": "a zip archive or spreadsheet",
    b"%PDF": "a PDF",
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
}
_GZIP_ERRORS: Final = (EOFError, zlib.error, gzip.BadGzipFile)


@dataclass(frozen=True, slots=True)
class TextBlock:
    """Consecutive physical lines of a file, without their line ends.

    first_line   number of the first of them, from 1
    lines        a line longer than `MAX_RECORD_BYTES` may be cut, but stays longer than that
    decodable    False where some bytes are not text; those are lone surrogates in `lines` (PEP 383)
    quoted       whether it has a double quote
    """

    first_line: int
    lines: list[str]
    decodable: bool
    quoted: bool


def text_blocks(path: Path) -> Iterator[TextBlock]:
    """The file's lines, about half a megabyte at a time.

    Raises `InvalidInput` for a kind of file that is no table. For a gzip stream that is damaged or cut off it raises
    `InvalidInput` after the lines before the damage.
    """
    line = 1
    pending = b""
    with ExitStack() as stack:
        stream = stack.enter_context(path.open("rb"))
        try:
            for block in _utf8(_bytes(stream)):
                data = pending + block
                end = _complete(data)
                pending = _bounded(data[end:])
                if end:
                    text = _text_block(line, data[:end])
                    line += len(text.lines)
                    yield text
        except _GZIP_ERRORS as error:
            raise InvalidInput(f"the gzip stream is damaged or cut off after line {line - 1}: {error}") from None
        if pending:
            yield _text_block(line, pending)


def _bytes(stream: BinaryIO) -> Iterator[bytes]:
    """Blocks as stored, gunzipped where the magic says so."""
    magic = stream.read(4)
    stream.seek(0)
    if magic in _REFUSED:
        raise InvalidInput(f"expected CSV or JSON Lines in UTF-8 or UTF-16, received {_REFUSED[magic]}")
    if not magic.startswith(_GZIP):
        while block := stream.read(BLOCK_BYTES):
            yield block
        return
    parts: list[bytes] = []
    size = 0
    with gzip.GzipFile(fileobj=stream) as unzipped:
        try:
            # Small reads, put together to blocks of one size: a read that fails takes with it what it had.
            while part := unzipped.read1(BLOCK_BYTES - size):
                parts.append(part)
                size += len(part)
                if size == BLOCK_BYTES:
                    yield b"".join(parts)
                    parts, size = [], 0
        except _GZIP_ERRORS:
            yield b"".join(parts)
            raise
    yield b"".join(parts)


def _utf8(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same text in UTF-8 without a byte order mark. What cannot be decoded becomes bytes that are not UTF-8."""
    decoder: codecs.IncrementalDecoder | None = None
    mark: bytes | None = None
    for block in blocks:
        if mark is None:
            mark = next((known for known in _UTF16 if block.startswith(known)), b"")
            if mark:
                # Half a surrogate pair passes here, and fails as UTF-8 on its own line.
                decoder = codecs.getincrementaldecoder(_UTF16[mark])("surrogatepass")
            else:
                mark = codecs.BOM_UTF8 if block.startswith(codecs.BOM_UTF8) else b""
            text = block[len(mark) :]
        else:
            text = block
        yield text if decoder is None else decoder.decode(text).encode("utf-8", "surrogatepass")
    if decoder is not None and decoder.getstate()[0]:
        yield b"\xff"  # half a character at the end of the file


def _complete(data: bytes) -> int:
    """End of the last complete line. A CR at the very end may be half of a CRLF."""
    return max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1


def _bounded(line: bytes) -> bytes:
    """A line without an end is cut where it is longer than a record may be."""
    if len(line) <= 2 * MAX_RECORD_BYTES:
        return line
    return line[: MAX_RECORD_BYTES + 1] + (b"\r" if line.endswith(b"\r") else b"")


def _text_block(first_line: int, data: bytes) -> TextBlock:
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    data = data.removesuffix(b"\n")
    quoted = b'"' in data
    try:
        return TextBlock(first_line, data.decode().split("\n"), True, quoted)
    except UnicodeDecodeError:
        return TextBlock(first_line, data.decode("utf-8", "surrogateescape").split("\n"), False, quoted)
