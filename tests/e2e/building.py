"""`sam build` into a directory that is named by what went in, and the packages that Lambda's runtime itself has."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.artefact import precompile
from deploy.constraints import read_pins
from deploy.interpreter import find_interpreter
from local.template import read_template

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
LAMBDA_PYTHON = os.environ.get("LAMBDA_PYTHON") or "3.13"
# What an artefact is made of; sam's own cache looks no further than a function's folder.
SOURCES = ("template.yaml", "Makefile", "deploy", "functions", "layers")


@dataclass(frozen=True)
class Runtime:
    """The Python that stands in for Lambda's: its minor version, its path, and where awslambdaric and boto3 lie."""

    version: str
    interpreter: str
    packages: Path


@dataclass(frozen=True)
class Build:
    """`template.yaml` as sam wrote it, and where it put each function and layer."""

    template: Path
    artefacts: dict[str, Path]

    def layers(self) -> list[Path]:
        return [path for name, path in self.artefacts.items() if name.endswith("Layer")]


def runtime() -> Runtime:
    """Python 3.13 where this machine has one, else the Python that runs the tests."""
    version = LAMBDA_PYTHON
    interpreter = find_interpreter(version)
    if interpreter is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        interpreter = sys.executable
    return Runtime(version, interpreter, _runtime_packages(version))


def build(python: Runtime) -> Build:
    """Build all functions and layers, or take the build of the same sources."""
    directory = CACHE / "sam-build" / _fingerprint(python)
    if not (directory / "template.yaml").exists():
        _forget_old(directory.parent)
        part = _part(directory)
        _run(
            [sam(), "build", "--template", str(ROOT / "template.yaml"), "--build-dir", str(part)], LAMBDA_PYTHON=python.version
        )
        _take(part, directory)
    resources = read_template(directory / "template.yaml")["Resources"]
    keys = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}
    artefacts = {
        name: (directory / resource["Properties"][keys[resource["Type"]]]).resolve()
        for name, resource in resources.items()
        if resource["Type"] in keys
    }
    return Build(directory / "template.yaml", artefacts)


def _part(directory: Path) -> Path:
    """Where it is made: a run beside this one may be making the same."""
    return directory.with_name(f".{directory.name}.{os.getpid()}")


def _take(part: Path, directory: Path) -> None:
    """It appears whole, by rename; who is second uses the first one's."""
    try:
        part.rename(directory)
    except OSError:
        if not directory.is_dir():
            raise
        shutil.rmtree(part)


def _forget_old(builds: Path) -> None:
    """Delete builds that nobody can be using any more: each takes a hundred megabytes."""
    for path in builds.glob("*"):
        if time.time() - path.stat().st_mtime > 3600:
            shutil.rmtree(path, ignore_errors=True)


def _runtime_packages(version: str) -> Path:
    """boto3 and awslambdaric are in Lambda's runtime, not in ours: here they lie apart from the tests' environment."""
    pins = read_pins((ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
    wanted = [f"{name}=={pins[name]}" for name in ("awslambdaric", "boto3")]
    name = hashlib.sha256(" ".join([version, *wanted]).encode()).hexdigest()[:16]
    directory = CACHE / "lambda-runtime" / name
    if not directory.is_dir():
        part = _part(directory)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(part)]
        command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", version, "--no-compile"]
        command += [p for tag in ("manylinux_2_28", "manylinux_2_17", "manylinux2014") for p in ("--platform", f"{tag}_x86_64")]
        _run([*command, "--constraint", str(ROOT / "constraints.txt"), *wanted])
        precompile(part, version, "/var/runtime")  # as in Lambda's image
        _take(part, directory)
    return directory


def _fingerprint(python: Runtime) -> str:
    digest = hashlib.sha256(f"{python.version} {python.interpreter}".encode())
    for path in sorted(_files()):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _files() -> Iterator[Path]:
    for source in SOURCES:
        path = ROOT / source
        for file in [path] if path.is_file() else path.rglob("*"):
            hidden = any(part.startswith(".") or part == "__pycache__" for part in file.relative_to(ROOT).parts)
            if file.is_file() and not hidden:
                yield file


def sam() -> str:
    found = shutil.which("sam", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.fail("expected the command sam, which `make setup` installs")
    return found


def _run(command: list[str], **environment: str) -> None:
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
