"""Prints headings, tables and shortened JSON to a terminal."""

from __future__ import annotations

import json
import os
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, Final, TextIO

WIDTH: Final = 100
_LONGEST_LIST: Final = 3
_LONGEST_TEXT: Final = 72


class Terminal:
    """Writes to one stream; with colour and a running clock where it is a terminal and NO_COLOR is not set."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._live = self._stream.isatty()
        self._colour = self._live and "NO_COLOR" not in os.environ

    def heading(self, text: str) -> None:
        self._write("")
        self._write(self._styled(text, "1"))

    def note(self, text: str) -> None:
        for line in textwrap.wrap(text, WIDTH - 2, subsequent_indent="  ") if len(text) > WIDTH - 2 else [text]:
            self._write(f"  {line}")

    def command(self, text: str) -> None:
        """A command line."""
        self._write(f"  {self._styled(_cut(f'$ {text}', WIDTH - 2), '36')}")

    def value(self, value: Any) -> None:
        """Shortened JSON."""
        for line in pretty(value, WIDTH - 4).splitlines():
            self._write(f"    {line}")

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Rows of cells; a column is as wide as its widest cell."""
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self._write(f"    {_cut(line.rstrip(), WIDTH - 4)}")

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Print what is in progress and, at the end, how long it took."""
        started, done = time.monotonic(), Event()

        def tick() -> None:
            while not done.wait(1.0):
                self._stream.write(f"\r  {text} … {time.monotonic() - started:.0f} s")
                self._stream.flush()

        clock = Thread(target=tick, daemon=True)
        if self._live:
            clock.start()
        try:
            yield
        finally:
            done.set()
            if self._live:
                clock.join()
                self._stream.write("\r")
            self._write(f"  {text}: {time.monotonic() - started:.1f} s")

    def _styled(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


def short(value: Any, longest: int = _LONGEST_LIST) -> Any:
    """A JSON value with long lists and texts cut and numbers rounded to four digits."""
    if isinstance(value, dict):
        return {key: short(part, longest) for key, part in value.items()}
    if isinstance(value, list):
        shown = [short(part, longest) for part in value[:longest]]
        return [*shown, f"… {len(value) - longest} more"] if len(value) > longest else shown
    if isinstance(value, float):
        return round(value, 4)
    return _cut(value, _LONGEST_TEXT) if isinstance(value, str) else value


def pick(value: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The named members that exist, in this order."""
    return {name: value[name] for name in names if name in value}


def pretty(value: Any, width: int = WIDTH) -> str:
    """JSON in which a value that fits on one line is on one line.

    >>> print(pretty({"a": [1, 2], "b": {"c": "x" * 20}}, width=30))
    {
      "a": [1, 2],
      "b": {
        "c": "xxxxxxxxxxxxxxxxxxxx"
      }
    }
    """
    return _pretty(short(value), width, 0)


def _pretty(value: Any, width: int, taken: int) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + taken <= width or not isinstance(value, dict | list) or not value:
        return flat
    if isinstance(value, dict):
        opening, closing = "{", "}"
        parts = []
        for key, part in value.items():
            label = f"{json.dumps(key, ensure_ascii=False)}: "
            parts.append(label + _pretty(part, width - 2, len(label) + 1).replace("\n", "\n  "))
    else:
        opening, closing = "[", "]"
        parts = [_pretty(part, width - 2, 1).replace("\n", "\n  ") for part in value]
    return f"{opening}\n  " + ",\n  ".join(parts) + f"\n{closing}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
