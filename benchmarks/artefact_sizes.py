"""Unzipped size of each built artefact with its layers, beside Lambda's limit and beside TensorFlow as it is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from benchmarks import report
from tests.cloud import plan
from tests.e2e.building import build, runtime

LAMBDA_LIMIT_MB: Final = 250
MB: Final = 1_000_000


def main() -> None:
    built = build(runtime())
    layers = {name: _size(path) for name, path in built.artefacts.items() if name.endswith("Layer")}
    rows = [{"what": name, "own_mb": size / MB, "with_layers_mb": None} for name, size in layers.items()]
    for name in sorted(plan().functions):
        own = _size(built.artefacts[name])
        rows.append({"what": name, "own_mb": own / MB, "with_layers_mb": (own + sum(layers.values())) / MB})
    tensorflow = find_spec("tensorflow")
    assert tensorflow is not None
    assert tensorflow.origin is not None
    rows.append({"what": "tensorflow alone", "own_mb": _size(Path(tensorflow.origin).parent) / MB, "with_layers_mb": None})
    report.publish("artefact_sizes", f"Artefacts, unzipped (MB; Lambda takes {LAMBDA_LIMIT_MB})", rows)


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
