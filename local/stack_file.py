"""`.local/stack.json`: it describes the running stack and exists while it runs."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

FILE: Final = "stack.json"


class NotRunning(Exception):
    """No stack runs in this directory."""


class AlreadyRunning(Exception):
    """Another stack runs in this directory."""


def write(home: Path, description: Mapping[str, Any]) -> None:
    """Write the file by rename, so that readers see all of it; only its owner may read the addresses."""
    home.mkdir(parents=True, exist_ok=True)
    draft = home / f"{FILE}.{os.getpid()}"
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(description, indent=2) + "\n")
    draft.replace(home / FILE)


def find(home: Path) -> dict[str, Any]:
    """The description of the stack that runs in this directory. Raises `NotRunning`."""
    description = _read(home)
    if description is None:
        raise NotRunning("expected a running stack, found none; start one with: python -m local serve")
    if not _alive(description):
        raise NotRunning(
            f"the stack of process {description['pid']} does not run any more; start one with: python -m local serve"
        )
    return description


def claim(home: Path) -> None:
    """Remove the file of a dead stack. Raises `AlreadyRunning` where a stack runs in this directory."""
    description = _read(home)
    if description is not None and _alive(description):
        raise AlreadyRunning(f"process {description['pid']} already serves at {description['gateway']} from {home}")
    (home / FILE).unlink(missing_ok=True)


def release(home: Path) -> None:
    """Remove the file where this process wrote it."""
    description = _read(home)
    if description is not None and description["pid"] == os.getpid():
        (home / FILE).unlink(missing_ok=True)


def variable(description: Mapping[str, Any], name: str) -> str:
    """A variable that the template gives to its functions, such as ``DATA_BUCKET``. Raises `KeyError`."""
    for function in description["functions"].values():
        if value := function["environment"].get(name):
            return str(value)
    raise KeyError(f"no function of the template has the variable {name}")


def _read(home: Path) -> dict[str, Any] | None:
    try:
        description = json.loads((home / FILE).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return description if isinstance(description, dict) and "pid" in description else None


def _alive(description: Mapping[str, Any]) -> bool:
    """Whether the process exists and its port accepts connections; a process id alone may be reused."""
    try:
        os.kill(int(description["pid"]), 0)
        address = urlsplit(description["endpoint"])
        socket.create_connection((address.hostname, address.port), timeout=2).close()
    except OSError:
        return False
    return True
