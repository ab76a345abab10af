"""`python -m local drop`: send a file through the inbox of the running stack and fetch its results."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local import stack_file
from local.inbox import DropFailed, Inbox
from personalization.core.errors import InvalidInput
from personalization.core.schema import job_of
from personalization.data.column_mapping import parse_mapping


def drop(options: argparse.Namespace) -> int:
    """Drop the file, wait, fetch the results, print a summary; returns the exit status."""
    inbox = Inbox(stack_file.find(options.home))
    if not options.file.is_file():
        print(f"expected a file, found none at {options.file}", file=sys.stderr)
        return 2
    try:
        job_of(options.job)
        mapping = read_mapping(options.map) if options.map else None
        dropped = inbox.drop(options.job, options.file, mapping=mapping, table=options.table)
    except (InvalidInput, DropFailed, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    try:
        inbox.wait(dropped, options.timeout)
    except DropFailed as error:
        inbox.fetch(dropped, options.out)
        print(error, file=sys.stderr)
        return 1
    manifest = inbox.fetch(dropped, options.out)
    print(summary(manifest))
    print(f"  files     {', '.join(sorted(path.name for path in options.out.iterdir()))} in {options.out}")
    return 0


def read_mapping(argument: str) -> bytes:
    """The JSON of a mapping from ``our_name=TheirColumn,…`` or from a file. Raises `InvalidInput`."""
    if argument.endswith(".json"):
        try:
            content = Path(argument).read_bytes()
        except OSError as error:
            raise InvalidInput(f"the mapping cannot be read: {error}") from None
        parse_mapping(content)
        return content
    return json.dumps(parse_mapping(argument), sort_keys=True, ensure_ascii=False).encode()


def summary(manifest: Mapping[str, Any]) -> str:
    """A manifest in a few lines."""
    model = manifest.get("model", {})
    lines = [f"{manifest.get('file', '')} by {model.get('name', '?')} {model.get('version', '?')}"]
    count = {key: value for key, value in manifest.items() if isinstance(value, int)}
    lines.append(
        f"  {count.get('rows_in', 0):,} rows in = {count.get('rows_used', 0):,} used + {count.get('rejected', 0):,} rejected"
    )
    for key, label in (("users", "users"), ("returns", "returns, netted"), ("duplicates", "duplicates by event_id"),
                       ("suspected_duplicates", "exact copies without an event_id, kept")):  # fmt: skip
        if count.get(key):
            lines.append(f"  {count[key]:,} {label}")
    lines += [f"  rejected, {number:,}: {reason}" for reason, number in manifest.get("reasons", {}).items()]
    return "\n".join(lines)
