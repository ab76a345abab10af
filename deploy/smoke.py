"""Tries the whole thing in AWS: deploys a stack of its own, publishes, calls, drops a file, takes it all down.

    python -m deploy.smoke [--bundle DIR …] [--keep]

Uses the account and region of the shell. Costs a few cents at most; what it makes is named personalization-smoke-….
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
from deploy.stack import StackMissing, outputs, take_down
from personalization.bundles import promote, publish
from personalization.bundles.bundle import BUNDLE_JSON, read_manifest

ROOT: Final = Path(__file__).resolve().parents[1]
TRAINED: Final = ROOT / "build/bundles"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Deploy a stack for a try, check it, take it down.")
    parser.add_argument("--bundle", type=Path, action="append", metavar="DIR", help="(default: all below build/bundles)")
    parser.add_argument("--keep", action="store_true", help="leave the stack as it is")
    asked = parser.parse_args(arguments)
    bundles: list[Path] = asked.bundle or sorted(path.parent for path in TRAINED.glob(f"*/{BUNDLE_JSON}"))
    if not bundles:
        print("expected a bundle to try the stack with; `make demo` trains some, --bundle names one", file=sys.stderr)
        return 2

    import boto3  # after the arguments, so that --help is quick

    session = boto3.Session()
    stack = f"personalization-smoke-{uuid.uuid4().hex[:6]}"
    print(f"stack {stack}")
    failed = True
    try:
        _sam("build")
        _sam("deploy", "--stack-name", stack, "--no-confirm-changeset", "--no-fail-on-empty-changeset")
        failed = not _try(session, outputs(session.client("cloudformation"), stack), bundles)
    finally:
        if asked.keep:
            print(f"kept: {stack}")
        else:
            _clean_up(session, stack)
    return int(failed)


def _try(session: Any, found: dict[str, str], bundles: Sequence[Path]) -> bool:
    """Publish the bundles and run every check; whether all held."""
    s3 = session.client("s3")
    models: dict[str, tuple[str, ...]] = {}
    for directory in bundles:
        manifest, _ = read_manifest(directory)
        promote(s3, found["ModelsBucket"], manifest["name"], publish(s3, found["ModelsBucket"], directory))
        flat = manifest["columns"] if manifest["kind"] == "table" else ()
        models[str(manifest["name"])] = tuple(str(column["name"]) for column in flat)
    key = session.client("apigateway").get_api_key(apiKey=found["ApiKeyId"], includeValue=True)["value"]
    target = SmokeTarget(found["ApiUrl"], key, s3, found["DataBucket"], models)
    _settle(target)
    held = True
    for what, check in checks(target):
        started = time.monotonic()
        try:
            check()
        except CheckFailed as error:
            held = False
            print(f"FAILED  {what}: {error}")
        else:
            print(f"ok      {what} ({time.monotonic() - started:.1f} s)")
    return held


def _settle(target: SmokeTarget) -> None:
    """A new key takes up to a minute to be known to every gateway host."""
    for _ in range(12):
        if target.call("GET", "/v1/models").status != 403:
            return
        time.sleep(5)


def _clean_up(session: Any, stack: str) -> None:
    try:
        found = outputs(session.client("cloudformation"), stack)
    except StackMissing as error:  # it never came up
        print(f"nothing to take down: {error}")
        return
    take_down(session, stack, found)
    print(f"taken down: {stack}")


def _sam(*arguments: str) -> None:
    sam = which("sam", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}") or "sam"
    subprocess.run([sam, *arguments], cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
