"""`make bench ARGS='NAME …'`: every script can be run by the one that runs them all, whose own arguments are not theirs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from benchmarks.__main__ import SCRIPTS

ROOT = Path(__file__).resolve().parents[2] / "benchmarks"
HELPERS = {"__init__", "__main__", "report", "shop", "journey"}


def test_every_script_is_run() -> None:
    assert sorted(SCRIPTS) == sorted(path.stem for path in ROOT.glob("*.py") if path.stem not in HELPERS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_main_needs_no_arguments_and_reads_none_of_the_command_line(name: str) -> None:
    module = ast.parse((ROOT / f"{name}.py").read_text())
    (main,) = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == "main"]
    assert len(main.args.defaults) == len(main.args.args)
    calls = [node for node in ast.walk(main) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    assert all(call.args for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "parse_args")
