"""Files in an inbox to results, through the functions' own handlers and an S3, a DynamoDB and messages as AWS sends them."""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from aws_lambda_powertools import Logger, Metrics
from botocore.exceptions import ClientError

from personalization.batch.app import batch_handler
from personalization.batch.handler import BatchHandler
from personalization.batch.jobs import Job
from personalization.batch.runner import Runner
from personalization.batch.task import JobDependencies
from personalization.bundles import promote, publish
from personalization.bundles.bundle import Bundle, load_bundle
from personalization.core.errors import StateUnavailable
from personalization.state import StateStore
from tests.bundles import expected_probability, flat_bundle, profiles_bundle
from tests.cloud import ROOT

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

MODELS, DATA = os.environ["MODELS_BUCKET"], os.environ["DATA_BUCKET"]
FLAT = b"user_id,click_count,view_duration,channel\nu1,4,10,web\nu2,,30,app\nu3,0,,kiosk\nu4,1,1,web\nu5,many,1,web\n"
SHOP = (
    "user_id,item_id,event_type,timestamp,event_value\n"
    "u1,i1,purchase,2026-01-05T10:00:00Z,12.5\n"
    "u2,i2,view,2026-01-06T10:00:00Z,\n"
    "u1,i3,purchase,2026-01-07T10:00:00Z,7.5\n"
    "u1,i1,refund,2026-01-08T10:00:00Z,12.5\n"
)
CONTEXT = SimpleNamespace(
    function_name="batch", memory_limit_in_mb=1769, invoked_function_arn="arn:aws:lambda:eu:1:function:f", aws_request_id="r1"
)
Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


def message(*keys: str, bucket: str = DATA, message_id: str = "m1") -> dict[str, Any]:
    """A message that carries EventBridge's events, one a message."""
    records = []
    for number, key in enumerate(keys):
        detail = {"bucket": {"name": bucket}, "object": {"key": key, "size": 1}}
        records.append(
            {"messageId": f"{message_id}-{number}", "body": json.dumps({"detail-type": "Object Created", "detail": detail})}
        )
    return {"Records": records}


def put(s3: S3Client, key: str, content: bytes | str) -> str:
    s3.put_object(Bucket=DATA, Key=key, Body=content.encode() if isinstance(content, str) else content)
    return key


def results(s3: S3Client, prefix: str = "results/") -> dict[str, bytes]:
    """{key: content} of all that was written."""
    listed = s3.list_objects_v2(Bucket=DATA, Prefix=prefix).get("Contents", [])
    return {found["Key"]: s3.get_object(Bucket=DATA, Key=found["Key"])["Body"].read() for found in listed}


def files(s3: S3Client, prefix: str = "results/") -> dict[str, bytes]:
    """{file name: content} of one job's results."""
    found = results(s3, prefix)
    assert len({key.rpartition("/")[0] for key in found}) <= 1
    return {key.rpartition("/")[2]: content for key, content in found.items()}


def told(record: logging.LogRecord) -> dict[str, Any]:
    """All that a log line says: its words and what was given beside them."""
    return vars(record) | {"message": record.getMessage()}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """{model name: directory}."""
    directory = tmp_path_factory.mktemp("bundles")
    tables = ("profiles-table", "recommendations-table", "ads-table")
    for name in tables:
        flat_bundle(directory / name, name)
    profiles_bundle(directory / "profiles")
    return {name: directory / name for name in (*tables, "profiles")}


@pytest.fixture
def versions(s3: S3Client, bundles: dict[str, Path]) -> dict[str, str]:
    """{model name: version} of what is published and promoted."""
    found = {}
    for name, directory in bundles.items():
        found[name] = publish(s3, MODELS, directory)
        promote(s3, MODELS, name, found[name])
    return found


@pytest.fixture
def profiles(
    s3: S3Client, dynamodb: DynamoDBClient, versions: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Handler:
    monkeypatch.setenv("MODEL_CACHE_DIR", str(tmp_path / "cache" / "models"))
    return batch_handler("profiles")


def test_a_flat_table_is_scored_in_order_with_its_account(s3: S3Client, profiles: Handler, versions: dict[str, str]):
    key = put(s3, "inbox/profiles-table/2026/user data.csv", FLAT)
    assert profiles(message(key), CONTEXT) == {"batchItemFailures": []}
    version = f"{hashlib.sha256(FLAT).hexdigest()[:16]}-{versions['profiles-table']}"
    prefix = f"results/profiles-table/2026/user data.csv/{version}/"
    found = files(s3, prefix)
    assert set(found) == {"part-00000.jsonl", "rejects.jsonl", "manifest.json", "_SUCCESS"}
    assert set(results(s3)) == {prefix + name for name in found}
    lines = [json.loads(line) for line in found["part-00000.jsonl"].splitlines()]
    assert [line["row"] for line in lines] == [0, 1, 2, 3]
    rows = [(4, 10, "web"), (None, 30, "app"), (0, None, "kiosk"), (1, 1, "web")]
    assert [line["probability"] for line in lines] == pytest.approx([expected_probability(*row) for row in rows], abs=1e-6)
    assert json.loads(found["rejects.jsonl"]) == {
        "line": 6,
        "pointer": "/click_count",
        "reason": "expected a number, received 'many'",
        "raw": "u5,many,1,web",
    }
    assert json.loads(found["manifest.json"]) == {
        "status": "done",
        "name": "profiles-table",
        "file": "2026/user data.csv",
        "kind": "table",
        "input_version": version,
        "content_sha256": hashlib.sha256(FLAT).hexdigest(),
        "model": {"name": "profiles-table", "version": versions["profiles-table"]},
        "as_of": None,
        "rows_in": 5,
        "rows_used": 4,
        "scored": 4,
        "rejected": 1,
        "duplicates": 0,
        "suspected_duplicates": 0,
        "returns": 0,
        "reasons": {"/click_count: expected a number": 1},
        "parts": [{"name": "part-00000.jsonl", "lines": 4, "sha256": hashlib.sha256(found["part-00000.jsonl"]).hexdigest()}],
    }


def test_interactions_become_profiles_and_state(s3: S3Client, dynamodb: DynamoDBClient, profiles: Handler):
    key = put(s3, "inbox/profiles/orders.csv", SHOP + ",i1,view,2026-01-08,\n")
    assert profiles(message(key), CONTEXT) == {"batchItemFailures": []}
    found = files(s3)
    spend = {p["user_id"]: p["expected_spend"] for p in map(json.loads, found["part-00000.jsonl"].splitlines())}
    assert spend == {"u1": 7.5, "u2": 0.0}
    manifest = json.loads(found["manifest.json"])
    counted = {name: manifest[name] for name in ("rows_in", "rows_used", "rejected", "users", "returns", "as_of", "kind")}
    assert counted == {
        "rows_in": 5, "rows_used": 4, "rejected": 1, "users": 2, "returns": 1, "as_of": "2026-01-08T10:00:00.000Z",
        "kind": "interactions",
    }  # fmt: skip
    state = StateStore(dynamodb, os.environ["STATE_TABLE"]).read("u1")
    assert state.exists
    assert sorted(state.events.event_value.tolist()) == [-12.5, 7.5, 12.5]


@pytest.mark.parametrize("job", ["profiles", "recommendations", "ads"])
def test_each_functions_own_module_answers_for_its_tables(
    job: str, s3: S3Client, dynamodb: DynamoDBClient, versions: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MODEL_CACHE_DIR", str(tmp_path / "cache" / "models"))
    module = importlib.reload(importlib.import_module(f"functions.{job}.batch"))
    own = put(s3, f"inbox/{job}-table/rows.csv", FLAT)
    other = put(s3, f"inbox/{'ads' if job == 'profiles' else 'profiles'}-table/rows.csv", FLAT)
    assert module.lambda_handler(message(own, other), CONTEXT) == {"batchItemFailures": []}
    assert {key.split("/")[1] for key in results(s3)} == {f"{job}-table"}


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "events").glob("sqs_*.json")))
def test_each_sample_event_is_worked_on(
    name: str, s3: S3Client, dynamodb: DynamoDBClient, versions: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    event = json.loads((ROOT / "events" / name).read_text(encoding="utf-8").replace("local-databucket", DATA))
    queue = event["Records"][0]["eventSourceARN"].rsplit("-", 1)[1]
    keys = {
        "sqs_profiles_eventbridge.json": "profiles/orders 2026-11.csv",
        "sqs_profiles_s3_notification.json": "profiles/订单 2026-11.csv",
        "sqs_recommendations_eventbridge.json": "recommendations-table/recommendation_data.csv",
        "sqs_ads_eventbridge.json": "ads-table/advertising_data.csv",
        "sqs_s3_test_event.json": None,
    }
    key = keys[name]
    if key:
        put(s3, f"inbox/{key}", FLAT if "-table/" in key else SHOP)
    monkeypatch.setenv("MODEL_CACHE_DIR", str(tmp_path / "cache" / "models"))
    handler = batch_handler(queue.removesuffix("Queue").lower())
    assert handler(event, CONTEXT) == {"batchItemFailures": []}
    assert len([done for done in results(s3) if done.endswith("/_SUCCESS")]) == (1 if key else 0)
    assert all(done.startswith(f"results/{key}/") for done in results(s3))


def test_the_same_file_twice_gives_the_same_bytes_once(s3: S3Client, profiles: Handler):
    key = put(s3, "inbox/profiles/orders.csv", SHOP)
    profiles(message(key), CONTEXT)
    first = results(s3)
    times = {o["Key"]: o["LastModified"] for o in s3.list_objects_v2(Bucket=DATA, Prefix="results/")["Contents"]}
    put(s3, key, SHOP)
    assert profiles(message(key, key), CONTEXT) == {"batchItemFailures": []}
    assert results(s3) == first
    assert times == {o["Key"]: o["LastModified"] for o in s3.list_objects_v2(Bucket=DATA, Prefix="results/")["Contents"]}
    # where the last step did not happen, all is done again, to the same bytes
    for done in first:
        if not done.endswith("manifest.json"):
            s3.delete_object(Bucket=DATA, Key=done)
    profiles(message(key), CONTEXT)
    assert results(s3) == first


def test_mappings_lie_beside_the_file_or_in_its_folder_and_are_part_of_the_input(s3: S3Client, profiles: Handler):
    theirs = "Kunde,Artikel,Zeit,Betrag\nu1,i1,2026-01-05,5\n"
    folder = json.dumps({"user_id": "Kunde", "item_id": "Artikel", "timestamp": "Zeit", "event_type": "=view"})
    own = json.dumps(
        {"user_id": "Kunde", "item_id": "Artikel", "timestamp": "Zeit", "event_type": "=purchase", "event_value": "Betrag"}
    )
    put(s3, "inbox/profiles/de/_map.json", folder)
    put(s3, "inbox/profiles/de/b.csv.map.json", own)
    keys = [put(s3, f"inbox/profiles/de/{name}.csv", theirs) for name in "ab"]
    assert profiles(message(*keys, "inbox/profiles/de/_map.json", "inbox/profiles/de/b.csv.map.json"), CONTEXT) == {
        "batchItemFailures": []
    }
    spend = {}
    for key, content in results(s3).items():
        if key.endswith("part-00000.jsonl"):
            spend[key.split("/")[3]] = json.loads(content)["expected_spend"]
            mapping = folder if "/a.csv/" in key else own
            assert key.split("/")[4].startswith(hashlib.sha256((theirs + mapping).encode()).hexdigest()[:16] + "-")
    assert spend == {"a.csv": 0.0, "b.csv": 5.0}


@pytest.mark.parametrize(
    ("key", "content", "reason"),
    [
        ("profiles/empty.csv", b"", "expected a table, received an empty file"),
        ("profiles/flat.csv", FLAT, "missing: item_id, event_type, timestamp"),
        (
            "profiles/items/x.csv",
            SHOP.encode(),
            "expected a table of interactions, which the model profiles takes, received items",
        ),
        ("profiles-table/x.csv", FLAT + b"u6,x,1,web\n", "2 of 6 rows were rejected, more than the allowed share of 0.2"),
        ("profiles/bad.gz", b"\x1f\x8b\x08\x00", "the gzip stream is damaged or cut off after line 0"),
    ],
)
def test_a_file_that_cannot_be_scored_fails_loudly_and_only_once(
    key: str,
    content: bytes,
    reason: str,
    s3: S3Client,
    profiles: Handler,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
):
    put(s3, f"inbox/{key}", content)
    assert profiles(message(f"inbox/{key}"), CONTEXT) == {"batchItemFailures": []}
    found = files(s3)
    assert set(found) == {"rejects.jsonl", "manifest.json", "_FAILED"}
    manifest = json.loads(found["manifest.json"])
    assert (manifest["status"], manifest["scored"], manifest["parts"]) == ("failed", 0, [])
    assert reason in manifest["reason"]
    assert manifest["rejected"] == len(found["rejects.jsonl"].splitlines())
    assert [told(record)["cause"] for record in caplog.records if record.levelname == "ERROR"] == [manifest["reason"]]
    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert [(line["service"], line["FailedJobs"]) for line in metrics] == [("test", [0.0, 1.0])]


def test_a_job_that_failed_can_succeed_under_another_limit(
    s3: S3Client, profiles: Handler, dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
):
    key = put(s3, "inbox/profiles-table/x.csv", FLAT + b"u6,x,1,web\n")
    profiles(message(key), CONTEXT)
    monkeypatch.setenv("MAX_REJECT_SHARE", "0.5")
    batch_handler("profiles")(message(key), CONTEXT)
    found = files(s3)
    assert set(found) == {"part-00000.jsonl", "rejects.jsonl", "manifest.json", "_SUCCESS"}
    assert json.loads(found["manifest.json"])["status"] == "done"


def test_objects_that_are_no_jobs_are_left_alone(s3: S3Client, profiles: Handler):
    keys = ["results/profiles/a.csv/v/part-00000.jsonl", "inbox/unknown/a.csv", "inbox/ads-table/a.csv", "inbox/profiles/2026/"]
    for key in keys:
        put(s3, key, SHOP)
    before = results(s3)
    gone = "inbox/profiles/deleted-in-between.csv"
    assert profiles(message(*keys, gone), CONTEXT) == {"batchItemFailures": []}
    assert profiles(message(put(s3, "inbox/profiles/a.csv", SHOP), bucket="another"), CONTEXT) == {"batchItemFailures": []}
    assert results(s3) == before


def test_without_a_model_the_message_comes_again(
    s3: S3Client, dynamodb: DynamoDBClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MODEL_CACHE_DIR", str(tmp_path / "cache" / "models"))
    handler = batch_handler("profiles")
    key = put(s3, "inbox/profiles/a.csv", SHOP)
    assert handler(message(key, message_id="m7"), CONTEXT) == {"batchItemFailures": [{"itemIdentifier": "m7-0"}]}
    assert results(s3) == {}


def test_a_message_of_another_shape_comes_again_and_the_others_are_done(s3: S3Client, profiles: Handler):
    event = message(put(s3, "inbox/profiles/a.csv", SHOP))
    event["Records"].insert(0, {"messageId": "m0", "body": "{"})
    assert profiles(event, CONTEXT) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert any(key.endswith("_SUCCESS") for key in results(s3))


class Broken:
    """An S3 client whose calls of one operation fail, from the n-th on."""

    def __init__(self, s3: S3Client, operation: str, after: int = 0) -> None:
        self._s3, self._operation, self._left = s3, operation, after

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._s3, name)
        if name != self._operation:
            return call

        def counted(**arguments: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise ClientError({"Error": {"Code": "SlowDown", "Message": "Please reduce your request rate."}}, name)
            return call(**arguments)

        return counted


@pytest.fixture
def bundle(bundles: dict[str, Path]) -> Bundle:
    return load_bundle(bundles["profiles"])


@pytest.mark.parametrize("after", range(4))
def test_an_upload_that_breaks_off_is_no_success_and_the_next_try_completes_it(
    after: int, s3: S3Client, bundle: Bundle, tmp_path: Path
):
    job = Job("profiles", "a.csv")
    put(s3, job.key, SHOP)
    broken = Runner(Broken(s3, "put_object", after), DATA, lambda name: bundle, max_reject_share=0.2, temp_dir=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ClientError, match="SlowDown"):
        broken.run(job)
    assert not any(key.endswith("_SUCCESS") for key in results(s3))
    assert not list(tmp_path.glob("batch-*"))  # nothing stays on the disk
    assert Runner(s3, DATA, lambda name: bundle, max_reject_share=0.2, temp_dir=tmp_path).run(job).status == "done"
    assert set(files(s3)) == {"part-00000.jsonl", "rejects.jsonl", "manifest.json", "_SUCCESS"}


def test_state_that_cannot_be_written_fails_the_job_until_it_can(
    s3: S3Client, bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    key = put(s3, "inbox/profiles/a.csv", SHOP)
    answers: Iterator[Exception | None] = iter([StateUnavailable("the table throttles"), KeyError("user-4711"), None])

    def remember(_bundle: Bundle, _share: Any) -> None:
        if error := next(answers):
            raise error

    runner = Runner(
        s3,
        DATA,
        lambda name: bundle,
        max_reject_share=0.2,
        dependencies=JobDependencies(write_windows=remember),
        temp_dir=tmp_path,
    )
    metrics = Metrics(service="profiles")
    handler = metrics.log_metrics(BatchHandler("profiles", DATA, runner.run, Logger(service="profiles"), metrics))
    for _ in range(2):
        assert handler(message(key), CONTEXT) == {"batchItemFailures": [{"itemIdentifier": "m1-0"}]}
        assert results(s3) == {}
    throttled, unexpected = (told(record) for record in caplog.records)
    assert (throttled["error"], throttled["cause"]) == ("StateUnavailable", "the table throttles")
    assert unexpected["error"] == "KeyError"
    assert "4711" not in str(unexpected)  # what others' errors quote may be data
    assert handler(message(key), CONTEXT) == {"batchItemFailures": []}
    assert any(name.endswith("_SUCCESS") for name in results(s3))


def test_logs_and_metrics_name_no_user(
    s3: S3Client, profiles: Handler, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
):
    caplog.set_level("DEBUG", "personalization")
    rows = "".join(f"shopper-kq7x,i{n},view,2026-01-0{n + 1},\n" for n in range(5)) + "shopper-kq7x,i1,view,when?,\n"
    key = put(s3, "inbox/profiles/a.csv", SHOP.splitlines()[0] + "\n" + rows)
    profiles(message(key), CONTEXT)
    (record,) = [told(record) for record in caplog.records if record.message == "a job ended"]
    assert (record["object_key"], record["rows_in"], record["rejected"]) == (key, 6, 1)
    assert "shopper-kq7x" not in str([told(record) for record in caplog.records])
    assert "shopper-kq7x" not in capsys.readouterr().out
