"""From a log of impressions to rows: outcomes that have had their time, parts in time, columns, and the whole command."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from personalization.core.time import DAY_MS, MISSING_TIME
from training.runtime import prepare

prepare(0)

from personalization.ads.valuation import PositionModel, Slot  # noqa: E402
from personalization.api.ads.schemas import ScoreRequest  # noqa: E402
from personalization.api.ads.score import score  # noqa: E402
from personalization.api.ads.stores import AdStores  # noqa: E402
from personalization.bundles.bundle import Bundle, load_bundle  # noqa: E402
from personalization.core.errors import InvalidInput  # noqa: E402
from training.cli import main  # noqa: E402
from training.evaluation.metrics import binary_metrics  # noqa: E402
from training.tasks.ads.columns import select_columns  # noqa: E402
from training.tasks.ads.impressions import (  # noqa: E402
    attribution_window,
    drop_late_conversions,
    read_impressions,
    split_impressions,
)
from training.tasks.ads.model import AdPosition, frequent_positions, tasks_of  # noqa: E402
from training.tasks.ads.prepare import AdData, list_columns, prepare_ads  # noqa: E402

START = 1_700_000_000


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, names)
        writer.writeheader()
        writer.writerows(rows)
    return path


def shown(n: int, **more: Any) -> dict[str, Any]:
    return {"user_id": f"u{n % 7}", "ad_id": f"a{n % 3}", "timestamp": START + n * 3600} | more


def test_reading_outcomes_and_when_they_were_known(tmp_path: Path) -> None:
    log = read_impressions(
        write(
            tmp_path / "log.csv",
            [
                shown(0, click=1, clicked_at=START + 60, conversion=0),
                shown(1, click=0, conversion=1, converted_at=START + 3600 + 86_400),
                shown(2, click="", clicked_at=START + 2 * 3600 - 5),
                shown(3, click=0, conversion=1),
                shown(4, timestamp="soon"),
                shown(5, sample_weight=0),
                shown(6, sample_weight=4, treatment=0, position=2, placement="home"),
            ],
        )
    )
    assert len(log) == 5
    assert log.report["rejected"] == {"no user, ad or timestamp": 1, "sample_weight not above 0": 1}
    assert log.click is not None
    assert log.conversion is not None
    # a conversion without a click is one; a time is an outcome too, and none is known before the impression
    assert log.click.tolist() == [1, 1, 1, 1, 0]
    assert log.conversion.tolist() == [0, 1, 0, 1, 0]
    assert log.report["conversions_without_a_click"] == 2
    assert log.clicked_at[:3].tolist() == [(START + 60) * 1000, (START + 3600 + 86_400) * 1000, (START + 2 * 3600) * 1000]
    assert log.converted_at[3] == (START + 3 * 3600) * 1000 + 7 * DAY_MS
    assert log.converted_at[0] == MISSING_TIME
    assert (log.weight.tolist(), log.shown.tolist()) == ([1, 1, 1, 1, 4], [True, True, True, True, False])
    assert len(log.exposures.user) == 4  # what was held back was not seen


@pytest.mark.parametrize("rows", [[shown(0)], [shown(0, click=1) | {"user_id": ""}]])
def test_logs_without_usable_rows_or_outcomes_are_refused(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    with pytest.raises(InvalidInput):
        read_impressions(write(tmp_path / "log.csv", rows))


def test_the_attribution_window_is_estimated_and_later_conversions_do_not_count(tmp_path: Path) -> None:
    rows = [shown(n, conversion=1, converted_at=START + n * 3600 + n * 86_400) for n in range(1, 41)]
    log = read_impressions(write(tmp_path / "log.csv", rows))
    # delays of 1 to 40 days: .95 of them have come after 38.05
    assert attribution_window(log) == 39.0
    cut = drop_late_conversions(log, 10.0)
    assert cut.conversion is not None
    assert cut.conversion.sum() == 10
    assert cut.report["conversions_after_the_window"] == 30
    few = read_impressions(write(tmp_path / "few.csv", rows[:10]))
    assert attribution_window(few) == 7.0


def test_the_split_is_in_time_and_uses_outcomes_that_were_known(tmp_path: Path) -> None:
    rows = [shown(n * 24, click=n % 2) for n in range(200)]  # one a day
    log = read_impressions(write(tmp_path / "log.csv", rows))
    parts = split_impressions(log, 5.0)
    masks = [parts.train, parts.valid, parts.test]
    assert not any((one & other).any() for n, one in enumerate(masks) for other in masks[n + 1 :])
    moments = [log.timestamp[mask] for mask in masks]
    assert moments[0].max() < moments[1].min()
    assert moments[1].max() < moments[2].min()
    assert parts.immature == 5
    assert parts.test_from == moments[2].min()
    # what is learnt from had its five days before the test begins
    assert moments[1].max() + 5 * DAY_MS <= parts.test_from
    assert parts.unknown_at_test == 4
    assert sum(len(m) for m in moments) == 200 - 5 - 4
    assert len(moments[2]) == pytest.approx(0.15 * 195, abs=1)
    none = split_impressions(log, 5.0, no_test=True)
    assert not none.test.any()
    assert log.timestamp[none.valid].max() + 5 * DAY_MS <= log.end


def test_a_log_of_one_moment_is_split_by_user(tmp_path: Path) -> None:
    rows = [shown(n, click=1, timestamp=START) | {"user_id": f"u{n % 60}"} for n in range(300)]
    log = read_impressions(write(tmp_path / "log.csv", rows))
    parts = split_impressions(log, 1.0)
    assert parts.by_user
    users = [set(log.user[mask].tolist()) for mask in (parts.train, parts.valid, parts.test)]
    assert not users[0] & users[1]
    assert not users[0] & users[2]
    assert all(users)


def test_frequent_positions_and_the_outputs_that_a_log_can_train(tmp_path: Path) -> None:
    rows = [shown(n, click=n % 2, position=1 + n % 3, placement="home" if n % 2 else None) for n in range(600)]
    rows += [shown(n, click=0, position=9) for n in range(20)]
    log = read_impressions(write(tmp_path / "log.csv", rows))
    positions = frequent_positions(log)
    assert positions == [AdPosition(placement, position) for placement in (None, "home") for position in (1, 2, 3)]
    tasks = tasks_of(log, positions)
    assert tasks.outputs == ("click",)
    assert tasks.first == (True, False, False, True, False, False)
    assert frequent_positions(log.take(log.position == 1)) == []


def test_lists_are_found_in_the_columns_of_ads() -> None:
    table = {str(n): {"genres": "a|b" if n % 2 else "b", "bid": "1|2", "item_id": "x|y", "name": "n"} for n in range(10)}
    assert list_columns(table) == {"genres": ["b", "a"]}


def test_ids_of_ads_are_categories_and_ids_of_users_are_dropped() -> None:
    rows = 400
    user, ad = np.arange(rows) % 100, np.arange(rows) % 8
    columns = {
        "ad.ad_id": np.array([str(10 + a) for a in ad], dtype=object),  # numbers that name
        "ad.campaign_id": np.array([f"c{a}" for a in ad], dtype=object),
        "ad.creative": np.array([f"k{a % 2}" for a in ad], dtype=object),
        "ad.size": ad.astype(np.float32),
        "user.mail": np.array([f"{u}@example" for u in user], dtype=object),
        "user.age": (20 + user % 30).astype(np.float32),
        "channel": np.array(["web", "app"] * 200, dtype=object),
        "pair.seen": np.arange(rows, dtype=np.float32),
    }
    found = {d.name: d for d in select_columns(columns, user, ad, salt="00" * 16)}
    assert found["ad.ad_id"].action == "categorical"
    assert (found["ad.campaign_id"].action, found["ad.campaign_id"].reason) == ("dropped", "divides the rows as ad.ad_id does")
    assert found["channel"].reason == "divides the rows as ad.creative does"
    assert found["ad.size"].action == "numeric"
    assert found["user.mail"].action == "dropped"
    assert found["user.age"].action == "numeric"
    many = {"ad.ad_id": np.array([str(n % 300) for n in range(900)], dtype=object)}
    hashed = select_columns(many, np.arange(900), np.arange(900) % 300, salt="00" * 16)[0]
    assert hashed.action == "hashed"
    assert hashed.column is not None
    assert hashed.column.vocabulary == ()


def test_weighted_metrics_are_those_of_repeated_rows() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 60).astype(float)
    probability = np.clip(random.random(60) * 0.6 + labels * 0.2, 0.01, 0.99)
    weight = random.integers(1, 4, 60)
    found = binary_metrics(labels, probability, 0.5, weight.astype(float))
    repeated = binary_metrics(np.repeat(labels, weight), np.repeat(probability, weight), 0.5)
    for name, value in found.items():
        assert value == pytest.approx(repeated[name]), name
    assert binary_metrics(labels, probability, 0.5, np.full(60, 2.0)) == pytest.approx(binary_metrics(labels, probability, 0.5))


def shop(directory: Path, users: int = 60, days: int = 40) -> dict[str, Path]:
    """Two slots a page; red ads are clicked by those who buy tea, the second slot is seen half as often."""
    random = np.random.default_rng(0)
    likes = random.random(users) < 0.5
    impressions, events = [], []
    for day in range(days):
        for user in range(users):
            at = START + day * 86_400 + user * 600
            if day % 5 == 0:
                events.append({"user_id": f"u{user}", "item_id": f"i{user % 3}", "event_type": "purchase", "timestamp": at - 60,
                               "category": "tea" if likes[user] else "cups", "event_value": 5})  # fmt: skip
            for position in (1, 2):
                ad = int(random.integers(0, 4))
                chance = (0.6 if likes[user] == (ad < 2) else 0.1) * (1.0 if position == 1 else 0.5)
                click = int(random.random() < chance)
                impressions.append({"user_id": f"u{user}", "ad_id": f"a{ad}", "timestamp": at, "position": position,
                                    "placement": "home", "click": click,
                                    "conversion": int(click and random.random() < 0.3)})  # fmt: skip
    ads = [{"ad_id": f"a{n}", "campaign_id": f"c{n % 2}", "category": "tea" if n < 2 else "cups", "bid": 1} for n in range(4)]
    people = [{"user_id": f"u{n}", "age": 20 + n % 40} for n in range(users)]
    tables = {"impressions": impressions, "ads": ads, "users": people, "interactions": events}
    return {name: write(directory / f"{name}.csv", rows) for name, rows in tables.items()}


def test_training_rows_do_not_depend_on_later_events(tmp_path: Path) -> None:
    """Rows that are learnt from are the same whether or not the log goes on."""
    files = shop(tmp_path, users=20, days=30)
    whole = prepare_ads(AdData(files["impressions"], files["ads"], files["users"], (files["interactions"],)))
    known = {name: content for name, content in whole.train.columns.items() if content.dtype.kind == "f"}
    end = int(whole.train.log.timestamp.max()) // 1000
    for name in ("impressions", "interactions"):
        with files[name].open(newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if int(row["timestamp"]) <= end]
        write(files[name], rows)
    shorter = prepare_ads(AdData(files["impressions"], files["ads"], files["users"], (files["interactions"],), no_test=True))
    key = {(m, u, a): n for n, (m, u, a) in enumerate(_keys(whole.train.log))}
    matched = [(key[k], n) for n, k in enumerate(_keys(shorter.train.log)) if k in key]
    assert len(matched) > 300
    for name, content in known.items():
        for here, there in matched[:100]:
            assert content[here] == shorter.train.columns[name][there] or np.isnan(content[here]), name


def _keys(log: Any) -> list[tuple[int, str, str, float]]:
    return [
        (int(m), log.users[u], log.ads[a]) for m, u, a in zip(log.timestamp, log.user, log.ad, strict=True)
    ]  # fmt: skip


@pytest.mark.slow
def test_the_command_makes_a_bundle_with_examination_probabilities(tmp_path: Path) -> None:
    files = shop(tmp_path, users=40, days=30)
    out = tmp_path / "bundle"
    arguments = ["train", "ads", "--out", str(out), "--epochs", "4", "--quiet"]
    for name in ("impressions", "ads", "users", "interactions"):
        arguments += [f"--{name}", str(files[name])]
    assert main(arguments) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert set(metrics["targets"]) == {"click", "conversion"}
    assert metrics["test"] == metrics["targets"]["click"]["test"]
    assert metrics["test"]["auc"] > 0.7
    assert metrics["test"]["log_loss"] < metrics["baselines"]["base_rate"]["log_loss"]
    bundle = load_bundle(out)
    assert (bundle.name, bundle.kind, bundle.manifest["tasks"]) == ("ads", "impressions", ["click", "conversion"])
    positions = PositionModel.from_manifest(bundle.manifest)
    assert positions.p_seen(Slot("s", "home", 1)) == 1.0
    assert positions.p_seen(Slot("s", "home", 2)) == pytest.approx(0.5, abs=0.15)
    assert bundle.manifest["attribution_window_days"] == 7.0
    assert sum(bundle.manifest["traffic"]) == metrics["data"]["rows"]["train"]
    names = [column.name for column in bundle.encoder.columns]
    assert "pair.category_share" in names
    assert not any("user_id" in name or "position" in name for name in names)
    assert "u17" not in (out / "bundle.json").read_text()
    assert "Positions" in (out / "report.html").read_text()
    _answers_of(bundle, files, tmp_path)


def _answers_of(bundle: Bundle, files: dict[str, Path], directory: Path) -> None:
    """The trained bundle tells red from blue for somebody it knows, in a file as in a request, and says why."""
    with files["impressions"].open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    arguments = ["predict", bundle.directory, "--in", files["impressions"], "--out", directory / "out"]
    arguments += [part for name in ("ads", "interactions", "impressions") for part in (f"--{name}", files[name])]
    assert main([str(part) for part in arguments]) == 0
    lines = [json.loads(line) for line in (directory / "out").read_text().splitlines()]
    late = [n for n, row in enumerate(rows) if int(row["timestamp"]) >= START + 20 * 86_400 and row["position"] == "1"]
    clicked, probability = [[int(rows[n]["click"]) for n in late], [lines[n]["probability"] for n in late]]
    assert roc_auc_score(clicked, probability) > 0.7
    tea = [
        {"item_id": "i0", "event_type": "purchase", "timestamp": START - n * 5 * 86_400, "category": "tea", "event_value": 5}
        for n in (1, 2)
    ]
    with files["ads"].open(newline="") as stream:
        ads = list(csv.DictReader(stream))
    slots = [{"slot_id": "1", "placement": "home", "position": 1}, {"slot_id": "2", "placement": "home", "position": 2}]
    request = {"events": tea, "candidates": ads, "slots": slots, "explain": True}
    found = score(ScoreRequest.model_validate(request), bundle, "d", START * 1000, AdStores())
    winners = [slot["winner"] for slot in found.content["slots"]]
    assert {winner["ad_id"] for winner in winners} == {"a0", "a1"}  # those for tea
    assert winners[0]["expected_value"] >= winners[1]["expected_value"]
    assert winners[1]["seen"] == pytest.approx(0.5, abs=0.15)
    explanation = winners[0]["explanation"]
    whole = explanation["base"] + sum(one["contribution"] for one in explanation["contributions"]) + explanation["others"]
    assert whole == pytest.approx(explanation["logit"], abs=1e-4)
    assert 1 / (1 + np.exp(-explanation["logit"])) == pytest.approx(winners[0]["pctr"], abs=1e-5)


def test_base_rates_as_a_bundle(tmp_path: Path) -> None:
    files = shop(tmp_path, users=20, days=12)
    out = tmp_path / "bundle"
    assert main(["train", "ads", "--impressions", str(files["impressions"]), "--model", "base-rate", "--out", str(out)]) == 0
    bundle = load_bundle(out)
    assert bundle.manifest["model"] == "base-rate"
    rates = bundle.manifest["fallback"]
    assert 0 < rates["click"] < 1
    assert json.loads((out / "metrics.json").read_text())["test"]["auc"] == 0.5
