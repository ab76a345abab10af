"""Smoke checks of a stack: a few calls and one dropped file, by the same interfaces that a shop uses."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from personalization.api.problems import PROBLEM_JSON
from personalization.batch.jobs import FAILED, MANIFEST, RESULTS, SUCCESS
from personalization.core.schema import TABLE_SUFFIX

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SAMPLES: Final = Path(__file__).resolve().parents[1] / "events"
_INTERACTIONS: Final = "user_id,item_id,event_type,timestamp\n" + "".join(
    f"smoke-{n},item-{n},purchase,2026-01-0{n}T12:00:00Z\n" for n in (1, 2, 3)
)
_CANDIDATES: Final = "user_id,ad_id,timestamp\n" + "".join(f"smoke-{n},ad-{n},2026-01-0{n}T12:00:00Z\n" for n in (1, 2, 3))


class CheckFailed(AssertionError):
    """A check failed; the message says what was expected and what was received."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """Status, media type and JSON body."""

    status: int
    media_type: str
    body: Any


@dataclass(frozen=True, slots=True)
class SmokeTarget:
    """A deployed or local stack. `models`: its promoted models, {name: columns of the flat table, else ()}."""

    url: str
    api_key: str
    s3: S3Client
    data_bucket: str
    models: Mapping[str, tuple[str, ...]]
    wait_seconds: float = 300.0

    def call(self, method: str, path: str, body: str | None = None, *, key: bool = True) -> HttpResponse:
        headers = {"Content-Type": "application/json"} | ({"x-api-key": self.api_key} if key else {})
        request = urllib.request.Request(self.url + path, body.encode() if body else None, headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=40) as response:  # noqa: S310 – the URL is the stack's own
                return HttpResponse(response.status, response.headers.get_content_type(), json.loads(response.read()))
        except urllib.error.HTTPError as error:
            with error:
                return HttpResponse(error.code, error.headers.get_content_type(), json.loads(error.read()))


def checks(target: SmokeTarget) -> Iterator[tuple[str, Callable[[], object]]]:
    """The checks in order: a description, and a call that raises `CheckFailed`."""
    yield "health needs no key", lambda: _expect(target.call("GET", "/v1/health", key=False), 200)
    yield "a call without a key is refused", lambda: _expect(target.call("GET", "/v1/models", key=False), 403)
    yield "an unknown path is problem+json", lambda: _expect(target.call("GET", "/v1/nothing-here"), 404)
    yield "models are listed", lambda: _expect(target.call("GET", "/v1/models"), 200)
    for name in target.models:
        yield f"{name} answers a request", partial(_check_request, target, name)
        yield f"{name} scores a dropped file", partial(_check_drop, target, name)


def _check_request(target: SmokeTarget, name: str) -> None:
    sample = json.loads((SAMPLES / f"rest_post_{_sample(name)}.json").read_text(encoding="utf-8"))
    response = _expect(target.call("POST", sample["path"], sample["body"]), 200)
    if response.body["model"] is None or response.body["model"]["name"] != name:
        raise CheckFailed(f"expected a response of model {name}, received one of {response.body['model']}")


def _sample(name: str) -> str:
    job = name.removesuffix(TABLE_SUFFIX)
    return f"{job}_table" if name != job else {"ads": "ads_score"}.get(job, job)


def _check_drop(target: SmokeTarget, name: str) -> None:
    file = f"smoke-{time.time_ns()}.csv"
    raw = _CANDIDATES if name == "ads" else _INTERACTIONS
    content = _flat(columns) if (columns := target.models[name]) else raw
    target.s3.put_object(Bucket=target.data_bucket, Key=f"inbox/{name}/{file}", Body=content.encode())
    prefix = f"{RESULTS}/{name}/{file}/"
    deadline = time.monotonic() + target.wait_seconds
    while True:
        listed = target.s3.list_objects_v2(Bucket=target.data_bucket, Prefix=prefix).get("Contents", [])
        keys = {content["Key"].rsplit("/", 1)[1]: content["Key"] for content in listed}
        if SUCCESS in keys or FAILED in keys:
            break
        if time.monotonic() > deadline:
            raise CheckFailed(f"expected results below {prefix} within {target.wait_seconds:.0f} s, found {sorted(keys)}")
        time.sleep(1)
    manifest = json.loads(target.s3.get_object(Bucket=target.data_bucket, Key=keys[MANIFEST])["Body"].read())
    if FAILED in keys or (manifest["rows_in"], manifest["rejected"]) != (3, 0):
        raise CheckFailed(f"expected 3 rows, none rejected; the manifest says {json.dumps(manifest)[:600]}")


def _flat(columns: tuple[str, ...]) -> str:
    """Three rows without features: missing cells are valid."""
    return "\n".join([",".join(("user_id", *columns)), *(f"smoke-{n}{',' * len(columns)}" for n in (1, 2, 3))])


def _expect(response: HttpResponse, status: int) -> HttpResponse:
    if response.status != status:
        raise CheckFailed(f"expected status {status}, received {response.status}: {json.dumps(response.body)[:600]}")
    if status >= 400 and response.media_type != PROBLEM_JSON:
        raise CheckFailed(f"expected {PROBLEM_JSON}, received {response.media_type}")
    return response
