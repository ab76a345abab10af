"""The tour from its first step to its last."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from local import BUNDLES
from local.inbox import DropFailed
from local.stack import Stack
from local.tour.commands import CommandFailed
from local.tour.guide import Tour, UnexpectedAnswer
from local.tour.show import Show
from local.tour.steps import STEPS


def tour(home: Path, *, fresh: bool = False, bundles: Path = BUNDLES) -> int:
    """Walk through the steps, stop the stack, answer the exit status: 0 where every step went as it should.

    home      the tour has a stack of its own, with its logs in a directory below
    fresh     train anew, also asked for by ``FRESH=1`` in the environment
    bundles   where trained bundles are kept for the next time
    """
    show = Show()
    fresh = fresh or os.environ.get("FRESH", "0") not in ("", "0")
    with_stack = Tour(show, Stack(home=home / "tour"), home / "tour", bundles, fresh)
    try:
        for number, (caption, step) in enumerate(STEPS, 1):
            show.heading(f"{number}. {caption}")
            step(with_stack)
    except (CommandFailed, DropFailed, UnexpectedAnswer) as error:
        print(f"\nThe tour ends here.\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        with_stack.stack.stop()
    show.heading("That was all of it, and nothing is left running.")
    show.note("make serve keeps the same stack up on 127.0.0.1:3000; python -m local --help lists what else there is.")
    return 0
