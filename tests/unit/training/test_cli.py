"""The command line: mistakes are said in one line, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from training.cli import main
from training.cli.predict import as_of_timestamp
from training.cli.store import parse_store


def table(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def mistake(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that is said; argparse says its own and exits."""
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as exit_:
        status = int(str(exit_.code))
    assert status == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_mistakes_of_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ("--out", tmp_path / "out")
    good = table(tmp_path / "t.csv", "a,label\n" + "1,0\n2,1\n" * 10)
    three = table(tmp_path / "three.csv", "a,label\n" + "1,x\n2,y\n3,z\n" * 5)
    few = table(tmp_path / "few.csv", "a,label\n1,0\n2,1\n")
    empty = table(tmp_path / "empty.csv", "a,label\n")
    said = [
        (("train", "ads", *out), "expected either --table with --label, or --impressions; received neither"),
        (("train", "profiles", "--table", good, "--interactions", good, "--label", "label", *out), "received both"),
        (("train", "ads", "--table", good, *out), "expected --label"),
        (
            ("train", "ads", "--table", good, "--label", "labl", *out),
            "expected a label column 'labl' in t.csv; its columns are 'a', 'label'",
        ),
        (("train", "ads", "--table", three, "--label", "label", *out), "received 3: 'x' (5 rows), 'y' (5 rows), 'z' (5 rows)"),
        (("train", "ads", "--table", few, "--label", "label", *out), "expected at least 8 rows with a label, received 2"),
        (("train", "ads", "--table", empty, "--label", "label", *out), "expected rows in empty.csv, received none"),
        (("train", "ads", "--table", tmp_path / "none.csv", "--label", "label", *out), "No such file"),
        (("train", "ads", "--table", good, "--label", "label", "--no-test", "--test", good, *out), "received both"),
        (("train", "ads", "--table", good, "--label", "label", "--folds", "1", *out), "expected at least 2 folds"),
        (("train", "ads", "--table", good, "--label", "label"), "the following arguments are required: --out"),
        (("train", "shoes", *out), "invalid choice: 'shoes'"),
        (("train", "ads", "--table", good, "--label", "label", "--seed", "x", *out), "invalid int value: 'x'"),
        (("train", "ads", "--table", good, "--label", "label", "--timezone", "Mars", *out), "expected a time zone such as"),
        (("train", "profiles", "--interactions", good, "--cutoff", "soon", *out), "expected a date such as 2026-01-31"),
        (("train", "profiles", "--interactions", good, "--map", "nonsense", *out), "expected a mapping"),
    ]
    for arguments, expected in said:
        line = mistake(capsys, *arguments)
        assert expected in line, (arguments, line)
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_mistakes_of_the_store(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODEL_STORE", raising=False)
    assert "expected --store s3://BUCKET, --stack NAME, or the environment variable MODEL_STORE" in mistake(capsys, "list")
    assert "expected a store such as s3://my-models, received '/tmp'" in mistake(capsys, "list", "--store", "/tmp")
    assert "received 'shoes'" in mistake(capsys, "rollback", "shoes")


def test_mistakes_of_predict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = table(tmp_path / "t.csv", "a\n1\n")
    out = tmp_path / "p.jsonl"
    assert "found none at" in mistake(capsys, "predict", tmp_path, "--in", tmp_path / "none.csv", "--out", out)
    assert "expected a bundle, found no bundle.json" in mistake(capsys, "predict", tmp_path, "--in", rows, "--out", out)
    assert not out.exists()


def test_as_of_is_in_the_bundles_time_zone_unless_it_says_otherwise() -> None:
    assert as_of_timestamp("2026-07-01T00:00:00Z", "Europe/Berlin") == 1_782_864_000_000
    assert as_of_timestamp("2026-07-01T00:00:00", "Europe/Berlin") == 1_782_864_000_000 - 2 * 3_600_000


def test_as_of_a_day_is_the_moment_before_it_begins() -> None:
    assert as_of_timestamp("2026-07-01", "UTC") == as_of_timestamp("2026-07-01T00:00:00Z", "UTC") - 1


def test_a_store_is_a_bucket() -> None:
    assert parse_store("s3://models") == "models"
    assert parse_store("s3://models/") == "models"


@pytest.mark.parametrize("command", [("--help",), ("train", "profiles", "--help"), ("list", "--store", "file:///x")])
def test_tensorflow_is_not_imported_before_something_is_trained(command: tuple[str, ...]) -> None:
    heavy = ("tensorflow", "keras", "lightgbm", "sklearn", "optuna")
    script = (
        "import sys; from training.cli import main\n"
        f"try: main({list(command)!r})\nexcept SystemExit: pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
