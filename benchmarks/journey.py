"""The Complete Journey tables for benchmarks, written once into .cache/."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from training.datasets import complete_journey

DIRECTORY: Final = Path(__file__).resolve().parents[1] / ".cache" / "complete_journey"


@cache
def table(name: str) -> Path:
    """Parquet file of one of `complete_journey.TABLES`. Raises `DataPackageMissing`."""
    path = DIRECTORY / f"{name}.parquet"
    if not path.is_file():
        complete_journey.write(DIRECTORY)
    return path
