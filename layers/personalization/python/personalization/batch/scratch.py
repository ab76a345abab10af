"""Local disk for jobs, freed of what killed processes left behind."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

_PREFIX: Final = "personalization-jobs-"


def scratch_directory(parent: Path) -> Path:
    """A new directory for this process below `parent`.

    A function that runs out of time leaves its files behind, and its next start finds the same disk. So the directories of
    processes that no longer exist are removed first.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for directory in parent.glob(f"{_PREFIX}*"):
        pid = directory.name.removeprefix(_PREFIX)
        if pid.isdecimal() and not _is_other_process(int(pid)):
            shutil.rmtree(directory, ignore_errors=True)
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
    except PermissionError:  # it exists, and belongs to somebody else
        return True
    return True
