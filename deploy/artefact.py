"""Fills the artefacts of `sam build`, whose makefile targets call this.

    python deploy/artefact.py function profiles DIR     code of one job, at the path of its handler
    python deploy/artefact.py personalization DIR       the layer with our runtime
    python deploy/artefact.py inference DIR             the layer with third-party packages, stripped

Runs on any Python from 3.11 with pip. Wheels are those for Lambda's platform and Python (``LAMBDA_PYTHON``, by default 3.13);
bytecode is compiled where an interpreter of that version is installed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a file: sam build may have any python3 in front

from deploy.interpreter import find_interpreter  # noqa: E402

# Amazon Linux 2023 has glibc 2.34; pip takes each older tag only when it is named.
PLATFORMS: Final = (*(f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 26, 24, 17)), "manylinux2014_x86_64")
_NOT_CODE = shutil.ignore_patterns("__pycache__", ".*")


def build_function(job: str, target: Path) -> None:
    """``functions/__init__.py`` and ``functions/<job>/`` alone: a job's artefact holds no other job's code."""
    source = ROOT / "functions"
    if not (source / job).is_dir():
        raise SystemExit(f"expected a folder functions/{job}, found none")
    shutil.copytree(source / job, target / "functions" / job, ignore=_NOT_CODE, dirs_exist_ok=True)
    shutil.copy2(source / "__init__.py", target / "functions")


def build_personalization(target: Path) -> None:
    """Copy the runtime."""
    shutil.copytree(ROOT / "layers/personalization/python", target / "python", ignore=_NOT_CODE, dirs_exist_ok=True)


def build_inference(target: Path, version: str, platforms: Sequence[str] = PLATFORMS) -> None:
    """Install the pinned wheels for Lambda and delete the files that inference does not use."""
    source, python = ROOT / "layers/inference", target / "python"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", version]
    command += [part for platform in platforms for part in ("--platform", platform)]
    command += ["--target", str(python), "--upgrade", "--requirement", str(source / "requirements.txt")]
    subprocess.run(command, check=True)
    strip(python, (source / "strip.txt").read_text(encoding="utf-8").splitlines())


def strip(directory: Path, patterns: Sequence[str]) -> None:
    """Delete the paths that match the globs; a pattern may match nothing, since packages change."""
    for pattern in (line.strip() for line in patterns):
        if not pattern or pattern.startswith("#"):
            continue
        for path in sorted(directory.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def precompile(target: Path, version: str, prefix: str) -> bool:
    """Compile bytecode beside the sources: Lambda's disk is read-only, and each cold start would compile them.

    The bytecode is unchecked, since a zip changes the times that Python compares. Returns False where no interpreter of this
    version is installed.
    """
    interpreter = find_interpreter(version)
    if interpreter is None:
        print(f"Python {version} is not installed: {target.name} has no bytecode and starts more slowly", file=sys.stderr)
        return False
    command = [interpreter, "-m", "compileall", "-q", "-j", "1", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([*command, "-s", str(target), "-p", prefix, str(target)], check=True)
    return True


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Fill the artefact directory of one function or layer.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("function").add_argument("job")
    kinds.add_parser("personalization")
    kinds.add_parser("inference")
    for kind in kinds.choices.values():
        kind.add_argument("target", type=Path)
    options = parser.parse_args(arguments)
    version = os.environ.get("LAMBDA_PYTHON") or "3.13"
    options.target.mkdir(parents=True, exist_ok=True)
    if options.kind == "function":
        build_function(options.job, options.target)
    elif options.kind == "personalization":
        build_personalization(options.target)
    else:
        build_inference(options.target, version)
    precompile(options.target, version, "/var/task" if options.kind == "function" else "/opt")


if __name__ == "__main__":
    main()
