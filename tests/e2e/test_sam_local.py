"""`sam local invoke` on every sample event that fits a function, with the model and the queues of the local stack."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.aws import bridge_address, isolated_environment
from local.env import variables
from local.stack import Stack
from tests.ads_bundle import ads_bundle
from tests.bundles import flat_bundle, profiles_bundle
from tests.cloud import ROOT, plan
from tests.e2e.building import Build, Runtime, sam
from tests.e2e.test_batch import FLAT, INTERACTIONS, function_of, object_of

pytestmark = [pytest.mark.e2e, pytest.mark.engine, pytest.mark.slow]

EVENTS = sorted((ROOT / "events").glob("*.json"))
Invoke = Callable[[str, Path], Any]


@pytest.fixture(scope="module")
def engine() -> None:
    """Skips where no Docker engine answers."""
    try:
        asked = subprocess.run(["docker", "version"], capture_output=True, text=True, check=False, timeout=30)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"no Docker engine answers: {error}")
    if asked.returncode:
        pytest.skip(f"no Docker engine answers: {asked.stderr.strip().splitlines()[-1][:120]}")


@pytest.fixture(scope="module")
def stack(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    bundles = tmp_path_factory.mktemp("bundles")
    profiles_bundle(bundles / "profiles")
    ads_bundle(bundles / "ads")
    for job in ("profiles", "recommendations", "ads"):
        flat_bundle(bundles / f"{job}-table", f"{job}-table")
    with Stack(home=tmp_path_factory.mktemp("home"), bridge=bridge_address()) as stack:
        stack.publish(sorted(bundles.iterdir()))
        yield stack


@pytest.fixture(scope="module")
def invoke(stack: Stack, built: Build, python: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Invoke:
    if python.version != "3.13":
        pytest.skip(f"the artefacts were built for Python {python.version}; the container has 3.13")
    directory = tmp_path_factory.mktemp("env")

    def run(function: str, event: Path) -> Any:
        file = directory / f"{function}.json"
        file.write_text(json.dumps(variables(stack.description(), function)), encoding="utf-8")
        command = [sam(), "local", "invoke", function, "--event", str(event), "--env-vars", str(file)]
        command += ["--template", str(built.template), "--skip-pull-image"]
        done = subprocess.run(
            command, env=isolated_environment(), cwd=directory, capture_output=True, text=True, check=False, timeout=240
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.strip().splitlines()[-1])

    return run


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_a_sample_is_answered_in_the_container(path: Path, stack: Stack, invoke: Invoke):
    event = json.loads(path.read_text(encoding="utf-8"))
    if "Records" in event:
        dropped = object_of(event)
        if dropped:
            content = FLAT if "-table/" in dropped[1] else INTERACTIONS
            # the local stack works on it too: results are the same bytes, written once
            stack.aws.client("s3").put_object(Bucket=dropped[0], Key=dropped[1], Body=content.encode())
        assert invoke(function_of(event, stack.plan), path) == {"batchItemFailures": []}
        return
    (function,) = [r.function for r in plan().api.routes if (r.method, r.path) == (event["httpMethod"], event["resource"])]
    answer = invoke(function, path)
    json.loads(answer["body"])
    unknown = "{user_id}" in event["resource"] or event["resource"] == "/v1/segments"
    assert answer["statusCode"] in ({200, 404} if unknown else {200}), answer
