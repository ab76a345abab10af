"""``predict DIR --in F --out F``: the batch handler's own code, from a bundle, without a stack."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from personalization.core.errors import InvalidInput
from personalization.core.schema import IMPRESSIONS
from personalization.core.time import parse_timestamp, parse_timezone
from training.cli.arguments import add_mapping


def add(commands: Any) -> None:
    """Add ``predict``."""
    parser = commands.add_parser("predict", help="score a file with a bundle")
    parser.set_defaults(run=run)
    parser.add_argument("directory", type=Path, metavar="DIR", help="a bundle")
    parser.add_argument("--in", dest="source", type=Path, required=True, metavar="F", help="CSV, CSV.gz or JSON Lines")
    parser.add_argument("--out", type=Path, required=True, metavar="F", help="JSON Lines; - for standard output")
    parser.add_argument("--as-of", metavar="DATE", help="date or time; default: the newest of the file")
    parser.add_argument("--k", type=int, default=20, metavar="N", help="items for each history")
    parser.add_argument("--ads", type=Path, metavar="F", help="table of ads, for columns that a file for ads lacks")
    parser.add_argument(
        "--interactions", type=Path, metavar="F", action="append", help="earlier events of the users of a file for ads"
    )
    parser.add_argument("--impressions", type=Path, metavar="F", help="log of earlier impressions of these users")
    add_mapping(parser)


def run(arguments: argparse.Namespace) -> None:
    """One line for each row, user or history of the file; a bad cell counts as missing."""
    from personalization.batch.output import StreamOutput
    from personalization.batch.scoring import score_file
    from personalization.batch.task import JobDependencies, ScoringTask
    from personalization.bundles.bundle import load_bundle

    if not arguments.source.is_file():
        raise InvalidInput(f"expected a file to score, found none at {arguments.source}")
    if arguments.k < 1:
        raise InvalidInput(f"expected --k of at least 1, received {arguments.k}")
    bundle = load_bundle(arguments.directory)
    as_of = None if arguments.as_of is None else as_of_timestamp(arguments.as_of, str(bundle.manifest.get("timezone", "UTC")))
    dependencies = JobDependencies()
    if arguments.ads or arguments.interactions or arguments.impressions:
        if bundle.kind != IMPRESSIONS.kind:
            options = "--ads, --interactions and --impressions"
            raise InvalidInput(f"expected {options} with a model of impressions, received one of {bundle.kind}")
        from training.tasks.ads.offline_context import offline_dependencies

        dependencies = offline_dependencies(
            arguments.ads, arguments.interactions or [], arguments.impressions, bundle.encoder.zone
        )
    with ExitStack() as stack:
        if str(arguments.out) == "-":
            stream = sys.stdout.buffer
        else:
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            part = arguments.out.with_name(f".{arguments.out.name}.part")
            stack.callback(part.unlink, missing_ok=True)
            stream = stack.enter_context(part.open("wb"))
        task = ScoringTask(
            arguments.source,
            StreamOutput(stream),
            mapping=arguments.map,
            on_bad_row="missing",
            as_of=as_of,
            k=arguments.k,
            dependencies=dependencies,
        )
        row_counts = score_file(bundle, task)
        stream.flush()
        if str(arguments.out) != "-":
            part.replace(arguments.out)
    counted = f"{row_counts.users} users" if row_counts.users is not None else f"{row_counts.rows_used} rows"
    bad = f"; {row_counts.bad_cells} bad cells counted as missing" if row_counts.bad_cells else ""
    left = f"; {row_counts.rejected} lines are no rows" if row_counts.rejected else ""
    print(f"{counted} scored{bad}{left}", file=sys.stderr)


def as_of_timestamp(text: str, timezone: str) -> int:
    """Milliseconds since 1970 of a date or time; without an offset it is in the bundle's time zone.

    A date is the millisecond before it begins, like a training cut: events of files with days only are at midnight.
    """
    parsed = parse_timestamp(text, parse_timezone(timezone))
    if parsed is None:
        raise InvalidInput(f"expected --as-of as a date or time (2026-01-31, 2026-01-31T12:00:00Z), received {text!r}")
    is_day = len(text.strip()) == len("2026-01-31")
    return parsed - is_day
