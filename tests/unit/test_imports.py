"""What the deployed functions load: nothing that belongs to training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HANDLERS = [
    f"functions.{path.parent.name}.{path.stem}"
    for path in sorted((ROOT / "functions").glob("*/*.py"))
    if path.stem in ("api", "batch")
]
UNWANTED = ("tensorflow", "keras", "pandas", "duckdb", "training", "sklearn", "pyarrow", "lightgbm", "polars", "scipy", "onnx")
TRACER = ("aws_xray_sdk",)  # costs more than half a second


def test_there_are_seven_handlers() -> None:
    assert len(HANDLERS) == 7


@pytest.mark.parametrize("module", HANDLERS)
def test_a_clean_interpreter_loads_only_what_serves(module: str) -> None:
    """In isolation from this process and from whatever a developer's shell sets."""
    program = f"""
import importlib, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "layers/personalization/python")!r}]
module = importlib.import_module({module!r})
assert callable(module.lambda_handler)
documentation = [name for name in sys.modules if name.endswith((".response_models", ".row_models"))]
print(documentation + sorted({{name.partition(".")[0] for name in sys.modules}} & set({UNWANTED + TRACER!r})))
"""
    environment = {
        "PATH": "/usr/bin:/bin",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "MODELS_BUCKET": "models",
        "DATA_BUCKET": "data",
        "STATE_TABLE": "state",
        "POWERTOOLS_SERVICE_NAME": "test",
        "POWERTOOLS_METRICS_NAMESPACE": "test",
    }
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize("missing", ["MODELS_BUCKET", "DATA_BUCKET", "STATE_TABLE"])
def test_a_missing_variable_fails_at_init_with_its_name(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from personalization.api import Services

    monkeypatch.delenv(missing)
    with pytest.raises(KeyError, match=missing):
        Services.from_environment("profiles")


def test_clients_give_up_soon() -> None:
    from personalization.api.services import client_config

    config = client_config()
    assert (config.connect_timeout, config.read_timeout) == (1, 3)
    assert config.retries == {"mode": "standard", "total_max_attempts": 3}
    assert 3 * (config.connect_timeout + config.read_timeout) < 29 - 10  # of the gateway, beside the waits between tries
