"""The command line. Heavy imports are inside the commands, so that ``list`` does not wait for TensorFlow."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from personalization.core.errors import BundleInvalid, Conflict, InvalidInput, PersonalizationError
from training.cli import check, evaluate, predict, store, train

_USER_MISTAKE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit status: 0 done, 1 failed, 2 a mistake of the user, which is printed in one line."""
    arguments = _parser().parse_args(argv)
    _log_to_stderr(quiet=getattr(arguments, "quiet", False))
    try:
        arguments.run(arguments)
    except (InvalidInput, BundleInvalid) as error:
        print(f"error: {error.detail}", file=sys.stderr)
        for fault in error.faults[:10]:
            print(f"  {fault.pointer}: {fault.detail}", file=sys.stderr)
        return _USER_MISTAKE
    except PersonalizationError as error:
        print(f"error: {error.detail}", file=sys.stderr)
        return 1 if isinstance(error, Conflict) else _USER_MISTAKE
    except BrokenPipeError:
        # The reader (head, less) has closed the pipe; what is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description="Train, evaluate, publish and use models.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (train, predict, evaluate, store, check):
        command.add(commands)
    return parser


def _log_to_stderr(*, quiet: bool) -> None:
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr, force=True)
    logging.getLogger("training").setLevel(logging.WARNING if quiet else logging.INFO)
