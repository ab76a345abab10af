"""`python -m local tour`: run all steps."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from local import BUNDLES
from local.inbox import DropFailed
from local.stack import Stack
from local.tour.commands import CommandFailed
from local.tour.context import Tour, UnexpectedResponse
from local.tour.steps import STEPS
from local.tour.terminal import Terminal


def tour(home: Path, *, fresh: bool = False, bundles: Path = BUNDLES) -> int:
    """Run the steps, then stop the stack. Returns the exit status: 0 where every step succeeded.

    home      the tour's own stack and its logs are in a directory below
    fresh     train again; ``FRESH=1`` in the environment does the same
    bundles   directory of the trained bundles, which the next tour reuses
    """
    terminal = Terminal()
    fresh = fresh or os.environ.get("FRESH", "0") not in ("", "0")
    state = Tour(terminal, Stack(home=home / "tour"), home / "tour", bundles, fresh)
    try:
        for number, (caption, step) in enumerate(STEPS, 1):
            terminal.heading(f"{number}. {caption}")
            step(state)
    except (CommandFailed, DropFailed, UnexpectedResponse) as error:
        print(f"\nA step of the tour failed.\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        state.stack.stop()
    terminal.heading("The tour is complete; the stack is stopped.")
    terminal.note("make serve keeps the same stack running on 127.0.0.1:3000; python -m local --help lists further commands.")
    return 0
