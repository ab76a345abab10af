"""From a message to a job, and from a job to its keys."""

from __future__ import annotations

import json
import os
from pathlib import Path
from subprocess import Popen

import pytest

from personalization.batch.handler import object_refs
from personalization.batch.jobs import Job, ObjectRef, input_version, job_of_key
from personalization.batch.scratch import scratch_directory
from personalization.core.errors import InvalidInput
from tests.cloud import ROOT


def body(name: str) -> str:
    event = json.loads((ROOT / "events" / f"sqs_{name}.json").read_text(encoding="utf-8"))
    return str(event["Records"][0]["body"])


def test_event_bridge_gives_keys_as_they_are():
    assert object_refs(body("profiles_eventbridge")) == [ObjectRef("local-databucket", "inbox/profiles/orders 2026-11.csv")]
    event = json.loads(body("profiles_eventbridge"))
    event["detail"]["object"]["key"] = "inbox/profiles/50%+25.csv"
    assert object_refs(json.dumps(event))[0].key == "inbox/profiles/50%+25.csv"


def test_a_notification_gives_them_url_encoded():
    assert object_refs(body("profiles_s3_notification")) == [ObjectRef("local-databucket", "inbox/profiles/订单 2026-11.csv")]


def test_other_events_name_no_object():
    assert object_refs(body("s3_test_event")) == []
    deleted = json.loads(body("profiles_eventbridge")) | {"detail-type": "Object Deleted"}
    assert object_refs(json.dumps(deleted)) == []
    removed = json.loads(body("profiles_s3_notification"))
    removed["Records"][0]["eventName"] = "ObjectRemoved:Delete"
    assert object_refs(json.dumps(removed)) == []


@pytest.mark.parametrize(
    "wrong", ["", "x", "[]", "3", "{}", '{"Records": [{}]}', '{"detail-type": "Object Created"}', '{"Records": 1}']
)
def test_a_body_of_neither_shape_is_told(wrong: str):
    with pytest.raises(InvalidInput, match="expected an S3 event"):
        object_refs(wrong)


@pytest.mark.parametrize(
    ("key", "job"),
    [
        ("inbox/profiles/a.csv", Job("profiles", "a.csv")),
        ("inbox/ads-table/2026/11/a b.csv", Job("ads-table", "2026/11/a b.csv")),
        ("inbox/profiles/interactions/a.csv", Job("profiles", "interactions/a.csv", "interactions")),
        ("inbox/profiles/table/a.csv", Job("profiles", "table/a.csv", "table")),
        ("inbox/profiles/interactions", Job("profiles", "interactions")),  # a file of that name
        ("inbox/profiles/a.csv.map.json", None),
        ("inbox/profiles/2026/_map.json", None),
        ("inbox/profiles/2026/", None),
        ("inbox/profiles/", None),
        ("inbox/profiles", None),
        ("inbox/unknown/a.csv", None),
        ("results/profiles/a.csv", None),
        ("inbox//a.csv", None),
    ],
)
def test_which_objects_are_jobs(key: str, job: Job | None):
    assert job_of_key(key) == job
    assert job is None or job.key == key


def test_where_a_jobs_files_lie():
    job = Job("profiles", "interactions/2026/a.csv", "interactions")
    assert job.mapping_keys == (
        "inbox/profiles/interactions/2026/a.csv.map.json",
        "inbox/profiles/interactions/2026/_map.json",
    )
    version = input_version("0123456789abcdef" * 4, "20260131T120000Z-1a2b3c4d")
    assert version == "0123456789abcdef-20260131T120000Z-1a2b3c4d"
    assert job.results(version) == f"results/profiles/interactions/2026/a.csv/{version}/"


def test_a_start_removes_what_dead_processes_left(tmp_path: Path):
    with Popen(["true"]) as dead:
        dead.wait()
    own = scratch_directory(tmp_path)
    lives, is_dead, is_none = (own.with_name(f"personalization-jobs-{end}") for end in (os.getppid(), dead.pid, "x"))
    for directory in (own, lives, is_dead, is_none, tmp_path / "models"):
        directory.mkdir(exist_ok=True)
        (directory / "left").write_text("")
    assert scratch_directory(tmp_path) == own
    assert list(own.iterdir()) == []
    assert set(tmp_path.iterdir()) == {own, lives, is_none, tmp_path / "models"}
