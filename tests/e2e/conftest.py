"""Built once a session: the artefacts, an account that checks permissions, a model of each name in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from personalization.bundles import promote, publish
from personalization.core.schema import JOBS, TABLE_SUFFIX
from tests.ads_bundle import ads_bundle
from tests.bundles import THRESHOLDS, flat_bundle, profiles_bundle
from tests.e2e.account import Account
from tests.e2e.building import Build, Runtime, build, runtime
from tests.e2e.emulator import Emulator
from tests.recommendations_bundle import recommendations_bundle

Invoker = Callable[[str], Emulator]


@pytest.fixture(scope="session")
def python() -> Runtime:
    return runtime()


@pytest.fixture(scope="session")
def built(python: Runtime) -> Build:
    return build(python)


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """With a published model of each name; permissions are checked from then on."""
    with Account() as account:
        s3, bucket = account.client("s3"), account.plan.resolver.name("ModelsBucket")
        for directory, name in _bundles(tmp_path_factory.mktemp("bundles")):
            promote(s3, bucket, name, publish(s3, bucket, directory))
        account.check_permissions(True)
        yield account


@pytest.fixture(scope="session")
def emulator(python: Runtime, built: Build, account: Account, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Invoker]:
    """Starts each function when it is first asked for, and keeps it warm."""
    logs = tmp_path_factory.mktemp("logs")
    running: dict[str, Emulator] = {}
    with ExitStack() as stack:

        def start(function: str) -> Emulator:
            if function not in running:
                handler = account.plan.functions[function].handler
                cache = {"MODEL_CACHE_DIR": str(tmp_path_factory.mktemp(function))}
                fresh = Emulator(
                    python, built, function, handler, account.environment(function) | cache, logs / f"{function}.log"
                )
                running[function] = stack.enter_context(fresh)
            return running[function]

        yield start


def _bundles(directory: Path) -> Iterator[tuple[Path, str]]:
    for job in JOBS:
        flat_bundle(directory / f"{job}-table", f"{job}{TABLE_SUFFIX}")
        yield directory / f"{job}-table", f"{job}{TABLE_SUFFIX}"
    profiles_bundle(directory / "profiles", content={"behaviour": THRESHOLDS})
    yield directory / "profiles", "profiles"
    recommendations_bundle(directory / "recommendations")
    yield directory / "recommendations", "recommendations"
    ads_bundle(directory / "ads", background=True)
    yield directory / "ads", "ads"
