"""A dropped file of interactions to segments: exports, their summary, and the route that returns it."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from personalization.batch.jobs import Job
from personalization.batch.runner import Runner
from personalization.bundles.bundle import load_bundle
from tests.api_shop import Shop
from tests.bundles import THRESHOLDS, profiles_bundle

DATA = os.environ["DATA_BUCKET"]
HEAD = "user_id,item_id,event_type,timestamp,event_value\n"
# (user, events, kind, value of each, day of 2026 in January numbering of the first) and where the rules put them; the file's
# newest moment is day 300. P(buys within 14) of n events is 2n / (1 + 2n), the churn risk 1 / (1 + 4n).
USERS = {
    "anna": (1, "purchase", 5, 299, "New"),
    "ben": (5, "view", 0, 150, "Ready to buy"),
    "cleo": (1, "view", 0, 150, "Prospects"),
    "dora": (2, "purchase", 25, 150, "High value, cooling"),
    "emil": (1, "purchase", 5, 150, "Lapsed"),
    "fay": (1, "purchase", 5, 260, "About to lapse"),
    "gus": (3, "purchase", 20, 150, "High value, steady"),
    "hana": (3, "purchase", 5, 150, "Steady"),
    "ida": (3, "purchase", 6, 150, "Steady"),
}
FIRST = 1_767_225_600  # 2026-01-01T00:00:00Z


def interactions() -> str:
    lines = [
        f"{user},i{n},{kind},{FIRST + (day * 86_400) + n},{value}\n"
        for user, (count, kind, value, day, _) in USERS.items()
        for n in range(count)
    ]
    return HEAD + "".join(lines) + f"anna,i9,view,{FIRST + 300 * 86_400},\n"


@pytest.fixture
def runner(shop: Shop, tmp_path: Path) -> Runner:
    profiles_bundle(tmp_path / "p", content={"behaviour": THRESHOLDS})
    shop.publish(tmp_path / "p")
    bundle = load_bundle(tmp_path / "p")
    return Runner(shop.s3, DATA, lambda name: bundle, max_reject_share=0.0)


def drop(shop: Shop, runner: Runner, content: str, file: str = "orders.csv") -> dict[str, bytes]:
    """{file name: content} of the job's results."""
    shop.s3.put_object(Bucket=DATA, Key=f"inbox/profiles/{file}", Body=content.encode())
    prefix = runner.run(Job("profiles", file)).results
    keys = [stored["Key"] for stored in shop.s3.list_objects_v2(Bucket=DATA, Prefix=prefix)["Contents"]]
    return {key.removeprefix(prefix): shop.s3.get_object(Bucket=DATA, Key=key)["Body"].read() for key in keys}


def test_each_user_is_in_the_export_of_one_segment(shop: Shop, runner: Runner) -> None:
    files = drop(shop, runner, interactions())
    profiles = [json.loads(line) for line in files["part-00000.jsonl"].splitlines()]
    assert {p["user_id"]: p["behaviour"]["name"] for p in profiles} == {user: row[-1] for user, row in USERS.items()}
    summary = json.loads(files["segments.json"])
    exported = {}
    for segment in summary["segments"]:
        name = segment["export"].rpartition("/")[2]
        exported[segment["name"]] = [json.loads(line) for line in files[name].splitlines()]
        assert shop.s3.get_object(Bucket=DATA, Key=segment["export"])["Body"].read() == files[name]
    for name in exported:
        expected = sorted(user for user, row in USERS.items() if row[-1] == name)
        assert sorted(line["user_id"] for line in exported[name]) == expected
        assert all(line.keys() == {"user_id"} for line in exported[name])


def test_the_summary_of_a_segment_is_that_counted_by_hand(shop: Shop, runner: Runner) -> None:
    summary = json.loads(drop(shop, runner, interactions())["segments.json"])
    events = {user: row[0] + (user == "anna") for user, row in USERS.items()}
    assert summary["users"] == 9
    assert summary["mean_probability"] == pytest.approx(sum(2 * n / (1 + 2 * n) for n in events.values()) / 9, abs=1e-6)
    assert summary["mean_churn_risk"] == pytest.approx(sum(1 / (1 + 4 * n) for n in events.values()) / 9, abs=1e-6)
    steady = next(segment for segment in summary["segments"] if segment["name"] == "Steady")
    assert (steady["size"], steady["share"]) == (2, pytest.approx(2 / 9, abs=1e-6))
    assert (steady["mean_probability"], steady["mean_expected_spend"]) == (pytest.approx(6 / 7, abs=1e-6), 16.5)
    cooling = next(segment for segment in summary["segments"] if segment["name"] == "High value, cooling")
    assert cooling["rule"] == "a net value of at least 50, and a churn risk over 90 days of at least 0.1"
    assert cooling["action"] == "win back"
    assert "80.0% are expected to buy within 14 days" in cooling["evidence"]
    assert "to spend 50.00 each" in cooling["evidence"]


def test_coverage_and_diversity_of_both_kinds_of_segments(shop: Shop, runner: Runner, tmp_path: Path) -> None:
    assert json.loads(drop(shop, runner, interactions())["segments.json"])["rfm"] is None  # this bundle has no edges
    edges = {"recency": [10, 20, 50, 145], "frequency": [2, 3, 4, 5], "monetary": [6, 15, 40, 55]}
    profiles_bundle(tmp_path / "rfm", content={"behaviour": THRESHOLDS, "rfm": edges})
    bundle = load_bundle(tmp_path / "rfm")
    files = drop(shop, Runner(shop.s3, DATA, lambda name: bundle, max_reject_share=0.0), interactions(), "again.csv")
    summary = json.loads(files["segments.json"])
    # Eight of nine are not prospects; two are steady, one is in each of seven others: exp of the entropy.
    assert summary["coverage"] == pytest.approx(8 / 9, abs=1e-6)
    entropy = 7 * (1 / 9) * math.log(9) + (2 / 9) * math.log(9 / 2)
    assert summary["diversity"] == pytest.approx(math.exp(entropy), abs=1e-5)
    profiles = [json.loads(line) for line in files["part-00000.jsonl"].splitlines()]
    rfm = {segment["name"]: segment for segment in summary["rfm"]["segments"]}
    for name in {profile["segment"]["name"] for profile in profiles}:
        members = [profile for profile in profiles if profile["segment"]["name"] == name]
        assert rfm[name]["size"] == len(members)
        assert rfm[name]["mean_churn_risk"] == pytest.approx(sum(m["churn_risk"] for m in members) / len(members), abs=1e-6)
    assert sum(segment["size"] for segment in rfm.values()) == 9
    # Only Ben and Cleo never bought, whatever the model makes of them.
    assert summary["rfm"]["coverage"] == pytest.approx(7 / 9, abs=1e-6)


def test_the_route_returns_the_newest_job_without_user_ids(shop: Shop, runner: Runner) -> None:
    before = shop.call("profiles", "GET", "/v1/segments")
    assert (before.status, before.body["code"]) == (404, "not-found")
    assert "inbox/profiles/" in before.body["detail"]
    files = drop(shop, runner, interactions())
    body = shop.call("profiles", "GET", "/v1/segments").body
    summary: dict[str, Any] = json.loads(files["segments.json"])
    assert {name: body[name] for name in summary} == summary
    assert (body["of_file"], body["as_of"]) == ("orders.csv", "2026-10-28T00:00:00.000Z")
    assert body["made_at"].startswith("20")
    assert not any(f'"{user}"' in json.dumps(body) for user in USERS)
    drop(shop, runner, HEAD + f"zoe,i1,view,{FIRST},\n", "later.csv")
    later = shop.call("profiles", "GET", "/v1/segments").body
    assert (later["of_file"], later["users"]) == ("later.csv", 1)
    empty = next(segment for segment in later["segments"] if segment["name"] == "New")
    assert (empty["size"], empty["share"], empty["mean_probability"], empty["export"]) == (0, 0, None, None)


def test_the_same_file_gives_the_same_bytes(shop: Shop, runner: Runner) -> None:
    first = drop(shop, runner, interactions())
    (success,) = [
        stored["Key"] for stored in shop.s3.list_objects_v2(Bucket=DATA)["Contents"] if stored["Key"].endswith("_SUCCESS")
    ]
    shop.s3.delete_object(Bucket=DATA, Key=success)
    assert drop(shop, runner, interactions()) == first


def test_a_failed_job_or_a_model_without_thresholds_changes_nothing(shop: Shop, runner: Runner, tmp_path: Path) -> None:
    drop(shop, runner, interactions())
    bad = drop(shop, runner, interactions() + "hugo,i1,view,soon,\n", "bad.csv")
    assert set(bad) == {"_FAILED", "manifest.json", "rejects.jsonl"}
    profiles_bundle(tmp_path / "flat", content={"behaviour": None})
    bundle = load_bundle(tmp_path / "flat")
    plain = drop(shop, Runner(shop.s3, DATA, lambda name: bundle, max_reject_share=0.0), interactions(), "plain.csv")
    assert not any("segment" in name for name in plain)
    assert json.loads(plain["part-00000.jsonl"].splitlines()[0])["behaviour"] is None
    assert shop.call("profiles", "GET", "/v1/segments").body["of_file"] == "orders.csv"


def test_the_receipt_of_an_erasure_names_the_exports_and_they_expire(shop: Shop, runner: Runner) -> None:
    drop(shop, runner, interactions())
    receipt = shop.call("events", "DELETE", "/v1/users/anna").body
    (results,) = [later for later in receipt["expires_later"] if later["store"] == "results"]
    assert "exports of segments" in results["what"]
    for segment in shop.call("profiles", "GET", "/v1/segments").body["segments"]:
        assert segment["export"].startswith("results/")  # whose lifecycle is the one that the receipt goes by


def test_an_unreachable_store_is_503(shop: Shop, runner: Runner) -> None:
    for stored in shop.s3.list_objects_v2(Bucket=DATA).get("Contents", []):
        shop.s3.delete_object(Bucket=DATA, Key=stored["Key"])
    shop.s3.delete_bucket(Bucket=DATA)
    reply = shop.call("profiles", "GET", "/v1/segments")
    assert (reply.status, reply.body["code"]) == (503, "results-unavailable")
