"""Local disk for jobs that cleans up after those that could not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

_PREFIX: Final = "personalization-jobs-"


def own_directory(parent: Path) -> Path:
    """A fresh directory for this process.

    A function that runs out of time cleans nothing up, and its next start finds the same disk: what processes left behind
    that are no more is removed here.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{_PREFIX}*"):
        pid = left.name.removeprefix(_PREFIX)
        if pid.isdecimal() and not _is_other_process(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    own = parent / f"{_PREFIX}{os.getpid()}"
    own.mkdir(exist_ok=True)
    return own


def _is_other_process(pid: int) -> bool:
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
