"""What every measurement shares: percentiles, a table for people, JSON for machines, and on what it ran."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8")


def machine() -> dict[str, Any]:
    """Processor, its vector instructions, cores and the libraries that matter; times compare only within one run."""
    flags: set[str] = set()
    model = platform.processor()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "flags":
                flags = set(value.split())
            elif key.strip() == "model name":
                model = value.strip()
    except FileNotFoundError:  # not Linux
        pass
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "instructions": [flag for flag in _FLAGS if flag in flags],
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "onnxruntime")},
    }


def repeat(call: Callable[[], Any], *, seconds: float = 2.0, warmup: int = 20, at_least: int = 50) -> list[float]:
    """Milliseconds of each call, sorted, over about `seconds`; what it prints (a function's metrics) goes nowhere."""
    times: list[float] = []
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        for _ in range(warmup):
            call()
        end = time.perf_counter() + seconds
        while len(times) < at_least or time.perf_counter() < end:
            start = time.perf_counter()
            call()
            times.append((time.perf_counter() - start) * 1e3)
    return sorted(times)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Of sorted values; the nearest rank."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def publish(name: str, title: str, rows: Sequence[Mapping[str, Any]], notes: Sequence[str] = ()) -> None:
    """Print `rows` as a table under `title`, and write them to results/<name>.json."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_shown(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[i]) for line in cells)) for i, column in enumerate(columns)]
    print(f"\n{title}")
    print("  ".join(column.ljust(width) for column, width in zip(columns, widths, strict=True)))
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))
    for note in notes:
        print(f"  {note}")
    sys.stdout.flush()
    RESULTS.mkdir(exist_ok=True)
    content = {"title": title, "machine": machine(), "rows": list(rows), "notes": list(notes)}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
