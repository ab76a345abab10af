"""Finding a running stack: `.local/stack.json` is there while it serves."""

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
    """No stack serves from this directory."""


class AlreadyRunning(Exception):
    """Another stack serves from this directory."""


def write(home: Path, description: Mapping[str, Any]) -> None:
    """By rename, so that a reader sees all or nothing; readable by its owner alone, as it names open doors."""
    home.mkdir(parents=True, exist_ok=True)
    draft = home / f"{FILE}.{os.getpid()}"
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(description, indent=2) + "\n")
    draft.replace(home / FILE)


def find(home: Path) -> dict[str, Any]:
    """The description of the stack that serves from this directory. Raises `NotRunning`."""
    description = _read(home)
    if description is None:
        raise NotRunning("expected a running stack, found none; start one with: python -m local serve")
    if not _alive(description):
        raise NotRunning(f"the stack of process {description['pid']} is gone; start one with: python -m local serve")
    return description


def claim(home: Path) -> None:
    """Make sure that nobody else serves from this directory; what a dead one left is removed. Raises `AlreadyRunning`."""
    description = _read(home)
    if description is not None and _alive(description):
        raise AlreadyRunning(f"process {description['pid']} already serves at {description['gateway']} from {home}")
    (home / FILE).unlink(missing_ok=True)


def release(home: Path) -> None:
    """Remove stack.json if it is this process' own."""
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
    """Whether the process lives and its services answer: process ids are used again."""
    try:
        os.kill(int(description["pid"]), 0)
        address = urlsplit(description["endpoint"])
        socket.create_connection((address.hostname, address.port), timeout=2).close()
    except OSError:
        return False
    return True
