"""Data of the tour: the Complete Journey retail data set in our tables, and a file of it for the inbox."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from local import REPOSITORY
from local.tour.commands import run_module
from personalization.core import cells
from personalization.core.time import DAY_MS, format_timestamp

DATA: Final = REPOSITORY / "build" / "data"
TIMEZONE: Final = "America/New_York"  # of the shop
_ONE_IN: Final = 10  # households go into the file to drop
_WEEK_MS: Final = 7 * DAY_MS


@dataclass(frozen=True, slots=True)
class Tables:
    """Paths of the tables; `flat` by job."""

    interactions: Path
    items: Path
    users: Path
    ads: Path
    impressions: Path
    flat: dict[str, Path]

    def all(self) -> list[Path]:
        return [*self.raw(), *self.flat.values()]

    def raw(self) -> list[Path]:
        return [self.interactions, self.items, self.users, self.ads, self.impressions]


def tables(directory: Path = DATA) -> Tables:
    flat = {"profiles": "user_data", "recommendations": "recommendation_data", "ads": "advertising_data"}
    return Tables(
        interactions=directory / "interactions.csv.gz",
        items=directory / "items.csv.gz",
        users=directory / "users.csv.gz",
        ads=directory / "ads.csv.gz",
        impressions=directory / "impressions.csv.gz",
        flat={job: directory / f"{name}.csv" for job, name in flat.items()},
    )


def prepare(log: Path, directory: Path = DATA) -> Tables:
    """Write the missing tables. Raises `CommandFailed`."""
    found = tables(directory)
    if not all(path.is_file() for path in found.raw()):
        run_module("training.datasets.complete_journey", ["--out", str(directory), "--format", "csv.gz"], log)
    if not all(path.is_file() for path in found.flat.values()):
        run_module("training.datasets.flat_files", ["--out", str(directory)], log)
    return found


@dataclass(frozen=True, slots=True)
class SpoiltFile:
    """A file for the inbox with some invalid rows.

    rows        number of rows, without the header
    household   a user of the file with the median number of purchases
    bad         (line, what is wrong with it); the header is line 1
    """

    path: Path
    rows: int
    household: str
    bad: tuple[tuple[int, str], ...]


def spoilt_file(interactions: Path, target: Path, now: datetime | None = None) -> SpoiltFile:
    """All purchases of every tenth household as CSV, with five invalid rows of the kinds that real files have.

    The data set ends in 2017. Its times are moved by whole weeks, so that the newest lies in the week before `now` and
    weekdays do not change.
    """
    with gzip.open(interactions, "rt", encoding="utf-8", newline="") as stream:
        reader = csv.reader(stream)
        columns = next(reader)
        user, timestamp = columns.index("user_id"), columns.index("timestamp")
        rows = [row for row in reader if int(row[user]) % _ONE_IN == 0]
    moments, _ = cells.timestamps([row[timestamp] for row in rows])
    weeks = (int((now or datetime.now(UTC)).timestamp() * 1000) - int(moments.max())) // _WEEK_MS
    lines = []
    for row, moment in zip(rows, moments.tolist(), strict=True):
        row[timestamp] = format_timestamp(moment + weeks * _WEEK_MS, "seconds")
        lines.append(_csv_line(row).encode())
    counts = Counter(row[user] for row in rows)
    household = sorted(counts, key=lambda one: (counts[one], one))[len(counts) // 2]
    bad = _spoil(lines, columns)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"".join([_csv_line(columns).encode(), *lines]))
    return SpoiltFile(target, len(lines), household, bad)


def _spoil(lines: list[bytes], columns: Sequence[str]) -> tuple[tuple[int, str], ...]:
    """Make five rows invalid in place; returns their line numbers and what is wrong."""

    def with_cell(line: bytes, column: str, cell: bytes) -> bytes:
        cells = next(csv.reader([line.decode()]))
        cells[columns.index(column)] = "\0"
        return _csv_line(cells).encode().replace(b"\0", cell)

    spoilers: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
        ("no user id", lambda line: with_cell(line, "user_id", b"")),
        ("an invalid timestamp", lambda line: with_cell(line, "timestamp", b"last tuesday")),
        ("a word instead of a number", lambda line: with_cell(line, "quantity", b"two")),
        ("bytes that are not UTF-8", lambda line: with_cell(line, "item_id", b"caf\xe9")),
        ("an unclosed quote", lambda line: with_cell(line, "item_id", b'"' + b"82")),
    )
    bad = []
    for number, (what, spoil) in enumerate(spoilers, 1):
        index = number * len(lines) // (len(spoilers) + 1)
        lines[index] = spoil(lines[index])
        bad.append((index + 2, what))
    return tuple(bad)


def _csv_line(cells: Sequence[str]) -> str:
    return ",".join(f'"{cell.replace(chr(34), chr(34) * 2)}"' if set(cell) & set(',"\r\n') else cell for cell in cells) + "\n"
