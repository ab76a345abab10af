"""``check F…``: which models this data can train, and what is missing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from training.cli.train import mapping


def add(commands: Any) -> None:
    """Add ``check``."""
    parser = commands.add_parser("check", help="which models these files can train, and what is missing")
    parser.add_argument("files", type=Path, nargs="+", metavar="F", help="CSV, CSV.gz, JSON Lines or Parquet")
    parser.add_argument("--map", type=mapping, metavar="OURS=THEIRS,…", help="other column names, or a JSON file with them")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print what was found."""
    from training.check.report import check

    print(check(arguments.files, arguments.map))
