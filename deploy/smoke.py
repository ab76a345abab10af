"""Smoke test in AWS: deploys a new stack, publishes models, calls the API, drops files, deletes the stack.

    python -m deploy.smoke [--bundle DIR …] [--keep]

Uses the account and region of the shell and costs a few cents at most. All resources are named personalization-smoke-….
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from shutil import which
from typing import Any, Final

from deploy.checks import CheckFailed, SmokeTarget, checks
from deploy.stack import StackMissing, delete_stack, outputs
from personalization.bundles import promote, publish
from personalization.bundles.bundle import BUNDLE_JSON, read_manifest

ROOT: Final = Path(__file__).resolve().parents[1]
TRAINED: Final = ROOT / "build/bundles"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Deploy a new stack, check it, delete it.")
    parser.add_argument("--bundle", type=Path, action="append", metavar="DIR", help="(default: all below build/bundles)")
    parser.add_argument("--keep", action="store_true", help="do not delete the stack")
    options = parser.parse_args(arguments)
    bundles: list[Path] = options.bundle or sorted(path.parent for path in TRAINED.glob(f"*/{BUNDLE_JSON}"))
    if not bundles:
        print("expected a bundle, found none; `make demo` trains some, --bundle names one", file=sys.stderr)
        return 2

    import boto3  # after the arguments, so that --help is fast

    session = boto3.Session()
    stack = f"personalization-smoke-{uuid.uuid4().hex[:6]}"
    print(f"stack {stack}")
    failed = True
    try:
        _sam("build")
        _sam("deploy", "--stack-name", stack, "--no-confirm-changeset", "--no-fail-on-empty-changeset")
        failed = not _run_checks(session, outputs(session.client("cloudformation"), stack), bundles)
    finally:
        if options.keep:
            print(f"kept: {stack}")
        else:
            _clean_up(session, stack)
    return int(failed)


def _run_checks(session: Any, found: dict[str, str], bundles: Sequence[Path]) -> bool:
    """Publish the bundles and run all checks; returns whether all passed."""
    s3 = session.client("s3")
    models: dict[str, tuple[str, ...]] = {}
    for directory in bundles:
        manifest, _ = read_manifest(directory)
        promote(s3, found["ModelsBucket"], manifest["name"], publish(s3, found["ModelsBucket"], directory))
        flat = manifest["columns"] if manifest["kind"] == "table" else ()
        models[str(manifest["name"])] = tuple(str(column["name"]) for column in flat)
    key = session.client("apigateway").get_api_key(apiKey=found["ApiKeyId"], includeValue=True)["value"]
    target = SmokeTarget(found["ApiUrl"], key, s3, found["DataBucket"], models)
    _wait_for_key(target)
    passed = True
    for what, check in checks(target):
        started = time.monotonic()
        try:
            check()
        except CheckFailed as error:
            passed = False
            print(f"FAILED  {what}: {error}")
        else:
            print(f"ok      {what} ({time.monotonic() - started:.1f} s)")
    return passed


def _wait_for_key(target: SmokeTarget) -> None:
    """Wait until the gateway accepts the new key, which takes up to a minute."""
    for _ in range(12):
        if target.call("GET", "/v1/models").status != 403:
            return
        time.sleep(5)


def _clean_up(session: Any, stack: str) -> None:
    try:
        found = outputs(session.client("cloudformation"), stack)
    except StackMissing as error:  # it was never created
        print(f"nothing to delete: {error}")
        return
    delete_stack(session, stack, found)
    print(f"deleted: {stack}")


def _sam(*arguments: str) -> None:
    sam = which("sam", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}") or "sam"
    subprocess.run([sam, *arguments], cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
