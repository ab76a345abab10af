"""Types of command-line options. A value that cannot be read raises `argparse.ArgumentTypeError`, which argparse prints."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

from personalization.core.errors import InvalidInput
from personalization.core.schema import job_of
from personalization.core.time import parse_timezone
from personalization.data import parse_mapping

MAX_DAYS = 730


def add_mapping(parser: argparse._ActionsContainer) -> None:
    """Add ``--map``: other names of columns."""
    parser.add_argument(
        "--map", type=column_mapping, metavar="OURS=THEIRS,…", help="names of columns in the file, or a JSON file with them"
    )


def column_mapping(text: str) -> dict[str, str]:
    """``user_id=CustomerID,event_type==purchase``, or the name of a JSON file with our name → their name."""
    try:
        return parse_mapping(Path(text).read_bytes() if text.endswith(".json") else text)
    except (InvalidInput, OSError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def bundle_name(text: str) -> str:
    """A job, or ``<job>-table``."""
    try:
        job_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def column_names(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def count(text: str) -> int:
    """A whole number from 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected a number from 0, received {value}")
    return value


def day(text: str) -> date:
    """A date such as 2026-01-31."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a date such as 2026-01-31, received {text!r}") from None


def days(text: str) -> int:
    """A number of days, 1 to `MAX_DAYS`."""
    value = int(text)
    if not 1 <= value <= MAX_DAYS:
        raise argparse.ArgumentTypeError(f"expected 1 to {MAX_DAYS} days, received {value}")
    return value


def timezone(text: str) -> str:
    """The name of a time zone."""
    try:
        parse_timezone(text)
    except InvalidInput as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
