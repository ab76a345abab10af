"""The pieces of the tour: when a bundle is reused, the file that is dropped, and what is printed."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from local import bundle_reuse, stack_file
from local.tour import data, steps, tour
from local.tour.commands import CommandFailed, run_module
from local.tour.data import Tables, spoilt_file
from local.tour.models import fingerprint, models
from local.tour.terminal import WIDTH, Terminal, pretty, short
from tests.ads_bundle import ads_bundle
from tests.bundles import THRESHOLDS, expected_probability, flat_bundle, profiles_bundle
from tests.recommendations_bundle import recommendations_bundle


@pytest.fixture
def project(tmp_path: Path) -> dict[str, Path]:
    """A data file, a source tree and a bundle."""
    (tmp_path / "code" / "deep").mkdir(parents=True)
    (tmp_path / "bundle").mkdir()
    paths = {
        "data": tmp_path / "data.csv",
        "source": tmp_path / "code" / "deep" / "module.py",
        "code": tmp_path / "code",
        "bundle": tmp_path / "bundle",
    }
    paths["data"].write_text("a\n1\n")
    paths["source"].write_text("x = 1\n")
    (paths["bundle"] / "bundle.json").write_text("{}")
    return paths


def _fingerprint(project: dict[str, Path], *options: str) -> str:
    return bundle_reuse.fingerprint([project["data"]], options, [project["code"]])


def test_a_bundle_is_current_until_data_code_options_or_itself_change(project: dict[str, Path]) -> None:
    bundle, value = project["bundle"], _fingerprint(project, "--seed", "1")
    assert not bundle_reuse.is_current(bundle, value)
    bundle_reuse.record(bundle, value)
    assert bundle_reuse.is_current(bundle, _fingerprint(project, "--seed", "1"))
    assert not bundle_reuse.is_current(bundle, _fingerprint(project, "--seed", "2"))

    project["data"].write_text("a\n2\n")
    assert not bundle_reuse.is_current(bundle, _fingerprint(project, "--seed", "1"))
    project["data"].write_text("a\n1\n")
    assert bundle_reuse.is_current(bundle, _fingerprint(project, "--seed", "1"))

    project["source"].write_text("x = 2\n")
    assert not bundle_reuse.is_current(bundle, _fingerprint(project, "--seed", "1"))
    project["source"].write_text("x = 1\n")
    (project["code"] / "new.py").write_text("")
    assert not bundle_reuse.is_current(bundle, _fingerprint(project, "--seed", "1"))
    (project["code"] / "new.py").unlink()

    (bundle / "bundle.json").write_text('{"format": 1}')
    assert not bundle_reuse.is_current(bundle, value)


def test_a_training_that_breaks_off_leaves_nothing_to_reuse(project: dict[str, Path]) -> None:
    value = _fingerprint(project)
    bundle_reuse.record(project["bundle"], value)
    bundle_reuse.remove_record(project["bundle"])
    assert not bundle_reuse.is_current(project["bundle"], value)


def test_what_a_project_hashes_is_there() -> None:
    for path in bundle_reuse.CODE[:2]:
        assert any(path.rglob("*.py")), path


def _interactions(path: Path) -> None:
    """Thirty purchases each of the users 7, 10 and 20, one a day."""
    with gzip.open(path, "wt", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["user_id", "item_id", "event_type", "timestamp", "quantity"])
        writer.writerows(
            [str(user), f"item-{day}", "purchase", f"2017-12-{day:02}T10:00:00Z", "1.0"]
            for day in range(1, 31)
            for user in (7, 10, 20)
        )


def test_the_dropped_file_holds_whole_histories_with_five_rows_spoilt(tmp_path: Path) -> None:
    source, target = tmp_path / "interactions.csv.gz", tmp_path / "out" / "drop.csv"
    _interactions(source)

    dropped = spoilt_file(source, target, now=datetime(2026, 3, 4, 12, tzinfo=UTC))

    lines = target.read_bytes().split(b"\n")
    assert dropped.rows == 60  # users 10 and 20; 7 is not one in ten
    assert len(lines) == 1 + 60 + 1
    assert {number for number, _ in dropped.bad} == {12, 22, 32, 42, 52}  # 60 * k // 6 + 2
    spoilt = [lines[number - 1] for number, _ in dropped.bad]
    assert spoilt[0].startswith(b",item-")
    assert b"last tuesday" in spoilt[1]
    assert spoilt[2].endswith(b",two")
    assert b"caf\xe9" in spoilt[3]
    assert spoilt[4].count(b'"') == 1
    # 2017-12-30 is a Saturday; 426 weeks later is 2026-02-28, the last Saturday before the 4th of March.
    assert lines[60] == b"20,item-30,purchase,2026-02-28T10:00:00Z,1.0"
    assert dropped.household == "20"


def test_a_command_that_fails_says_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"json\.tool .*none\.json ended with status [12]"):
        run_module("json.tool", [str(tmp_path / "none.json")], tmp_path / "logs" / "log")
    run_module("json.tool", ["--help"], tmp_path / "logs" / "log")
    assert "usage" in (tmp_path / "logs" / "log").read_text()


def test_json_is_cut_and_folded_to_the_width_of_a_terminal() -> None:
    value = {"id": "x" * 200, "items": [{"name": f"item {i}", "score": 0.123456789, "why": "w" * 40} for i in range(9)]}
    text = pretty(value)
    assert max(map(len, text.splitlines())) <= WIDTH
    content = json.loads(text)
    assert content["items"][:2] == [{"name": f"item {i}", "score": 0.1235, "why": "w" * 40} for i in range(2)]
    assert content["items"][3] == "… 6 more"
    assert len(content["id"]) == 72
    assert short({"whole": [1, 2, 3]}) == {"whole": [1, 2, 3]}


def test_without_a_terminal_there_is_no_colour_and_no_clock() -> None:
    stream = io.StringIO()
    show = Terminal(stream)
    show.heading("One")
    show.command("curl " + "x" * 200)
    with show.working("two"):
        pass
    show.table([["a", "b"], ["long", "c"]])
    lines = stream.getvalue().splitlines()
    assert "\x1b" not in stream.getvalue()
    assert "\r" not in stream.getvalue()
    assert max(map(len, lines)) <= WIDTH
    assert lines[-2:] == ["    a     b", "    long  c"]


def test_the_whole_tour_with_models_that_are_there_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every step but the training, which other tests do."""
    monkeypatch.delenv("FRESH", raising=False)
    tables = _small_shop(tmp_path / "data")
    monkeypatch.setattr(steps, "prepare", lambda log: tables)
    bundles = tmp_path / "bundles"
    with_thresholds = partial(profiles_bundle, content={"behaviour": THRESHOLDS})
    for model in models(tables, bundles):
        own = {"profiles": with_thresholds, "recommendations": recommendations_bundle, "ads": ads_bundle}
        own.get(model.name, partial(flat_bundle, name=model.name))(model.directory)
        metrics = {"test": {"auc": 0.75, "log_loss": 0.5}, "baselines": {"base_rate": {"auc": 0.5, "log_loss": 0.625}}}
        (model.directory / "metrics.json").write_text(json.dumps(metrics))
        bundle_reuse.record(model.directory, fingerprint(model))

    status = tour(tmp_path / "home", bundles=bundles)

    printed = capsys.readouterr()
    assert (status, printed.err) == (0, "")
    assert max(map(len, printed.out.splitlines())) <= WIDTH
    for caption, _ in steps.STEPS:
        assert caption in printed.out
    assert re.search(r"profiles-table +reused +AUC 0\.750 \(0\.500\) +log loss 0\.500 \(0\.625\)", printed.out)
    assert '"rows_in": 60,\n      "rows_used": 55,\n      "rejected": 5' in printed.out
    assert "received 'last tuesday'" in printed.out
    probability = expected_probability(0, 0, "web")
    assert f"row 0: {probability:.3f} (label 1)" in printed.out
    # Of what nobody had yet the most taken comes first; whoever bought it is shown what goes with it.
    assert re.search(r"1 +Mug \(mug\) +popular in kitchen", printed.out), printed.out
    assert re.search(r"before +after\n +1 +Mug \(mug\) +Teapot \(teapot\)", printed.out)
    assert "Similar items: " in printed.out
    # A bid of 400 for a thousand is .4 for one, which a budget of 2 bears five times.
    assert re.search(r"( +\d +paid-2 +400 +paid-1 +outscored\n){5} +6 +paid-1 +250 +paid-2 +budget_spent\n", printed.out), (
        printed.out
    )
    # The household is user 20: thirty purchases a day apart, none spoilt; one more on the way, and one is added here.
    assert re.search(r"orders +31 +32\n", printed.out)
    with pytest.raises(stack_file.NotRunning):
        stack_file.find(tmp_path / "home" / "tour")


def _small_shop(directory: Path) -> Tables:
    directory.mkdir()
    tables = data.tables(directory)
    _interactions(tables.interactions)
    ads = "ad_id,campaign_id,creative,channel,products\n1,1,red,mail,9\n2,2,blue,mail,5\n"
    contents = {
        tables.items: "item_id\nitem-1\n",
        tables.users: "user_id\n10\n",
        tables.ads: ads,
        tables.impressions: "user_id\n",
    }
    for path, content in contents.items():
        with gzip.open(path, "wt") as stream:
            stream.write(content)
    for path in tables.flat.values():
        path.write_text("user_id,click_count,view_duration,channel,label\n" + "".join(f"{n},{n},{n},web,1\n" for n in range(4)))
    return tables
