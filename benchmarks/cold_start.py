"""Cold start of the built profiles function under the Runtime Interface Emulator, to its first answer.

The time runs from the start of the process to the first answer: interpreter, imports, clients, pointer, bundle download, check,
load, request. Beside it, in turns: the same interpreter importing numpy and onnxruntime and making one boto3 client and nothing
else; and the same handler in a process that answers through TensorFlow.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks import report, shop
from benchmarks.profiles_handler import requests
from personalization.bundles import promote, publish
from personalization.bundles.bundle import BUNDLE_JSON
from personalization.bundles.model_store import download
from tests.e2e.account import Account
from tests.e2e.building import Build, Runtime, build, runtime
from tests.e2e.emulator import Emulator

FUNCTION: Final = "ProfilesApiFunction"
TURNS: Final = 5
BARE: Final = "import numpy, onnxruntime, boto3; boto3.client('s3', region_name='us-east-1')"
ON_TENSORFLOW: Final = (
    "from benchmarks import shop, profiles_handler as p; from personalization.bundles.bundle import load_bundle; "
    "b = load_bundle(__import__('pathlib').Path({bundle!r})); "
    "assert shop.handler('profiles', p.on_keras(b))(p.requests()['ready features'], None)['statusCode'] == 200"
)


def main() -> None:
    bundle = shop.demo_bundle("profiles")
    python = runtime()
    built = build(python)
    with Account() as account, TemporaryDirectory() as scratch:
        s3, bucket = account.client("s3"), account.plan.resolver.name("ModelsBucket")
        version = publish(s3, bucket, bundle.directory)
        promote(s3, bucket, bundle.name, version)
        started = time.perf_counter()
        download(s3, bucket, bundle.name, version, Path(scratch) / "measured")
        fetched = time.perf_counter() - started
        ways: dict[str, Callable[[], None]] = {
            "built function, first answer": lambda: _first_answer(python, built, account),
            "bare imports, one boto3 client": lambda: _run([python.interpreter, "-S", "-c", BARE], _paths(python, built)),
            "same handler on TensorFlow": lambda: _run(
                [sys.executable, "-c", ON_TENSORFLOW.format(bundle=str(bundle.directory))],
                os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
            ),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(TURNS):
            for name, way in ways.items():
                started = time.perf_counter()
                way()
                times[name].append(time.perf_counter() - started)
    files = [*bundle.manifest["files"], BUNDLE_JSON]
    megabytes = sum((bundle.directory / file).stat().st_size for file in files) / 1e6
    ours, bare, tensorflow = (statistics.median(values) for values in times.values())
    report.publish(
        "cold_start",
        f"Cold start, Python {python.version} (seconds, median of {TURNS})",
        [
            {
                "what": name,
                "median_s": statistics.median(values),
                "fastest_s": min(values),
                "of bare": statistics.median(values) / bare,
            }
            for name, values in times.items()
        ],
        [
            f"in ours: {megabytes:.2f} MB of bundle, fetched from a local S3 in {fetched * 1000:.0f} ms "
            f"({megabytes / fetched:.0f} MB/s)",
            f"TensorFlow takes {tensorflow / ours:.1f} times as long",
        ],
    )


def _first_answer(python: Runtime, built: Build, account: Account) -> None:
    handler = account.plan.functions[FUNCTION].handler
    with TemporaryDirectory() as cache:
        environment = account.environment(FUNCTION) | {"MODEL_CACHE_DIR": cache}
        with Emulator(python, built, FUNCTION, handler, environment, Path(cache) / "log") as function:
            answer = function.invoke(requests()["ready features"])
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["degraded"] is False


def _paths(python: Runtime, built: Build) -> dict[str, str]:
    layers = [str(layer / "python") for layer in built.layers()]
    return {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join([*layers, str(python.packages)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _run(command: list[str], environment: Any) -> None:
    subprocess.run(command, check=True, env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
