"""The Open Bandit package as an oracle and as data: its estimators, and its sample of a fashion shop's log.

The package asks for torch and pandas; its estimators only name their types. So it is not imported whole: two modules of it are,
with empty stand-ins for those two.
"""

from __future__ import annotations

import csv
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest


def directory() -> Path:
    """Where the package lies; the test is skipped where it is not installed."""
    spec = importlib.util.find_spec("obp")
    if spec is None or spec.origin is None:
        pytest.skip("needs the package obp (pip install --no-deps obp==0.4.1)")
    return Path(spec.origin).parent


@contextmanager
def estimators() -> Iterator[Any]:
    """The module `obp.ope.estimators`."""
    root = directory()
    names = ("obp", "obp.ope", "obp.utils", "obp.ope.estimators", "torch", "pandas")
    before = {name: sys.modules.pop(name, None) for name in names}
    try:
        for name, path in (("obp", root), ("obp.ope", root / "ope")):
            package = ModuleType(name)
            package.__path__ = [str(path)]
            sys.modules[name] = package
        for name in ("torch", "pandas"):
            stand_in: Any = ModuleType(name)
            stand_in.Tensor = stand_in.DataFrame = type("Never", (), {})
            sys.modules[name] = stand_in
        yield importlib.import_module("obp.ope.estimators")
    finally:
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


def log_file(policy: str, campaign: str) -> Path:
    """10,000 impressions of one campaign that one policy (bts or random) showed."""
    return directory() / "dataset" / "obd" / policy / campaign / f"{campaign}.csv"


def read(policy: str, campaign: str) -> SimpleNamespace:
    """action, reward, propensity, position (from 0) of a log, and its number of items."""
    with log_file(policy, campaign).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with (log_file(policy, campaign).parent / "item_context.csv").open(newline="") as stream:
        items = sum(1 for _ in csv.DictReader(stream))
    return SimpleNamespace(
        action=np.array([int(row["item_id"]) for row in rows]),
        reward=np.array([float(row["click"]) for row in rows]),
        propensity=np.array([float(row["propensity_score"]) for row in rows]),
        position=np.array([int(row["position"]) for row in rows]) - 1,
        items=items,
    )
