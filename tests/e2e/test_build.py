"""What `sam build` puts together: the right files, small enough, importable by themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.constraints import normalized, read_pins
from personalization.core.schema import JOBS
from tests.cloud import ROOT, plan
from tests.e2e.building import Build, Runtime

pytestmark = pytest.mark.e2e

MB = 1_000_000
LIMIT_MB = 250  # Lambda's, unzipped, layers included
API_LIMIT_MB = 120
FUNCTIONS = sorted(plan().functions)


def size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def modules(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*.py")}


def test_everything_was_built(built: Build):
    assert set(built.artefacts) == {*FUNCTIONS, "InferenceLayer", "PersonalizationLayer"}
    assert "&" not in built.template.read_text(encoding="utf-8")  # CloudFormation reads no YAML aliases


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_with_its_layers_is_small_enough(built: Build, function: str):
    total = sum(map(size, [built.artefacts[function], *built.layers()])) / MB
    print(f"{function}: {total:.1f} MB unzipped, layers included")
    assert total < (API_LIMIT_MB if function.endswith("ApiFunction") else LIMIT_MB)


@pytest.mark.parametrize("job", [*JOBS, "events"])
def test_an_artefact_holds_its_own_jobs_code_alone(built: Build, job: str):
    names = [name for name in FUNCTIONS if plan().functions[name].handler.startswith(f"functions.{job}.")]
    assert names
    expected = {"functions/__init__.py"} | {f"functions/{job}/{m}" for m in modules(ROOT / "functions" / job)}
    for name in names:
        assert modules(built.artefacts[name]) == expected


def test_our_layer_is_our_package(built: Build):
    ours = modules(ROOT / "layers/personalization/python")
    assert modules(built.artefacts["PersonalizationLayer"] / "python") == ours


def test_the_inference_layer_has_the_pinned_packages_and_no_ballast(built: Build):
    python = built.artefacts["InferenceLayer"] / "python"
    pins = read_pins((ROOT / "layers/inference/requirements.txt").read_text(encoding="utf-8").splitlines())
    installed = {}
    for path in python.glob("*.dist-info"):
        name, version = path.name.removesuffix(".dist-info").split("-")
        installed[normalized(name)] = version
    assert installed == pins
    for ballast in ("onnxruntime/transformers", "onnxruntime/tools", "onnxruntime/quantization", "numpy/f2py", "numpy/tests"):
        assert not (python / ballast).exists()
    assert not list(python.glob("onnxruntime/capi/libonnxruntime.so*"))


def test_sources_travel_with_bytecode_of_the_python_that_runs_them(built: Build, python: Runtime):
    """Lambda's disk is read-only: without it, every cold start compiles every module."""
    tag = f"cpython-{python.version.replace('.', '')}"
    for artefact in built.artefacts.values():
        sources = {path for path in artefact.rglob("*.py") if path.stat().st_size}
        compiled = {path.parent.parent / f"{path.name.split('.')[0]}.py" for path in artefact.rglob(f"__pycache__/*.{tag}.pyc")}
        assert sources <= compiled
        unchecked = next(iter(artefact.rglob("*.pyc"))).read_bytes()[4:8]
        assert unchecked == b"\x01\x00\x00\x00"  # hash-based, not compared (PEP 552)


def test_no_path_of_this_machine_travels(built: Build):
    for name in FUNCTIONS:
        for path in built.artefacts[name].rglob("*.pyc"):
            assert str(ROOT).encode() not in path.read_bytes()


@pytest.mark.parametrize("function", [name for name in FUNCTIONS if name.endswith("ApiFunction")])
def test_the_api_path_imports_nothing_heavy(built: Build, python: Runtime, function: str):
    """In a clean interpreter that sees the artefact, the layers and the runtime's packages, nothing else."""
    module = plan().functions[function].handler.rsplit(".", 1)[0]
    paths = [built.artefacts[function], *(layer / "python" for layer in built.layers()), python.packages]
    code = (
        f"import sys, {module}\n"
        "heavy = {'tensorflow', 'keras', 'pandas', 'duckdb', 'scipy', 'sklearn', 'matplotlib', 'training', 'local'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    variables = {
        **plan().functions[function].environment,
        "AWS_DEFAULT_REGION": "eu-central-1",
        "PYTHONPATH": ":".join(map(str, paths)),
    }
    done = subprocess.run([python.interpreter, "-S", "-c", code], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "[]"
    assert python.interpreter == sys.executable or python.version == "3.13"
