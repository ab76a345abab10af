"""Files for recommendations: lists for users, and items for the catalogue."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from personalization.batch.app import batch_handler
from personalization.batch.output import StreamOutput
from personalization.batch.row_counts import RowCounts, TooManyRejects
from personalization.batch.scoring import score_file
from personalization.batch.task import JobDependencies, ScoringTask
from personalization.bundles import promote, publish
from personalization.bundles.bundle import Bundle
from personalization.catalog import CatalogPart, CatalogReader, ItemCatalog, empty_catalog
from personalization.core.errors import InvalidInput
from personalization.recommendations.recommend import recommend
from tests.integration.test_batch_jobs import CONTEXT, DATA, MODELS, files, message, put
from tests.recommendations_bundle import ITEMS, hand_bundle, recommendations_bundle, scores_by_hand
from tests.support import events_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

POPULAR = sorted(ITEMS, key=lambda item: -ITEMS[item][1])


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return hand_bundle(tmp_path / "bundle")


def scored(bundle: Bundle, path: Path, content: str, **options: Any) -> tuple[list[dict[str, Any]], RowCounts]:
    path.write_text(content)
    stream = io.BytesIO()
    row_counts = score_file(bundle, ScoringTask(path, StreamOutput(stream), **options))
    assert row_counts.rows_in == row_counts.rows_used + row_counts.rejected
    return [json.loads(line) for line in stream.getvalue().splitlines()], row_counts


def by_hand(had: list[str]) -> list[str]:
    scores = scores_by_hand(had)
    return sorted(ITEMS, key=lambda item: (item in had, -scores[item]))


def names(line: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in line["items"]]


def test_users_with_histories(bundle: Bundle, tmp_path: Path) -> None:
    rows = [
        {"user_id": "u1", "history": ["teapot", "unheard-of"]},
        {"user_id": 2, "history": []},
        {"user_id": "u3"},
        {"user_id": "u1", "history": "spade|teapot"},
    ]
    lines, row_counts = scored(bundle, tmp_path / "users.jsonl", "\n".join(map(json.dumps, rows)), k=8)
    assert [line["user_id"] for line in lines] == ["u1", "2", "u3", "u1"]
    assert names(lines[0]) == by_hand(["teapot"])
    assert names(lines[1]) == names(lines[2]) == POPULAR
    assert names(lines[3]) == by_hand(["spade", "teapot"])
    assert lines[0]["items"][0]["score"] == pytest.approx(
        max(s for i, s in scores_by_hand(["teapot"]).items() if i != "teapot"), abs=1e-5
    )
    assert (row_counts.rows_used, row_counts.users, row_counts.kind) == (4, 3, "users")
    assert [line["items"] for line in lines] == recommend(bundle, [["teapot"], [], [], ["spade", "teapot"]], 8)


def test_rows_that_are_no_users(bundle: Bundle, tmp_path: Path) -> None:
    content = '{"user_id": "a", "history": ["mug"]}\n{"history": ["mug"]}\n{"user_id": "b", "history": 7}\nnothing\n'
    lines, row_counts = scored(bundle, tmp_path / "users.jsonl", content, k=3)
    assert [line["user_id"] for line in lines] == ["a"]
    assert sorted(row_counts.reasons) == [
        "/history: expected a list of item ids",
        "/user_id: expected an id of at most 256 characters",
        next(reason for reason in row_counts.reasons if not reason.startswith("/")),
    ]
    lines, row_counts = scored(bundle, tmp_path / "users.jsonl", content, k=3, on_bad_row="missing")
    assert [line["user_id"] for line in lines] == ["a", None, "b"]
    assert [len(line["items"]) for line in lines] == [3, 3, 3]
    with pytest.raises(TooManyRejects):
        scored(bundle, tmp_path / "users.jsonl", content, max_reject_share=0.1)


def test_interactions(bundle: Bundle, tmp_path: Path) -> None:
    content = (
        "user_id,item_id,event_type,timestamp\n"
        "u1,teapot,purchase,2026-01-05\nu2,spade,view,2026-01-06\nu1,mug,purchase,2026-01-07\nu2,unheard-of,view,2026-01-07\n"
        "u3,unheard-of,view,2026-01-07\n"
    )
    lines, row_counts = scored(bundle, tmp_path / "shop.csv", content, k=4)
    found = {line["user_id"]: names(line) for line in lines}
    assert found == {"u1": by_hand(["teapot", "mug"])[:4], "u2": by_hand(["spade"])[:4], "u3": POPULAR[:4]}
    assert row_counts.as_of == datetime(2026, 1, 7, tzinfo=UTC).timestamp() * 1000
    as_of = int(datetime(2026, 1, 5, 12, tzinfo=UTC).timestamp() * 1000)
    lines, _ = scored(bundle, tmp_path / "shop.csv", content, k=4, as_of=as_of)
    found = {line["user_id"]: names(line) for line in lines}
    assert found == {"u1": by_hand(["teapot"])[:4], "u2": POPULAR[:4], "u3": POPULAR[:4]}


def test_users_whose_ids_alone_are_told_are_known_from_state(bundle: Bundle, tmp_path: Path) -> None:
    bought = events_of([{"user_id": "u1", "item_id": "spade", "timestamp": 1_700_000_000_000, "event_type": "purchase"}])
    nobody = events_of([]).take(slice(0))
    here = JobDependencies(read_events=lambda user: bought if user == "u1" else nobody)
    lines, _ = scored(bundle, tmp_path / "users.csv", "user_id\nu1\nu2\nu1\n", k=3, dependencies=here)
    assert [names(line) for line in lines] == [by_hand(["spade"])[:3], POPULAR[:3], by_hand(["spade"])[:3]]


def test_the_items_are_those_of_the_catalogue(bundle: Bundle, tmp_path: Path) -> None:
    taken: list[CatalogPart] = []
    items = "item_id,category,brand,removed\nhoe,garden,Bolt,\nrake,,,true\n"
    lines, row_counts = scored(bundle, tmp_path / "items.csv", items, dependencies=JobDependencies(write_catalog=taken.append))
    assert lines == [{"item_id": "hoe", "status": "stored"}, {"item_id": "rake", "status": "removed"}]
    assert row_counts.kind == "items"
    folded = empty_catalog().with_part(taken[0])
    catalogue = ItemCatalog(folded.ids, folded.columns, folded.removed, "v1")
    told = '{"user_id": "u", "history": ["spade"]}\n{"user_id": "v", "history": ["hoe"]}'
    lines, row_counts = scored(
        bundle, tmp_path / "users.jsonl", told, k=50, dependencies=JobDependencies(read_catalog=lambda: catalogue)
    )
    assert row_counts.catalog == "v1"
    assert names(lines[0])[0] == "hoe"
    assert lines[0]["items"][0]["score"] == pytest.approx(2 * 0.9 + 0.25, rel=1e-4)
    for line in lines:
        assert set(names(line)) == set(ITEMS) - {"rake"} | {"hoe"}
    assert names(lines[1])[-1] == "hoe"


def test_rows_that_are_no_items(bundle: Bundle, tmp_path: Path) -> None:
    taken: list[CatalogPart] = []
    here = JobDependencies(write_catalog=taken.append)
    content = "item_id,price\na,1\n,2\nb,much\na,3\n"
    lines, row_counts = scored(bundle, tmp_path / "items.csv", content, dependencies=here)
    assert [line["item_id"] for line in lines] == ["a", "a"]
    assert (row_counts.rows_in, row_counts.rejected) == (4, 2)
    assert taken[0].columns["price"].cells() == ["3"]
    taken.clear()
    with pytest.raises(TooManyRejects):
        scored(bundle, tmp_path / "items.csv", content, dependencies=here, max_reject_share=0.1)
    assert not taken


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("item_id,price\na,1\n", "into its inbox"),
        ("user_id,item_id,timestamp\nu,i,2026-01-01\n", "missing: event_type"),
        ("colour\nred\n", "expected interactions, users or items"),
    ],
)
def test_files_that_cannot_be_used(bundle: Bundle, tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        scored(bundle, tmp_path / "f.csv", content)


def test_dropped_files_through_the_function(
    s3: S3Client, dynamodb: DynamoDBClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_CACHE_DIR", str(tmp_path / "cache"))
    recommendations_bundle(tmp_path / "bundle")
    promote(s3, MODELS, "recommendations", publish(s3, MODELS, tmp_path / "bundle"))
    handler = batch_handler("recommendations")
    items = put(s3, "inbox/recommendations/new/items.csv", "item_id,category,brand\nhoe,garden,Bolt\n")
    bought = put(
        s3, "inbox/recommendations/shop.csv", "user_id,item_id,event_type,timestamp\nu1,spade,purchase,2026-01-05T10:00:00Z\n"
    )
    users = put(s3, "inbox/recommendations/users/all.csv", "user_id\nu1\nnobody\n")
    for key in (items, bought, users):
        assert handler(message(key), CONTEXT) == {"batchItemFailures": []}
    version = CatalogReader(s3, DATA).get().version
    for file in ("shop.csv", "users/all.csv"):
        found = files(s3, f"results/recommendations/{file}/")
        lines = [json.loads(line) for line in found["part-00000.jsonl"].splitlines()]
        assert lines[0]["user_id"] == "u1"
        assert names(lines[0])[:2] == ["rake", "hoe"]
        manifest = json.loads(found["manifest.json"])
        assert manifest["catalogue"] == {"version": version}
        assert manifest["rows_in"] == manifest["rows_used"] == len(lines)
    assert names(lines[1])[:2] == POPULAR[:2]
