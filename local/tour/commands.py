"""Runs the project's own commands, with their output in a log file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from local import REPOSITORY


class CommandFailed(Exception):
    """A command failed; the message has its last lines and the path of its log."""


def run_module(module: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
    """``python -m module arguments…`` in the repository, output into `log`. Raises `CommandFailed`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    paths = [str(REPOSITORY), str(REPOSITORY / "layers" / "personalization" / "python"), os.environ.get("PYTHONPATH", "")]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **(environment or {})}
    with log.open("wb") as stream:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments], cwd=REPOSITORY, env=variables, stdin=subprocess.DEVNULL,
            stdout=stream, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    if done.returncode:
        last = log.read_text(errors="replace").strip().splitlines()[-12:]
        command = f"python -m {module} {' '.join(arguments)}"
        raise CommandFailed("\n".join([f"{command} ended with status {done.returncode}:", *last, f"(full log: {log})"]))
