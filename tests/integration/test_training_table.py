"""From a messy flat table to a bundle, and from the bundle to one answer for each row."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from personalization.bundles.bundle import load_bundle
from personalization.tabular import predict
from personalization.tabular.explain import Explainer
from training.cli import main

BINARY = {
    "auc", "log_loss", "average_precision", "smooth_ece", "calibration_slope", "predicted_to_observed", "accuracy", "precision",
    "recall", "f1",
}  # fmt: skip
BASELINES = {"base_rate", "logistic_regression", "dense_64_32_1", "lightgbm", "lightgbm_tuned"}
HEADER = ["user_id", "行号", "消费 金额", "channel", "since", "constant", "empty", "email", "outcome", "bought"]


def messy_rows(count: int, seed: int = 0) -> list[list[str]]:
    """A table that no shop would call clean; whether somebody bought depends on spend and channel."""
    pick = random.Random(seed)
    rows = []
    for row in range(count):
        spend, channel = pick.gauss(50, 20), pick.choice(["web", "app", "fax", ""])
        buys = pick.random() < 1 / (1 + np.exp(-(spend - 50) / 8 - (2 if channel == "app" else 0)))
        amount = f"{spend:.2f}" if pick.random() < 0.9 else pick.choice(["", "n/a", "viel"])
        since = f"2026-0{pick.randint(1, 9)}-1{pick.randint(0, 9)}"
        said = ("paid", "yes") if buys else ("none", "no")
        rows.append([f"u{row}", str(row), amount, channel, since, "EUR", "", f"mail{row}@example.org", *said])
    return rows


def write_csv(path: Path, rows: list[list[str]], header: list[str] = HEADER) -> Path:
    text = "\n".join(",".join(cells) for cells in [header, *rows]) + "\n"
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as stream:
        stream.write(text)
    return path


def train(out: Path, *arguments: object, job: str = "profiles") -> dict[str, Any]:
    assert main(["train", job, "--out", str(out), "--quiet", "--epochs", "15", *map(str, arguments)]) == 0
    content: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return content


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """The table, the bundle's directory and its metrics."""
    directory = tmp_path_factory.mktemp("messy")
    rows = messy_rows(500)
    rows[7][-1] = ""  # no label
    rows.append(rows[3][:])  # a copy
    source = write_csv(directory / "user_data.csv", rows)
    return source, directory / "out", train(directory / "out", "--table", source, "--label", "bought", "--refit", "--folds", 2)


def test_every_row_is_accounted_for(messy: tuple[Path, Path, dict[str, Any]]) -> None:
    counts = messy[2]["rows"]
    assert (counts["read"], counts["without_label"], counts["rejected"], counts["duplicates"]) == (501, 1, 0, 1)
    assert counts["train"] + counts["validation"] + counts["test"] == 500


def test_every_column_is_accounted_for(messy: tuple[Path, Path, dict[str, Any]]) -> None:
    decisions = {entry["column"]: entry for entry in load_bundle(messy[1]).manifest["decisions"]}
    assert {name: entry["action"] for name, entry in decisions.items()} == {
        "user_id": "key", "行号": "dropped", "消费 金额": "numeric", "channel": "categorical", "since": "date",
        "constant": "dropped", "empty": "dropped", "email": "dropped", "outcome": "categorical",
    }  # fmt: skip
    assert "other cells count as missing" in decisions["消费 金额"]["reason"]


def test_a_leaking_column_is_warned_of_and_kept(messy: tuple[Path, Path, dict[str, Any]]) -> None:
    bundle = load_bundle(messy[1])
    assert [w for w in bundle.manifest["warnings"] if "'outcome' gives the label away" in w]
    assert "outcome&#x27; gives the label away" in (messy[1] / "report.html").read_text()
    assert "outcome" in [column.name for column in bundle.encoder.columns]


def test_metrics_have_the_shape_that_scripts_rely_on(messy: tuple[Path, Path, dict[str, Any]]) -> None:
    metrics = messy[2]
    assert set(metrics["test"]) == set(metrics["validation"]) == BINARY
    assert set(metrics["baselines"]) == BASELINES
    assert all(set(values) == BINARY for values in metrics["baselines"].values())
    assert metrics["baselines"]["base_rate"]["auc"] == 0.5
    assert metrics["seconds"] > 0
    assert metrics["test"]["auc"] > 0.95  # there is a column that gives it away
    assert set(metrics["folds"]["mean"]) == set(metrics["folds"]["standard_error"]) == BINARY
    assert set(metrics["folds"]["baselines"]) == BASELINES


def test_metrics_have_intervals_and_groups(messy: tuple[Path, Path, dict[str, Any]]) -> None:
    metrics = messy[2]
    sure = metrics["uncertainty"]
    assert set(sure["test"]) == BINARY
    assert set(sure["ahead_of"]) == BASELINES
    assert sure["users"] <= metrics["rows"]["test"]
    for name, ends in sure["test"].items():
        if ends is not None and name != "smooth_ece":
            assert ends[0] <= metrics["test"][name] <= ends[1], name
    assert sure["ahead_of"]["base_rate"]["auc"][0] > 0.4  # there is a column that gives it away
    for rows in metrics["groups"].values():
        assert sum(row["rows"] for row in rows) <= metrics["rows"]["test"]
    assert {"channel", "outcome"} >= set(metrics["groups"])
    page = (messy[1] / "report.html").read_text()
    assert "95 %, from" in page
    assert "ahead of, 95 % of the differences" in page


def test_named_columns_are_grouped_by_and_unknown_ones_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = write_csv(tmp_path / "a.csv", messy_rows(1200, 1))
    metrics = train(tmp_path / "out", "--table", source, "--label", "bought", "--groups", "消费 金额")
    ((column, rows),) = metrics["groups"].items()
    assert column == "消费 金额"
    assert len(rows) >= 4
    assert "Errors by group" in (tmp_path / "out" / "report.html").read_text()
    args = [
        "train",
        "profiles",
        "--table",
        str(source),
        "--label",
        "bought",
        "--groups",
        "email",
        "--out",
        str(tmp_path / "no"),
    ]
    assert main([*args, "--quiet"]) == 2  # before anything is trained
    assert not (tmp_path / "no" / "model.onnx").exists()
    assert "expected columns of the model to group by, received 'email'" in capfd.readouterr().err


def test_the_manifest_describes_the_bundle(messy: tuple[Path, Path, dict[str, Any]]) -> None:
    manifest = load_bundle(messy[1]).manifest
    assert (manifest["name"], manifest["job"], manifest["kind"], manifest["model"]) == (
        "profiles-table",
        "profiles",
        "table",
        "tabular",
    )
    assert manifest["label"] == {"column": "bought", "positive": "yes", "negative": "no"}
    assert manifest["metrics"]["test"] == messy[2]["test"]
    assert manifest["rows_per_second_per_core"] > 1000
    assert manifest["export_difference"] < 1e-4
    assert "mail3@example.org" not in (messy[1] / "bundle.json").read_text()


def test_the_bundle_explains_its_answers(messy: tuple[Path, Path, dict[str, Any]]) -> None:
    bundle = load_bundle(messy[1])
    explainer = Explainer.for_bundle(bundle, rounds=2)
    assert explainer is not None
    cells = {"消费 金额": ["85"], "channel": ["app"], "since": ["2026-03-11"]}
    sent = {name: cells.get(name, [None]) for name in (column.name for column in bundle.encoder.columns)}
    found = explainer.explain(bundle.encoder.encode(sent, 1).inputs, 0, sent)
    assert found["target"] == "bought is yes"
    total = sum(part["contribution"] for part in found["contributions"]) + found["others"]
    assert total == pytest.approx(found["logit"] - found["base"], abs=1e-4)
    values = {part["feature"]: part["value"] for part in found["contributions"]}
    assert {name: values[name] for name in cells if name in values} == {
        name: value
        for name, value in {"消费 金额": 85, "channel": "app", "since": "2026-03-11T00:00"}.items()
        if name in values
    }
    page = (messy[1] / "report.html").read_text()
    assert page.count("moves the logit by") == 3
    assert "@example.org" not in page


def test_the_reported_metrics_are_those_of_the_bundle(messy: tuple[Path, Path, dict[str, Any]]) -> None:
    """Score the table with the bundle: the AUC over all rows must be near, and the share of positives calibrated."""
    source, out, _ = messy
    bundle = load_bundle(out)
    lines = [line.split(",") for line in source.read_text().splitlines()[1:]]
    columns = {name: [cells[i] for cells in lines] for i, name in enumerate(HEADER)}
    scored = predict.predict(bundle, columns, len(lines))
    bought = np.array([cells[-1] == "yes" for cells in lines])
    assert scored.probability[bought].mean() > 0.8
    assert scored.probability[~bought].mean() < 0.2
    assert abs(scored.probability.mean() - bought.mean()) < 0.08


def test_refit_is_a_bundle_of_its_own_on_all_rows(messy: tuple[Path, Path, dict[str, Any]]) -> None:
    first, second = load_bundle(messy[1]), load_bundle(messy[1] / "refit")
    assert first.version != second.version
    assert first.manifest["calibration"] == second.manifest["calibration"]
    assert "trained on all of them" in (messy[1] / "refit" / "report.html").read_text()


def test_predict_answers_each_row_in_order_and_counts_a_bad_cell_as_missing(
    messy: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    rows = messy_rows(30, seed=9)
    rows[4][2], rows[5][2] = "lots", ""
    rows[5][3:9] = rows[4][3:9]
    source = write_csv(tmp_path / "new.csv", rows)
    assert main(["predict", str(messy[1]), "--in", str(source), "--out", str(tmp_path / "p.jsonl")]) == 0
    answers = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [answer["row"] for answer in answers] == list(range(30))
    assert all(0 <= answer["probability"] <= 1 for answer in answers)
    assert answers[4]["probability"] == pytest.approx(answers[5]["probability"], abs=1e-5)


def test_training_again_gives_the_same_model(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "t.csv", messy_rows(60))
    first, again = (
        train(tmp_path / name, "--table", source, "--label", "bought", "--epochs", 3, "--seed", 5, job="ads") for name in "ab"
    )
    assert first["test"] == again["test"]
    columns = {"channel": ["web", "app", None], "消费 金额": [10, 50, 90.5]}
    one, two = (predict.predict(load_bundle(tmp_path / name), columns, 3).probability for name in "ab")
    assert np.array_equal(one, two)


@pytest.mark.parametrize("rows", [8, 12, 40])
def test_tiny_tables_train(rows: int, tmp_path: Path) -> None:
    cells = [[str(i % 5), "web" if i % 3 else "app", str(int(i % 4 == 0))] for i in range(rows)]
    source = write_csv(tmp_path / "t.csv", cells, ["clicks", "channel", "label"])
    metrics = train(tmp_path / "out", "--table", source, "--label", "label", job="recommendations")
    assert metrics["rows"]["read"] == rows
    assert load_bundle(tmp_path / "out").name == "recommendations-table"


def test_validation_and_test_files_are_used(tmp_path: Path) -> None:
    paths = [
        write_csv(tmp_path / f"{name}.csv.gz", messy_rows(count, count)) for name, count in (("a", 200), ("b", 40), ("c", 30))
    ]
    metrics = train(tmp_path / "out", "--table", paths[0], "--valid", paths[1], "--test", paths[2], "--label", "bought")
    assert (metrics["rows"]["train"], metrics["rows"]["validation"], metrics["rows"]["test"]) == (200, 40, 30)
    nothing_held = train(tmp_path / "all", "--table", paths[0], "--label", "bought", "--no-test")
    assert nothing_held["rows"]["test"] == 0
    assert nothing_held["test"] == {}
    assert set(nothing_held["baselines"]["lightgbm"]) == BINARY  # judged on validation instead


def test_parquet_and_json_lines_train_alike(tmp_path: Path) -> None:
    rows = messy_rows(120)
    columns = {name: [cells[i] or None for cells in rows] for i, name in enumerate(HEADER)}
    columns["消费 金额"] = [float(cell) if cell and cell[0].isdigit() else None for cell in columns["消费 金额"]]
    columns["bought"] = [cell == "yes" for cell in columns["bought"]]
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with (tmp_path / "t.jsonl").open("w") as stream:
        for row in range(120):
            cells = {name: cells[row] for name, cells in columns.items()}
            stream.write(json.dumps({name: cell for name, cell in cells.items() if cell is not None}) + "\n")
    of_parquet = train(tmp_path / "p", "--table", tmp_path / "t.parquet", "--label", "bought")
    of_lines = train(tmp_path / "j", "--table", tmp_path / "t.jsonl", "--label", "bought")
    assert of_parquet["rows"] == of_lines["rows"]
    kept = [{c.name: c.kind for c in load_bundle(tmp_path / name).encoder.columns} for name in "pj"]
    assert kept[0] == kept[1]


def test_a_table_without_a_useful_column_answers_the_base_rate(tmp_path: Path) -> None:
    source = write_csv(
        tmp_path / "t.csv", [[f"u{i}", "EUR", str(int(i % 4 == 0))] for i in range(40)], ["user_id", "c", "label"]
    )
    train(tmp_path / "out", "--table", source, "--label", "label")
    bundle = load_bundle(tmp_path / "out")
    assert bundle.manifest["model"] == "base-rate"
    assert predict.predict(bundle, {"c": ["EUR"] * 3}, 3).probability == pytest.approx([0.25] * 3, abs=0.02)


def test_model_base_rate_writes_constants(messy: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    metrics = train(tmp_path / "out", "--table", messy[0], "--label", "bought", "--model", "base-rate", job="ads")
    bundle = load_bundle(tmp_path / "out")
    assert (bundle.name, bundle.manifest["model"], metrics["test"]["auc"]) == ("ads-table", "base-rate", 0.5)
    assert set(predict.predict(bundle, {"channel": ["web", None]}, 2).probability) == {
        bundle.manifest["fallback"]["probability"]
    }


def test_tuning_keeps_the_best_on_validation(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "t.csv", messy_rows(200))
    metrics = train(tmp_path / "out", "--table", source, "--label", "bought", "--tune", 2, "--epochs", 4)
    assert len(metrics["tuning"]) == 3
    best = min(metrics["tuning"], key=lambda entry: entry["validation_loss"])
    assert metrics["validation"]["log_loss"] == pytest.approx(best["validation_loss"], abs=1e-6)
    assert load_bundle(tmp_path / "out").manifest["options"]["learning_rate"] == best["learning_rate"]
