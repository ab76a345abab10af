"""Files dropped into the inbox, worked on by the built functions with their own roles' permissions."""

from __future__ import annotations

import json
import urllib.parse
from typing import Any

import pytest

from local.plan import Plan
from tests.bundles import expected_probability
from tests.cloud import ROOT
from tests.e2e.account import Account
from tests.e2e.conftest import Invoker

pytestmark = pytest.mark.e2e

EVENTS = sorted((ROOT / "events").glob("sqs_*.json"))
FLAT = "user_id,click_count,view_duration,channel\nu1,4,10,web\nu2,,30,app\nu3,many,1,web\nu4,0,,kiosk\n"
INTERACTIONS = (
    "user_id,item_id,event_type,timestamp,event_value\n"
    "u1,i1,purchase,2026-01-05T10:00:00Z,12.5\n"
    "u2,i2,view,2026-01-06T10:00:00Z,\n"
    "u1,i3,purchase,2026-01-07T10:00:00Z,7.5\n"
    "u1,i3,refund,yesterday,7.5\n"
)


def message(path: Any) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return event


def function_of(event: dict[str, Any], plan: Plan) -> str:
    queue = event["Records"][0]["eventSourceARN"].rsplit(":", 1)[1]
    (source,) = [s for s in plan.sources if s.queue_arn.rsplit(":", 1)[1] == queue]
    return source.function


def object_of(event: dict[str, Any]) -> tuple[str, str] | None:
    """Bucket and key that a message speaks of, `None` for S3's test message."""
    body = json.loads(event["Records"][0]["body"])
    if "detail" in body:
        return body["detail"]["bucket"]["name"], body["detail"]["object"]["key"]
    if "Records" in body:
        s3 = body["Records"][0]["s3"]
        return s3["bucket"]["name"], urllib.parse.unquote_plus(s3["object"]["key"])
    return None


def results_of(account: Account, bucket: str, key: str) -> dict[str, bytes]:
    """{file name: content} of a dropped file's results."""
    prefix = f"results/{key.removeprefix('inbox/')}/"
    s3 = account.client("s3")
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    return {o["Key"].rsplit("/", 1)[1]: s3.get_object(Bucket=bucket, Key=o["Key"])["Body"].read() for o in listed}


@pytest.fixture
def unchecked(account: Account) -> Any:
    """Runs something with the shop's own rights, then checks permissions again."""

    def run(call: Any) -> Any:
        account.check_permissions(False)
        try:
            return call()
        finally:
            account.check_permissions(True)

    return run


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_each_sample_drop_is_worked_on(path: Any, account: Account, emulator: Invoker, unchecked: Any):
    event = message(path)
    dropped = object_of(event)
    function = emulator(function_of(event, account.plan))
    if dropped is None:
        assert function.invoke(event) == {"batchItemFailures": []}
        return
    bucket, key = dropped
    flat = "-table/" in key
    content = FLAT if flat else INTERACTIONS
    unchecked(lambda: account.client("s3").put_object(Bucket=bucket, Key=key, Body=content.encode()))

    # more rows are rejected than a job may lose by default: the sample is small
    assert function.invoke(event) == {"batchItemFailures": []}, function.log()[-3000:]
    files = unchecked(lambda: results_of(account, bucket, key))
    manifest = json.loads(files["manifest.json"])
    assert manifest["rows_in"] == 4
    assert manifest["rejected"] == 1
    assert "_FAILED" in files


@pytest.mark.parametrize("job", ["profiles", "recommendations", "ads"])
def test_rows_are_scored_in_order_and_the_same_file_gives_the_same_bytes_once(
    job: str, account: Account, emulator: Invoker, unchecked: Any
):
    bucket = account.plan.resolver.name("DataBucket")
    key = f"inbox/{job}-table/2026/shop data.csv"
    rows = [(4.0, 10.0, "web"), (None, 30.0, "app"), (0.0, None, "kiosk"), (1.5, 2.0, None)] * 3
    lines = [",".join("" if cell is None else str(cell) for cell in row) for row in rows]
    content = "\n".join(["click_count,view_duration,channel", *lines, "x,1,web"])
    unchecked(lambda: account.client("s3").put_object(Bucket=bucket, Key=key, Body=content.encode()))
    event = message(ROOT / "events/sqs_profiles_eventbridge.json")
    body = json.loads(event["Records"][0]["body"])
    body["detail"]["object"]["key"] = key
    event["Records"][0]["body"] = json.dumps(body)

    function = emulator(f"{job.capitalize()}BatchFunction")
    assert function.invoke(event) == {"batchItemFailures": []}, function.log()[-3000:]
    files = unchecked(lambda: results_of(account, bucket, key))
    answers = [json.loads(line) for name in sorted(files) if name.startswith("part-") for line in files[name].splitlines()]
    assert [answer["row"] for answer in answers] == list(range(12))
    for answer, row in zip(answers, rows, strict=True):
        assert answer["probability"] == pytest.approx(expected_probability(*row), abs=1e-5)
    (reject,) = [json.loads(line) for line in files["rejects.jsonl"].splitlines()]
    assert (reject["line"], reject["pointer"]) == (14, "/click_count")
    assert "_SUCCESS" in files

    assert function.invoke(event) == {"batchItemFailures": []}
    assert unchecked(lambda: results_of(account, bucket, key)) == files


def test_a_job_of_profiles_leaves_segments_that_can_be_asked_for(account: Account, emulator: Invoker, unchecked: Any):
    bucket = account.plan.resolver.name("DataBucket")
    key = "inbox/profiles/segments.csv"
    content = "".join(line + "\n" for line in INTERACTIONS.splitlines()[:-1])  # without the bad line
    unchecked(lambda: account.client("s3").put_object(Bucket=bucket, Key=key, Body=content.encode()))
    event = message(ROOT / "events/sqs_profiles_eventbridge.json")
    body = json.loads(event["Records"][0]["body"])
    body["detail"]["object"]["key"] = key
    event["Records"][0]["body"] = json.dumps(body)
    function = emulator("ProfilesBatchFunction")
    assert function.invoke(event) == {"batchItemFailures": []}, function.log()[-3000:]
    files = unchecked(lambda: results_of(account, bucket, key))
    exported = {name for name in files if name.startswith("segment-")}
    assert exported

    answer = emulator("ProfilesApiFunction").invoke(message(ROOT / "events/rest_get_segments.json"))
    assert answer["statusCode"] == 200, answer
    told = json.loads(answer["body"])
    assert sum(segment["size"] for segment in told["segments"]) == told["users"] == 2
    assert sum(len(files[name].splitlines()) for name in exported) == 2
