"""Writes constraints.txt from the installed packages, and keeps its comments.

    python -m deploy.constraints constraints.txt

The lines before the first package and the comment behind a package are kept.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

# The installers and this project itself.
LEFT_OUT: Final = frozenset({"personalization", "pip", "setuptools", "wheel"})

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)(?:\s+(?P<reason>#.*))?$")


def normalized(name: str) -> str:
    """The normalised name of a distribution (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(lines: Iterable[str]) -> dict[str, str]:
    """{name: version} of a constraints or requirements file. Raises `ValueError` for a line without a pin."""
    pins = {}
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        found = _PIN.match(line.strip())
        if not found:
            raise ValueError(f"expected name==version, received {line.strip()!r}")
        pins[normalized(found["name"])] = found["version"]
    return pins


def render(installed: dict[str, str], previous: Iterable[str]) -> str:
    """The new file: the head and comments of the old one, the installed versions."""
    head: list[str] = []
    reasons = {}
    started = False
    for line in previous:
        found = _PIN.match(line.strip())
        started = started or bool(found)
        if found and found["reason"]:
            reasons[normalized(found["name"])] = found["reason"]
        if not started:
            head.append(line.rstrip())
    pins = [f"{name}=={version}  {reasons.get(name, '')}".rstrip() for name, version in sorted(installed.items())]
    return "\n".join([*head, *pins]) + "\n"


def installed_versions() -> dict[str, str]:
    """{name: version} of this environment, without the project and the installers."""
    found = {normalized(d.metadata["Name"]): d.version for d in distributions()}
    return {name: version for name, version in found.items() if name not in LEFT_OUT}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the versions of this environment into a constraints file.")
    parser.add_argument("file", type=Path)
    file: Path = parser.parse_args().file
    previous = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    file.write_text(render(installed_versions(), previous), encoding="utf-8")


if __name__ == "__main__":
    main()
