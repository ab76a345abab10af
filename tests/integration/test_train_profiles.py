"""`train profiles` from raw events, end to end: cut, learn, export, describe, predict."""

from __future__ import annotations

import csv
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from personalization.bundles.bundle import load_bundle
from personalization.tabular.explain import Explainer
from training.cli import main
from training.evaluation.metrics import binary_metrics
from training.io.point_in_time import start_of_day

pytestmark = pytest.mark.slow

CUTOFF = date(2025, 6, 1)
FIRST = date(2025, 1, 1)
DAYS = 200
USERS = 120


def shop(path: Path, seed: int = 0) -> Path:
    """A shop of two kinds of customers: those who come every few days, and those who come once or twice and stay away."""
    random = np.random.default_rng(seed)
    rows = []
    for user in range(USERS):
        often = user % 3 > 0
        day = float(random.uniform(0, 40))
        visits = 0
        while day < DAYS and (often or visits < 2):
            moment = datetime(2025, 1, 1, 10, tzinfo=UTC) + timedelta(days=day)
            for line in range(int(random.integers(1, 4))):
                category = ("tea", "cups", "pots")[(user + line * int(random.integers(0, 2))) % 3]
                value = round(float(random.gamma(2, 5 + user % 7)), 2)
                rows.append(
                    [
                        f"u{user}",
                        f"{category}-{random.integers(0, 4)}",
                        "purchase",
                        moment.isoformat(),
                        f"o{user}-{visits}",
                        value,
                    ]
                )
            if random.random() < 0.5:
                rows.append([f"u{user}", "tea-0", "view", (moment - timedelta(hours=3)).isoformat(), "", ""])
            visits += 1
            day += float(random.exponential(6.0)) + 0.5
    rows.sort(key=lambda row: row[3])
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["user_id", "item_id", "event_type", "timestamp", "order_id", "event_value"], *rows])
    return path


def items(path: Path) -> Path:
    words = [(f"{category}-{n}", category) for category in ("tea", "cups", "pots") for n in range(4)]
    path.write_text("item_id,category\n" + "".join(f"{item},{category}\n" for item, category in words))
    return path


def users(path: Path) -> Path:
    rows = [f"u{n},{20 + n % 50},{'north' if n % 3 else 'south'}\n" for n in range(0, USERS, 2)]
    path.write_text("user_id,age,region\n" + "".join(rows))
    return path


def train(out: Path, *options: object) -> int:
    fast = ["--epochs", "6", "--quiet", "--out", out]
    return main([str(part) for part in ("train", "profiles", *options, *fast)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Interactions and the bundle that was trained from them."""
    directory = tmp_path_factory.mktemp("profiles")
    events = shop(directory / "events.csv")
    bundle = directory / "bundle"
    tables = ("--items", items(directory / "items.csv"), "--users", users(directory / "users.csv"))
    assert train(bundle, "--interactions", events, *tables, "--cutoff", CUTOFF, "--refit") == 0
    return events, bundle


def read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def test_the_manifest_has_the_keys_that_its_readers_use(trained: tuple[Path, Path]) -> None:
    _, directory = trained
    bundle = load_bundle(directory)
    manifest = bundle.manifest
    assert (bundle.name, bundle.kind, manifest["model"]) == ("profiles", "interactions", "tabular")
    assert manifest["hazard_days"] == [7, 14, 30, 90]
    assert (manifest["horizon"], manifest["churn_horizon"], manifest["timezone"]) == (14, 90, "UTC")
    assert manifest["history_window"] == {"max_events": 500, "max_days": 365}
    assert sorted(manifest["next_category_names"]) == ["cups", "pots", "tea"]
    assert bundle.category_of_item["tea-0"] == "tea"
    assert set(bundle.output_names) == {"probability_within", "expected_orders", "expected_spend", "next_category"}
    assert {column["name"] for column in manifest["columns"]} >= {"recency_days", "orders_28d", "user.age", "user.region"}
    assert all(edges == sorted(edges) and len(edges) == 4 for edges in manifest["rfm"].values())
    limits = manifest["behaviour"]
    assert set(limits) == {"ready", "cooling", "lapse", "value", "new_days"}
    assert 0 < limits["ready"] < 1
    assert 0 <= limits["cooling"] <= limits["lapse"] <= 1
    assert limits["value"] == pytest.approx(manifest["rfm"]["monetary"][-1])  # a fifth of the buyers spent more
    assert 7 <= limits["new_days"] <= 30
    assert manifest["fallback"]["probability"] == pytest.approx(manifest["fallback"]["probability_within"][1])


def test_contributions_of_the_bundle_add_up(trained: tuple[Path, Path]) -> None:
    _, directory = trained
    bundle = load_bundle(directory)
    explainer = Explainer.for_bundle(bundle, rounds=2)
    assert explainer is not None
    assert bundle.background is not None
    assert {len(values) for values in bundle.background.values()} == {64}
    within = bundle.run(bundle.background)["probability_within"][:, bundle.manifest["hazard_days"].index(14)]
    assert (np.diff(within) >= -1e-6).all()  # from the least to the most likely: spread over the whole range
    result = explainer.explain(bundle.background, 63)
    total = sum(part["contribution"] for part in result["contributions"]) + result["others"]
    assert total == pytest.approx(result["logit"] - result["base"], abs=1e-4)
    assert result["logit"] == pytest.approx(float(np.log(within[63] / (1 - within[63]))), abs=1e-4)
    assert result["base"] == pytest.approx(float(np.log(within / (1 - within)).mean()), abs=1e-4)
    page = (directory / "report.html").read_text()
    assert "Three rows, explained" in page
    assert page.count("moves the logit by") == 3


def test_no_user_is_in_the_bundle(trained: tuple[Path, Path]) -> None:
    _, directory = trained
    for path in filter(Path.is_file, directory.rglob("*")):
        content = path.read_bytes()
        for user in ("u17", "u101", "u119"):
            assert f'"{user}"'.encode() not in content
            assert f">{user}<".encode() not in content


def test_every_target_has_metrics_and_baselines(trained: tuple[Path, Path]) -> None:
    _, directory = trained
    metrics = read(directory / "metrics.json")
    assert set(metrics["targets"]) == {"buys_within_14", "churn", "expected_orders", "expected_spend", "next_category"}
    assert metrics["test"] == metrics["targets"]["buys_within_14"]["test"]
    assert set(metrics["baselines"]) == {
        "base_rate",
        "recency_frequency",
        "logistic_regression",
        "dense_64_32_1",
        "lightgbm",
        "lightgbm_tuned",
    }
    # Those who come once or twice are easily told from those who keep coming.
    assert metrics["test"]["auc"] > 0.85
    assert metrics["test"]["log_loss"] < metrics["baselines"]["base_rate"]["log_loss"]
    assert {"mae", "rmse", "correlation"} <= metrics["targets"]["expected_spend"]["test"].keys()
    orders = metrics["targets"]["expected_orders"]
    assert {"mae", "rmse", "correlation"} <= orders["test"].keys()
    assert set(orders["baselines"]) == {"mean", "ordered_lately", "buy_till_they_leave"}
    assert orders["test"]["rmse"] < orders["baselines"]["mean"]["rmse"]
    assert {"accuracy", "log_loss"} <= metrics["targets"]["next_category"]["test"].keys()
    assert metrics["test_without_attributes"]["auc"] > 0.85
    assert metrics["cuts"]["test"] == "2025-06-01"
    assert metrics["cuts"]["validation"] == ["2025-05-18"]
    # The events end on July 20, before 90 days have passed.
    assert metrics["targets"]["churn"]["test"] is None


def test_metrics_have_intervals_groups_and_segment_outcomes(trained: tuple[Path, Path]) -> None:
    _, directory = trained
    metrics = read(directory / "metrics.json")
    low, high = metrics["uncertainty"]["test"]["auc"]
    assert low <= metrics["test"]["auc"] <= high
    assert set(metrics["uncertainty"]["ahead_of"]) == set(metrics["baselines"])
    low, high = metrics["targets"]["expected_spend"]["uncertainty"]["test"]["mae"]
    assert low <= metrics["targets"]["expected_spend"]["test"]["mae"] <= high
    assert any(column.startswith("user.") for column in metrics["groups"])
    users = metrics["data"]["rows"]["test"]
    for result in metrics["segments"].values():
        assert sum(segment["users"] for segment in result["segments"]) == users
        rate = sum(segment["users"] * segment["rate"] for segment in result["segments"]) / users
        assert rate == pytest.approx(metrics["test"]["rate"], abs=1e-6)
        assert 0.1 < result["separation"] < 1  # two kinds of users: those who keep coming and those who do not
        assert all(segment["churn_rate"] is None for segment in result["segments"])
    page = (directory / "report.html").read_text()
    for title in ("Errors by group", "Segments by predicted behaviour", "Segments by recency, frequency and value"):
        assert title in page


def test_the_data_is_accounted_for(trained: tuple[Path, Path]) -> None:
    events, directory = trained
    report = read(directory / "metrics.json")["data"]
    lines = len(events.read_text().splitlines()) - 1
    assert report["files"] == [{"file": "events.csv", "rows": lines, "used": lines, "rejected": 0, "duplicates": 0}]
    assert report["users"] == USERS
    decisions = {d["column"]: d for d in load_bundle(directory).manifest["decisions"]}
    assert decisions["returns"]["action"] == "dropped"
    assert decisions["user.region"]["action"] == "categorical"


def test_predict_gives_the_probabilities_of_the_reported_metrics(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """The served code, asked as of the test cut, gives the probabilities whose metrics were reported.

    It has no users table: so it is the model without attributes that it must agree with.
    """
    events, directory = trained
    out = tmp_path / "out.jsonl"
    assert main(["predict", str(directory), "--in", str(events), "--as-of", CUTOFF.isoformat(), "--out", str(out)]) == 0
    predicted = {line["user_id"]: line for line in map(json.loads, out.read_text().splitlines())}
    assert len(predicted) == USERS
    cut = start_of_day(CUTOFF, UTC)
    before, after = set(), set()
    for row in csv.DictReader(events.open()):
        moment = round(datetime.fromisoformat(row["timestamp"]).timestamp() * 1000)
        if moment < cut:
            before.add(row["user_id"])
        elif moment < cut + 14 * 86_400_000 and row["event_type"] == "purchase":
            after.add(row["user_id"])
    labels = np.array([user in after for user in sorted(before)])
    probability = np.array([predicted[user]["probability"] for user in sorted(before)])
    reported = read(directory / "metrics.json")["test_without_attributes"]
    for name, value in binary_metrics(labels, probability).items():
        assert reported[name] == pytest.approx(value, abs=1e-4), name
    for profile in predicted.values():
        chances = list(profile["propensity"].values())
        assert chances == sorted(chances)
        assert profile["probability"] == profile["propensity"]["14"]
        assert profile["churn_risk"] == pytest.approx(1 - profile["propensity"]["90"], abs=1e-6)
        assert profile["expected_spend"] >= 0


def test_refit_trains_up_to_the_newest_events(trained: tuple[Path, Path]) -> None:
    _, directory = trained
    refit = load_bundle(directory / "refit")
    first = load_bundle(directory)
    assert refit.manifest["calibration"]["slope"] == first.manifest["calibration"]["slope"]
    metrics = read(directory / "refit" / "metrics.json")
    assert metrics["test"] is None
    assert metrics["cuts"]["validation"] == ["2025-07-07"]  # the events end on July 20
    assert any("trained on its validation rows" in note for note in metrics["notes"])


def test_events_after_the_cutoff_change_only_the_test_metrics(trained: tuple[Path, Path], tmp_path: Path) -> None:
    events, directory = trained
    lines = events.read_text().splitlines(keepends=True)
    truncated = tmp_path / "events.csv"
    truncated.write_text("".join(line for n, line in enumerate(lines) if n == 0 or line.split(",")[3] < CUTOFF.isoformat()))
    tables = ("--items", directory.parent / "items.csv", "--users", directory.parent / "users.csv")
    assert train(tmp_path / "bundle", "--interactions", truncated, *tables, "--cutoff", CUTOFF) == 0
    one, other = load_bundle(directory), load_bundle(tmp_path / "bundle")
    assert one.manifest["columns"] == other.manifest["columns"]
    numeric = np.random.default_rng(0).gamma(1, 10, (50, len(one.encoder.numeric_names))).astype(np.float32)
    inputs = {"numeric": numeric, "categorical": np.ones((50, len(one.encoder.categorical_columns)), np.int64)}
    answers = other.run(inputs)
    for name, values in one.run(inputs).items():
        np.testing.assert_array_equal(values, answers[name], err_msg=name)
    metrics = read(tmp_path / "bundle" / "metrics.json")
    assert metrics["test"] is None
    assert metrics["validation"] == read(directory / "metrics.json")["validation"]


def test_a_base_rate_and_short_data(tmp_path: Path) -> None:
    """Constants, trained on so little that labels are extrapolated; who never bought is in it too."""
    events = tmp_path / "events.csv"
    rows = ["user_id,item_id,event_type,timestamp"]
    for user in range(60):
        kind = "buy" if user % 2 else "view"
        days = [FIRST + timedelta(days=day) for day in range(user % 9, 45, 9)]
        rows += [f"u{user},tea,{kind},{day}" for day in days]
    events.write_text("\n".join(rows) + "\n")
    assert train(tmp_path / "bundle", "--interactions", events, "--model", "base-rate", "--no-test") == 0
    bundle = load_bundle(tmp_path / "bundle")
    metrics = read(tmp_path / "bundle" / "metrics.json")
    assert bundle.manifest["model"] == "base-rate"
    assert metrics["test"] is None
    assert any("90" in note or "daily hazard" in note for note in metrics["notes"])
    chances = bundle.manifest["fallback"]["probability_within"]
    assert chances == sorted(chances)
    assert set(bundle.output_names) == {"probability_within", "expected_orders"}  # no values, no categories


def test_user_mistakes_give_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    views = tmp_path / "views.csv"
    rows = "".join(f"u{n % 40},tea,view,2025-0{1 + n % 6}-01\n" for n in range(200))
    views.write_text("user_id,item_id,event_type,timestamp\n" + rows)
    assert train(tmp_path / "out", "--interactions", views) == 2
    assert "expected events of type purchase" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
