"""Files through the inbox: bucket, event rule, queue and handler are the template's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.inbox import DropFailed, Inbox
from local.queues import failed_ids
from local.stack import Stack
from tests.integration.local_shop import TEMPLATE


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(TEMPLATE, home=tmp_path_factory.mktemp("home")) as running:
        pointer = json.dumps({"version": "m1"}).encode()
        bucket = running.variable("MODELS_BUCKET")
        running.aws.client("s3").put_object(Bucket=bucket, Key="models/things/current.json", Body=pointer)
        yield running


@pytest.fixture
def inbox(stack: Stack) -> Inbox:
    return Inbox(stack.description())


def _file(directory: Path, content: str) -> Path:
    path = directory / "a file & more.csv"
    path.write_text(content)
    return path


def test_a_dropped_file_comes_back_worked_on(inbox: Inbox, tmp_path: Path) -> None:
    job = inbox.drop("things", _file(tmp_path, "abc\ndef\n"))
    inbox.wait(job, timeout=60)
    out = tmp_path / "out"
    manifest = inbox.fetch(job, out)
    # sha256 of "abc\ndef\n", from coreutils' sha256sum
    assert job.results == "results/things/a file & more.csv/924d391c158a4640-m1/"
    assert manifest["rows_in"] == 2
    assert manifest["source"] == "arn:aws:sqs:us-east-1:123456789012:local-Queue"
    assert (out / "part-00000.jsonl").read_text() == "cba\nfed"
    assert {path.name for path in out.iterdir()} == {"part-00000.jsonl", "manifest.json", "_SUCCESS"}


def test_the_same_file_twice_gives_the_same_bytes(inbox: Inbox, tmp_path: Path) -> None:
    contents = []
    for name in ("first", "second"):
        job = inbox.drop("things", _file(tmp_path, "once more\n"))
        inbox.wait(job, timeout=60)
        inbox.fetch(job, tmp_path / name)
        contents.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert contents[0] == contents[1]


def test_a_mapping_goes_with_the_file_and_not_with_the_next_one(inbox: Inbox, tmp_path: Path) -> None:
    out = tmp_path / "out"
    mapping = b'{"user_id": "CustomerID"}'
    with_mapping = inbox.drop("things", _file(tmp_path, "x\n"), mapping=mapping, table="users")
    inbox.wait(with_mapping, timeout=60)
    assert inbox.fetch(with_mapping, out)["mapping"] == mapping.decode()
    assert with_mapping.job.file == "users/a file & more.csv"
    without = inbox.drop("things", _file(tmp_path, "x\n"), table="users")
    inbox.wait(without, timeout=60)
    assert inbox.fetch(without, out)["mapping"] == ""
    assert without.results != with_mapping.results


@pytest.mark.parametrize("word", ["poison", "raise"])
def test_a_file_that_no_try_can_work_on_ends_with_the_dead_letters(
    inbox: Inbox, stack: Stack, tmp_path: Path, word: str
) -> None:
    job = inbox.drop("things", _file(tmp_path, f"{word}\n"))
    with pytest.raises(DropFailed, match=r"FilesFunction was interrupted on every try.*logs/FilesFunction\.log"):
        inbox.wait(job, timeout=60)
    queue = stack.description()["queues"]["Queue"]["url"]
    wanted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    left = stack.aws.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=wanted)["Attributes"]
    assert set(left.values()) == {"0"}


def test_a_failed_job_is_told_from_a_good_one_and_may_be_tried_again(inbox: Inbox, tmp_path: Path) -> None:
    for _ in range(2):
        job = inbox.drop("things", _file(tmp_path, "refuse\n"))
        with pytest.raises(DropFailed, match="the job failed"):
            inbox.wait(job, timeout=60)


def test_a_drop_for_a_model_that_is_not_there_is_refused_at_once(inbox: Inbox, tmp_path: Path) -> None:
    with pytest.raises(DropFailed, match="no model 'nothing' is promoted"):
        inbox.drop("nothing", _file(tmp_path, "x"))


def test_waiting_ends(inbox: Inbox, tmp_path: Path) -> None:
    job = inbox.drop("things", _file(tmp_path, "never asked for\n"))
    with pytest.raises(DropFailed, match="no result within 0 seconds"):
        inbox.wait(job, timeout=0)


def test_what_the_template_asks_of_its_stores_is_set(stack: Stack) -> None:
    s3, dynamodb = stack.aws.client("s3"), stack.aws.client("dynamodb")
    assert s3.get_bucket_versioning(Bucket="local-models")["Status"] == "Enabled"
    assert "Status" not in s3.get_bucket_versioning(Bucket="local-data-123456789012")
    ttl = dynamodb.describe_time_to_live(TableName="local-Table")["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
    attributes = stack.aws.client("sqs").get_queue_attributes(
        QueueUrl=stack.description()["queues"]["Queue"]["url"], AttributeNames=["All"]
    )["Attributes"]
    assert attributes["VisibilityTimeout"] == "120"
    assert json.loads(attributes["RedrivePolicy"])["maxReceiveCount"] == 2


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        (None, set()),
        ({}, set()),
        ({"batchItemFailures": None}, set()),
        ({"batchItemFailures": []}, set()),
        ({"batchItemFailures": [{"itemIdentifier": "b"}]}, {"b"}),
        ({"batchItemFailures": [{"itemIdentifier": "z"}]}, {"a", "b"}),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, {"a", "b"}),
        ({"batchItemFailures": [{"identifier": "a"}]}, {"a", "b"}),
        ({"batchItemFailures": "a"}, {"a", "b"}),
        ("done", {"a", "b"}),
    ],
)
def test_which_messages_count_as_failed(answer: object, failed: set[str]) -> None:
    assert failed_ids(answer, {"a", "b"}) == failed
