"""Files for ads: impressions in order, with their faults, and ads for the catalogue."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from personalization.ads.ad_catalog import AdCatalog
from personalization.batch.output import PartsOutput, StreamOutput
from personalization.batch.row_counts import RowCounts, TooManyRejects
from personalization.batch.scoring import score_file
from personalization.batch.task import JobDependencies, ScoringTask
from personalization.bundles.bundle import Bundle, load_bundle
from personalization.core.errors import InvalidInput
from personalization.core.events import Events, empty_events
from tests.ads_bundle import ads_bundle, click
from tests.bundles import flat_bundle
from tests.support import DAY_MS, events_of
from training.cli import main

NINE = 1_790_000_000 // 86_400 * 86_400 + 9 * 3600

LOG = f"""user_id,ad_id,timestamp,size,channel,click
u,a,{NINE},2,app,1
v,b,{NINE + 3600},0,mail,0
,b,{NINE},0,mail,0
u,,{NINE},0,mail,0
u,a,soon,0,mail,0
"broken"x,a
u,b,{NINE + 7200},1,,
"""
WRONG = f"user_id,ad_id,timestamp,size\nu,a,{NINE},large\nu,a,{NINE},1\n"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    ads_bundle(tmp_path / "ads")
    return load_bundle(tmp_path / "ads")


def scored(bundle: Bundle, tmp_path: Path, text: str, **options: Any) -> tuple[list[dict[str, Any]], RowCounts]:
    source = tmp_path / "file.csv"
    source.write_text(text)
    stream = io.BytesIO()
    row_counts = score_file(bundle, ScoringTask(source, StreamOutput(stream), **options))
    return [json.loads(line) for line in stream.getvalue().splitlines()], row_counts


def test_a_row_is_a_line_with_its_chances(bundle: Bundle, tmp_path: Path) -> None:
    lines, row_counts = scored(bundle, tmp_path, LOG)
    assert [line["row"] for line in lines] == [0, 1, 6]
    chance = click("app", ad__size=2, hour=9)
    assert lines[0] == {
        "row": 0, "user_id": "u", "ad_id": "a",
        "probability": pytest.approx(chance, abs=1e-6), "pctr": pytest.approx(chance, abs=1e-6),
        "pcvr": 0.5, "pconversion": pytest.approx(chance / 2, abs=1e-6),
    }  # fmt: skip
    assert lines[2]["pctr"] == pytest.approx(click(ad__size=1, hour=11), abs=1e-6)
    assert (row_counts.kind, row_counts.rows_in, row_counts.rows_used, row_counts.rejected) == ("impressions", 7, 3, 4)


def test_rejects_name_the_line_and_the_cell(bundle: Bundle, tmp_path: Path) -> None:
    source, results = tmp_path / "file.csv", tmp_path / "results"
    source.write_text(LOG)
    results.mkdir()
    with PartsOutput(results) as output:
        score_file(bundle, ScoringTask(source, output))
    rejects = [json.loads(line) for line in (results / "rejects.jsonl").read_text().splitlines()]
    assert [(reject["line"], reject["pointer"]) for reject in rejects] == [
        (4, "/user_id"), (5, "/ad_id"), (6, "/timestamp"), (7, "")
    ]  # fmt: skip


def test_a_cell_that_the_model_cannot_read_rejects_its_row(bundle: Bundle, tmp_path: Path) -> None:
    lines, row_counts = scored(bundle, tmp_path, WRONG)
    assert [line["row"] for line in lines] == [1]
    assert set(row_counts.reasons) == {"/size: expected a number"}
    lines, row_counts = scored(bundle, tmp_path, WRONG, on_bad_row="missing")
    assert lines[0]["pctr"] == pytest.approx(click(hour=9), abs=1e-6)
    assert row_counts.bad_cells == 1


def test_predict_keeps_every_row(bundle: Bundle, tmp_path: Path) -> None:
    lines, row_counts = scored(bundle, tmp_path, LOG, on_bad_row="missing")
    assert [line["row"] for line in lines] == list(range(7))
    assert (row_counts.rows_in, row_counts.rows_used, row_counts.bad_cells) == (7, 7, 4)
    assert lines[3]["ad_id"] is None
    # a row without a moment is asked at the newest of the file: eleven o'clock
    assert lines[4]["pctr"] == pytest.approx(click("mail", hour=11), abs=1e-6)


def test_what_state_knows_of_a_user_counts(bundle: Bundle, tmp_path: Path) -> None:
    rows = [
        {"user_id": "u", "timestamp": NINE * 1000 - n * DAY_MS, "event_type": "purchase", "order_id": str(n)}
        for n in (-1, 1, 2)
    ]

    def read(user: str) -> Events:
        return events_of(rows) if user == "u" else empty_events([user])

    lines, _ = scored(bundle, tmp_path, LOG, dependencies=JobDependencies(read_events=read))
    # two orders lie before the first impression; the third, a day later, is not known yet
    assert lines[0]["pctr"] == pytest.approx(click("app", ad__size=2, hour=9, orders=2), abs=1e-6)
    assert lines[1]["pctr"] == pytest.approx(click("mail", hour=10), abs=1e-6)


def test_rows_are_the_same_in_any_order(bundle: Bundle, tmp_path: Path) -> None:
    header, *rows = LOG.splitlines()
    good = [rows[n] for n in (0, 1, 6)]
    forward, _ = scored(bundle, tmp_path, "\n".join([header, *good]))
    backward, _ = scored(bundle, tmp_path, "\n".join([header, *reversed(good)]))
    assert [line["pctr"] for line in forward] == [line["pctr"] for line in reversed(backward)]


def test_candidates_are_asked_for_when_they_were_dropped(bundle: Bundle, tmp_path: Path) -> None:
    text = "user_id,ad_id,campaign_id,size\nu,a,c,2\nv,b,c,\n"
    lines, row_counts = scored(bundle, tmp_path, text, dropped_at=NINE * 1000)
    assert [line["ad_id"] for line in lines] == ["a", "b"]
    assert lines[0]["pctr"] == pytest.approx(click(ad__size=2, hour=9), abs=1e-6)
    assert (row_counts.kind, row_counts.as_of, row_counts.rows_used) == ("candidates", NINE * 1000, 2)
    lines, _ = scored(bundle, tmp_path, text, as_of=NINE * 1000 + 2 * 3_600_000, on_bad_row="missing")
    assert lines[1]["pctr"] == pytest.approx(click(hour=11), abs=1e-6)
    with pytest.raises(InvalidInput, match="timestamp, or --as-of"):
        scored(bundle, tmp_path, text)


def test_the_catalogue_tells_what_the_file_does_not(bundle: Bundle, tmp_path: Path) -> None:
    ads = [{"ad_id": "a", "size": 1, "creative": "blue", "channel": "app"}, {"ad_id": "b", "size": 4, "creative": "blue"}]
    text = f"user_id,ad_id,timestamp,size,channel\nu,a,{NINE},2,\nu,a,{NINE},,mail\nu,b,{NINE},,\nu,c,{NINE},1,\n"
    around = JobDependencies(read_ads=lambda: AdCatalog("v1", 0, ads))
    lines, row_counts = scored(bundle, tmp_path, text, dependencies=around)
    expected = [
        click("app", "blue", ad__size=2, hour=9),  # the file's own size
        click("mail", "blue", ad__size=1, hour=9),  # and its own channel: there the ad was shown
        click(None, "blue", ad__size=4, hour=9),
        click(ad__size=1, hour=9),
    ]
    assert [line["pctr"] for line in lines] == pytest.approx(expected, abs=1e-6)
    assert row_counts.catalog == "v1"


@pytest.mark.parametrize("header", ["user_id,clicks", "ad_id,clicks", "x,y"])
def test_a_file_that_is_no_log(bundle: Bundle, tmp_path: Path, header: str) -> None:
    with pytest.raises(InvalidInput, match="expected impressions"):
        scored(bundle, tmp_path, f"{header}\nu,a\n")


def test_ads_are_stored_by_a_stack_alone(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="drop it into the stack"):
        scored(bundle, tmp_path, ADS)


ADS = """ad_id,campaign_id,bid,ends_at,genres
a,c,1.5,2026-12-01,x|y
a,c,2,,
b,c,dear,,
c,,1,,
d,c,,,
"""


def test_a_file_of_ads_is_the_catalogue(bundle: Bundle, tmp_path: Path) -> None:
    taken: list[Any] = []
    around = JobDependencies(write_ads=lambda ads, dropped_at: taken.append((ads, dropped_at)))
    lines, row_counts = scored(bundle, tmp_path, ADS, dependencies=around, dropped_at=7)
    assert taken == [
        (
            [
                {"ad_id": "a", "campaign_id": "c", "bid": "1.5", "ends_at": "2026-12-01", "genres": "x|y"},
                {"ad_id": "d", "campaign_id": "c"},
            ],
            7,
        )
    ]
    assert [line["ad_id"] for line in lines] == ["a", "d"]
    assert (row_counts.kind, row_counts.rows_in, row_counts.rows_used, row_counts.rejected) == ("ads", 5, 2, 3)
    assert set(row_counts.reasons) == {
        "/ad_id: expected each ad once",
        "/bid: expected a number",
        "/campaign_id: expected the id of a campaign, at most 256 characters",
    }


def test_too_many_bad_ads_change_nothing(bundle: Bundle, tmp_path: Path) -> None:
    taken: list[Any] = []
    around = JobDependencies(write_ads=lambda *ads: taken.append(ads))
    with pytest.raises(TooManyRejects):
        scored(bundle, tmp_path, ADS, max_reject_share=0.5, dependencies=around)
    assert taken == []


def test_predict_knows_ads_and_histories_from_files(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, ads, orders, out = (tmp_path / name for name in ("log.csv", "ads.csv", "orders.csv", "out.jsonl"))
    log.write_text(f"user_id,ad_id,timestamp\nu,a,{NINE}\nv,b,{NINE}\n,a,{NINE}\n")
    ads.write_text("ad_id,size,creative\na,2,blue\na,9,red\n")
    orders.write_text(
        "user_id,item_id,event_type,timestamp,order_id\n"
        f"u,x,purchase,{NINE - 86_400},1\nu,x,purchase,{NINE - 2 * 86_400},2\nu,x,purchase,{NINE + 60},3\nw,x,view,{NINE},\n"
    )
    arguments = ["predict", bundle.directory, "--in", log, "--ads", ads, "--interactions", orders, "--out", out]
    assert main([str(argument) for argument in arguments]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    expected = [click(None, "blue", ad__size=2, hour=9, orders=2), click(hour=9), click(None, "blue", ad__size=2, hour=9)]
    assert [line["probability"] for line in lines] == pytest.approx(expected, abs=1e-6)
    assert "3 rows scored; 1 bad cells" in capsys.readouterr().err


def test_predict_knows_from_a_log_what_users_had_seen(bundle: Bundle, tmp_path: Path) -> None:
    log, asked, out = (tmp_path / name for name in ("log.csv", "asked.csv", "out.jsonl"))
    log.write_text(f"user_id,ad_id,timestamp,click\nu,a,{NINE - 60},1\nu,a,{NINE - 30},0\nu,b,{NINE - 30},0\nu,a,{NINE},1\n")
    asked.write_text(f"user_id,ad_id,timestamp\nu,a,{NINE}\nu,a,{NINE - 30}\nv,a,{NINE}\nu,c,{NINE}\n")
    arguments = ["predict", bundle.directory, "--in", asked, "--impressions", log, "--out", out]
    assert main([str(argument) for argument in arguments]) == 0
    found = [json.loads(line)["probability"] for line in out.read_text().splitlines()]
    expected = [click(hour=9, pair__seen=2), click(hour=8, pair__seen=1), click(hour=9), click(hour=9)]
    assert found == pytest.approx(expected, abs=1e-6)


def test_other_models_take_no_table_of_ads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flat_bundle(tmp_path / "flat")
    (tmp_path / "in.csv").write_text("click_count\n1\n")
    arguments = ["predict", tmp_path / "flat", "--in", tmp_path / "in.csv", "--ads", tmp_path / "in.csv", "--out", "-"]
    assert main([str(argument) for argument in arguments]) == 2
    assert "received one of table" in capsys.readouterr().err
