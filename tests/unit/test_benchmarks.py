"""`make bench` runs every script in benchmarks/."""

from __future__ import annotations

from pathlib import Path

from benchmarks.__main__ import SCRIPTS

ROOT = Path(__file__).resolve().parents[2] / "benchmarks"
HELPERS = {"__init__", "__main__", "report", "shop", "journey"}


def test_every_script_is_run() -> None:
    assert sorted(SCRIPTS) == sorted(path.stem for path in ROOT.glob("*.py") if path.stem not in HELPERS)
