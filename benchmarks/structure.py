"""How the code is built: its size, names used twice, the longest chain of imports, and how far three calls travel.

A call's path is counted in the runtime and the handlers alone: the modules that it enters, and how often one function call
follows another in a different module. Fewer of both means that a reader follows a request through fewer files.
"""

from __future__ import annotations

import ast
import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, Final

from benchmarks.report import publish

ROOT: Final = Path(__file__).resolve().parents[1]
RUNTIME: Final = ROOT / "layers" / "personalization" / "python"
TREES: Final = (
    RUNTIME / "personalization",
    *(ROOT / name for name in ("functions", "training", "local", "deploy", "benchmarks")),
)


def sources(trees: tuple[Path, ...] = TREES) -> Iterator[tuple[Path, ast.Module]]:
    """Every Python file below `trees` with its syntax tree."""
    for tree in trees:
        for path in sorted(tree.rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def statements(tree: ast.AST) -> int:
    """Statements, docstrings not counted."""
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.stmt))
    return sum(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in nodes)


def module_name(path: Path) -> str:
    """The dotted name that imports use for a file."""
    base = RUNTIME if path.is_relative_to(RUNTIME) else ROOT
    return ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")


def repeated_classes() -> list[str]:
    """Class names that are defined in more than one place."""
    names = Counter(node.name for _, tree in sources() for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    return sorted(name for name, count in names.items() if count > 1)


def longest_import_chain() -> list[str]:
    """The longest path through the project's own imports at module level; a cycle counts once."""
    files = {module_name(path): tree for path, tree in sources()}
    imports: dict[str, set[str]] = defaultdict(set)
    for name, tree in files.items():
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module:
                found = {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
                imports[name] |= {one for one in found if one in files and one != name}
    open_modules: set[str] = set()

    @cache
    def chain(name: str) -> tuple[str, ...]:
        open_modules.add(name)
        below = [chain(other) for other in sorted(imports[name]) if other not in open_modules]
        open_modules.discard(name)
        return (name, *(sorted(below, key=len)[-1] if below else ()))

    sys.setrecursionlimit(10_000)
    chains: list[tuple[str, ...]] = [chain(name) for name in files]
    return list(sorted(chains, key=len)[-1])


def path_of(call: Callable[[], Any]) -> tuple[int, int]:
    """(modules, changes of module) of one call, in the runtime and the handlers."""
    kept: dict[str, str | None] = {}
    visited: list[str] = []

    def profile(frame: FrameType, event: str, _argument: Any) -> None:
        if event != "call":
            return
        file = frame.f_code.co_filename
        if file not in kept:
            path = Path(file)
            inside = path.is_absolute() and any(path.is_relative_to(tree) for tree in TREES[:2])
            kept[file] = module_name(path) if inside else None
        name = kept[file]
        if name is not None and (not visited or visited[-1] != name):
            visited.append(name)

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return len(set(visited)), max(len(visited) - 1, 0)


def traced_calls(directory: Path) -> dict[str, tuple[int, int]]:
    """Paths of a recommendation, an ad decision and a dropped file, each on a warm function with AWS in this process."""
    os.environ |= {
        "MODELS_BUCKET": "models", "DATA_BUCKET": "data", "STATE_TABLE": "state", "POWERTOOLS_METRICS_NAMESPACE": "structure",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "structure", "AWS_SECRET_ACCESS_KEY": "structure",
        "MODEL_CACHE_DIR": str(directory / "cache" / "models"),
    }  # fmt: skip
    import boto3
    from moto import mock_aws

    from tests.ads_bundle import ads_bundle
    from tests.api_shop import Shop
    from tests.bundles import THRESHOLDS, profiles_bundle
    from tests.recommendations_bundle import recommendations_bundle

    found: dict[str, tuple[int, int]] = {}
    with mock_aws():
        s3, dynamodb = boto3.client("s3"), boto3.client("dynamodb")
        for bucket in ("models", "data"):
            s3.create_bucket(Bucket=bucket)
        dynamodb.create_table(
            TableName="state",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
        )
        shop = Shop(s3, dynamodb, directory / "models")
        profiles_bundle(directory / "profiles", content={"behaviour": THRESHOLDS})
        ads_bundle(directory / "ads", background=True)
        recommendations_bundle(directory / "recommendations")
        for name in ("profiles", "ads", "recommendations"):
            shop.publish(directory / name)
        shop.invoke("events", json.loads((ROOT / "events" / "rest_post_events.json").read_text()))
        for job, file in (("recommendations", "rest_post_recommendations.json"), ("ads", "rest_post_ads_score.json")):
            event = json.loads((ROOT / "events" / file).read_text())
            shop.invoke(job, event)
            handler = shop.handler(job)
            found[f"{event['httpMethod']} {event['resource']}"] = path_of(partial(handler, event, None))
        found["a dropped file"] = path_of(_dropped_file(s3))
    return found


def _dropped_file(s3: Any) -> Callable[[], Any]:
    from types import SimpleNamespace

    from functions.profiles.batch import lambda_handler

    rows = [f"u{n % 3},i{n},purchase,2026-01-0{n}T10:00:00Z" for n in range(1, 8)]
    context = SimpleNamespace(
        function_name="batch", memory_limit_in_mb=1, invoked_function_arn="arn:aws:lambda:eu:1:function:f", aws_request_id="r"
    )
    events = []
    for file in ("warm.csv", "day.csv"):
        s3.put_object(
            Bucket="data", Key=f"inbox/profiles/{file}", Body="\n".join(["user_id,item_id,event_type,timestamp", *rows, file])
        )
        detail = {"bucket": {"name": "data"}, "object": {"key": f"inbox/profiles/{file}", "size": 1}}
        events.append(
            {"Records": [{"messageId": file, "body": json.dumps({"detail-type": "Object Created", "detail": detail})}]}
        )
    lambda_handler(events[0], context)
    return lambda: lambda_handler(events[1], context)


def main() -> None:
    """Print the table and write results/structure.json."""
    rows: list[dict[str, Any]] = []
    for tree in TREES:
        found = list(sources((tree,)))
        lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path, _ in found)
        rows.append(
            {"what": tree.name, "files": len(found), "lines": lines, "statements": sum(statements(t) for _, t in found)}
        )
    rows.append({"what": "together", **{key: sum(row[key] for row in rows) for key in ("files", "lines", "statements")}})
    with TemporaryDirectory() as directory:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):  # the functions print their metrics
            calls = traced_calls(Path(directory))
        for call, (modules, changes) in calls.items():
            rows.append({"what": call, "modules": modules, "changes of module": changes})
    chain = longest_import_chain()
    repeated = repeated_classes()
    notes = [
        f"longest chain of imports: {len(chain)} modules, {' → '.join(chain)}",
        f"class names used more than once: {len(repeated)} {', '.join(repeated)}",
    ]
    publish("structure", "structure", rows, notes)


if __name__ == "__main__":
    main()
