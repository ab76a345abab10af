"""What goes into the artefacts, and the versions that everything is pinned to."""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest

from deploy.artefact import build_function, precompile, strip
from deploy.constraints import normalized, read_pins, render
from deploy.interpreter import find_interpreter
from tests.cloud import ROOT, plan

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def pins(path: str) -> dict[str, str]:
    return read_pins((ROOT / path).read_text(encoding="utf-8").splitlines())


def test_the_inference_layer_is_pinned_to_what_was_tested():
    constraints = pins("constraints.txt")
    layer = pins("layers/inference/requirements.txt")
    assert layer == {name: constraints[name] for name in layer}


def test_the_inference_layer_has_what_the_runtime_asks_for():
    """Everything that pyproject.toml's dependencies need, but for boto3 (in Lambda) and what onnxruntime only declares."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {normalized(requirement.split(">")[0].split("=")[0].strip()) for requirement in project["dependencies"]}
    assert wanted - set(pins("layers/inference/requirements.txt")) == {"boto3"}


def test_onnxruntime_is_one_without_telemetry():
    assert tuple(map(int, pins("constraints.txt")["onnxruntime"].split("."))) < (1, 29)


def test_every_installed_requirement_is_pinned():
    """constraints.txt is complete: nothing that the project's extras bring is left to the day of the installation."""
    constraints = pins("constraints.txt")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = {requirement for group in [project["dependencies"], *extras.values()] for requirement in group}
    rivals = set(extras["bench"])  # `make setup` does without
    for requirement in named:
        name = normalized(requirement.split("[")[0].split(">")[0].split("=")[0].strip())
        if name != "personalization":
            assert name in constraints, requirement
            if requirement not in rivals:
                assert distribution(name).version == constraints[name], name


def test_pins_are_read_and_anything_else_is_refused():
    assert read_pins(["# why", "", "A_b.c==1.0  # reason", "d==2"]) == {"a-b-c": "1.0", "d": "2"}
    with pytest.raises(ValueError, match="name==version"):
        read_pins(["numpy>=2"])


def test_new_constraints_keep_head_and_reasons():
    old = ["# head", "", "numpy==1.0  # proven together", "gone==3  # no longer"]
    assert render({"numpy": "2.0", "attrs": "26.1.0"}, old) == "# head\n\nattrs==26.1.0\nnumpy==2.0  # proven together\n"


def test_strip_deletes_what_matches_and_nothing_else(tmp_path: Path):
    for name in ("a/tests/x.py", "a/b/tests/y.py", "a/keep.py", "lib.so.1", "lib.so", "a/testsuite.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    strip(tmp_path, ["# comment", "", "a/**/tests", "lib.so.*", "nothing/here"])
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} == {
        "a/keep.py",
        "lib.so",
        "a/testsuite.py",
    }


def test_a_function_takes_its_own_folder_alone(tmp_path: Path):
    build_function("ads", tmp_path)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.py")}
    assert "functions/ads/api.py" in found
    assert found == {"functions/__init__.py"} | {name for name in found if name.startswith("functions/ads/")}
    with pytest.raises(SystemExit, match="functions/nonsense"):
        build_function("nonsense", tmp_path)


def test_bytecode_is_unchecked_and_names_lambdas_paths(tmp_path: Path):
    (tmp_path / "module.py").write_text("def f():\n    raise KeyError\n")
    assert precompile(tmp_path, HERE, "/var/task")
    (compiled,) = (tmp_path / "__pycache__").iterdir()
    content = compiled.read_bytes()
    assert content[4:8] == b"\x01\x00\x00\x00"  # hash-based, never compared with the source (PEP 552)
    assert b"/var/task/module.py" in content
    assert str(tmp_path).encode() not in content


def test_without_the_right_python_it_goes_without_bytecode(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "module.py").touch()
    assert find_interpreter("2.0") is None
    assert not precompile(tmp_path, "2.0", "/opt")
    assert "starts more slowly" in capsys.readouterr().err
    assert not (tmp_path / "__pycache__").exists()


def test_the_running_python_is_found():
    assert find_interpreter(HERE) == sys.executable


def test_each_resource_that_sam_builds_has_a_makefile_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {word.rstrip(":") for line in makefile.splitlines() if line.startswith("build-") for word in line.split()}
    layers = {"build-InferenceLayer", "build-PersonalizationLayer"}
    assert targets == {f"build-{name}" for name in plan().functions} | layers
