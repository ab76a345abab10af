"""``check F…``: which models this data can train, and what is missing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from training.cli.arguments import add_mapping


def add(commands: Any) -> None:
    """Add ``check``."""
    parser = commands.add_parser("check", help="which models these files can train, and what is missing")
    parser.add_argument("files", type=Path, nargs="+", metavar="F", help="CSV, CSV.gz, JSON Lines or Parquet")
    add_mapping(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the report of `training.check`."""
    from training.check import check

    print(check(arguments.files, arguments.map))
