"""Finding a CPython of the version that Lambda runs, where this machine has one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def find_interpreter(version: str) -> str | None:
    """Path of an interpreter of this minor version (``3.13``), `None` where there is none.

    A pyenv shim on the PATH answers only while its version is switched on, so each candidate is asked.
    """
    for candidate in _candidates(version):
        if _answers(candidate, version):
            return candidate
    return None


def _candidates(version: str) -> Iterator[str]:
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        yield sys.executable
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield on_path
    pyenv = shutil.which("pyenv")
    if pyenv:
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False).stdout.strip()
        if root:
            yield from map(str, sorted(Path(root).glob(f"versions/{version}.*/bin/python"), reverse=True))


def _answers(interpreter: str, version: str) -> bool:
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        said = subprocess.run([interpreter, "-c", ask], capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return said.returncode == 0 and said.stdout.strip() == version
