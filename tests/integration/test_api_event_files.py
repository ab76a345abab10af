"""Each REST event file through its function, and the responses against openapi.yaml."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from openapi_schema_validator import OAS31Validator

from personalization.batch.jobs import Job
from personalization.batch.runner import Runner
from personalization.bundles.bundle import load_bundle
from tests.ads_bundle import ads_bundle
from tests.api_shop import Shop, job_of_path
from tests.bundles import THRESHOLDS, flat_bundle, profiles_bundle
from tests.recommendations_bundle import recommendations_bundle

ROOT = Path(__file__).parents[2]
SPEC = yaml.safe_load((ROOT / "openapi.yaml").read_text())
DATA = os.environ["DATA_BUCKET"]
FILES = sorted((ROOT / "events").glob("rest_*.json"))


def check(event: dict[str, Any], status: int, body: dict[str, Any]) -> None:
    """`openapi.yaml` announces the response, and its schema holds."""
    operation = SPEC["paths"][event["resource"]][event["httpMethod"].lower()]
    announced = operation["responses"][str(status)]
    if "$ref" in announced:
        announced = SPEC["components"]["responses"][announced["$ref"].rpartition("/")[2]]
    ((_, content),) = announced["content"].items()
    schema = content["schema"] | {"components": SPEC["components"]}
    errors = [f"{list(error.path)}: {error.message}" for error in OAS31Validator(schema).iter_errors(body)]
    assert not errors


def put_segments(shop: Shop, directory: Path) -> None:
    """A file of interactions, dropped and worked on."""
    shop.s3.put_object(
        Bucket=DATA,
        Key="inbox/profiles/day.csv",
        Body=b"user_id,item_id,event_type,timestamp\nu1,i1,buy,2026-01-05T10:00:00Z\n",
    )
    bundle = load_bundle(directory)
    assert Runner(shop.s3, DATA, lambda _: bundle, max_reject_share=0).run(Job("profiles", "day.csv")).status == "done"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_with_models(shop: Shop, tmp_path: Path, path: Path) -> None:
    profiles_bundle(tmp_path / "profiles", content={"behaviour": THRESHOLDS})
    ads_bundle(tmp_path / "ads", background=True)
    recommendations_bundle(tmp_path / "recommendations")
    names = ["profiles", "ads", "recommendations"]
    for name in ("profiles-table", "recommendations-table", "ads-table"):
        flat_bundle(tmp_path / name, name)
        names.append(name)
    for name in names:
        shop.publish(tmp_path / name)
    shop.invoke("events", json.loads((ROOT / "events" / "rest_post_events.json").read_text()))
    put_segments(shop, tmp_path / "profiles")
    event = json.loads(path.read_text())
    reply = shop.invoke(job_of_path(event["resource"]), event)
    assert reply.status == 200, reply.body
    assert reply.body["degraded"] is False
    check(event, reply.status, reply.body)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_without_models_and_state(shop: Shop, path: Path) -> None:
    shop.dynamodb.delete_table(TableName="test-state")
    event = json.loads(path.read_text())
    reply = shop.invoke(job_of_path(event["resource"]), event)
    missing = event["resource"] == "/v1/segments"  # no batch has made any
    assert reply.status in ((404,) if missing else (200, 503)), reply.body
    if reply.status == 200 and event["resource"] not in ("/v1/models", "/v1/health", "/v1/items"):
        assert reply.body["degraded"] is True
    check(event, reply.status, reply.body)
