"""Interactions through the batch code: one profile for each user, over files of any order and size."""

from __future__ import annotations

import io
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalization.batch import user_events
from personalization.batch.output import PartsOutput, StreamOutput
from personalization.batch.partitions import EventPartitions, Partition, partition_count
from personalization.batch.row_counts import RowCounts, TooManyRejects
from personalization.batch.scoring import score_file
from personalization.batch.task import JobDependencies, ScoringTask
from personalization.bundles.bundle import Bundle, load_bundle
from personalization.core.errors import InvalidInput
from personalization.core.events import Events
from personalization.data import ParsedEvents, SeenIds, parse_events
from tests.bundles import profiles_bundle

HEAD = "user_id,item_id,event_type,timestamp,quantity,unit_price,order_id,event_id,category\n"
DAY = 86_400


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    directory = tmp_path_factory.mktemp("profiles")
    profiles_bundle(directory)
    return load_bundle(directory)


def score(bundle: Bundle, path: Path, **options: Any) -> tuple[dict[str, dict[str, Any]], RowCounts]:
    """{user id: profile} and the account."""
    stream = io.BytesIO()
    row_counts = score_file(bundle, ScoringTask(path, StreamOutput(stream), **options))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(lines) == len({line["user_id"] for line in lines}) == row_counts.users
    return {line["user_id"]: line for line in lines}, row_counts


def shop(count: int, users: int, seed: int = 5) -> list[str]:
    """Purchases, views and returns of a made-up shop, in no order of users."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        user, item, kind = rng.randrange(users), rng.randrange(50), rng.choice(["view", "purchase", "purchase", "refund"])
        second, pieces, price = 1_700_000_000 + rng.randrange(300) * DAY, rng.randint(1, 3), rng.randint(1, 9)
        order, category = rng.randrange(count), rng.randrange(4)
        rows.append(f"u{user},i{item},{kind},{second},{pieces},{price}.5,o{order},,c{category}\n")
    return rows


def test_profiles_are_those_of_each_users_own_rows(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = shop(3_000, users=90)
    path = tmp_path / "rows"
    path.write_text(HEAD + "".join(rows))
    count, value = defaultdict(int), defaultdict(float)
    for row in rows:
        user, _, kind, _, quantity, price, *_ = row.split(",")
        count[user] += 1
        value[user] += {"view": 0, "purchase": 1, "refund": -1}[kind] * int(quantity) * float(price)
    monkeypatch.setattr(user_events, "USERS_PER_CHUNK", 7)
    for shares in (1, 5):
        monkeypatch.setattr(user_events, "partition_count", lambda path, shares=shares: shares)
        profiles, row_counts = score(bundle, path)
        assert set(profiles) == set(count)
        for user, profile in profiles.items():
            assert profile["probability"] == pytest.approx(2 * count[user] / (1 + 2 * count[user]), abs=1e-6)
            assert profile["expected_spend"] == pytest.approx(value[user], abs=1e-3)
        assert (row_counts.rows_in, row_counts.rows_used, row_counts.rejected, row_counts.users) == (3_000, 3_000, 0, 90)
        assert row_counts.returns == sum(",refund," in row for row in rows)


def test_the_account_of_returns_duplicates_and_bad_rows(bundle: Bundle, tmp_path: Path):
    path = tmp_path / "rows"
    path.write_text(
        HEAD
        + "u1,i1,purchase,2026-01-05,2,5,o1,e1,tea\n"
        + "u1,i1,purchase,2026-01-05,2,5,o1,e1,tea\n"  # the same event twice
        + "u2,i1,purchase,2026-01-06,1,5,,,\n"
        + "u2,i1,purchase,2026-01-06,1,5,,,\n"  # the same, or two pieces: kept
        + "u1,i1,refund,2026-01-07,1,5,,,\n"
        + "u2,i1,purchase,2026-01-07,-1,5,,,\n"
        + ",i1,purchase,2026-01-09,1,5,,,\n"
        + "u3,i1,purchase,2026-01-32,1,5,,,\n"
    )
    (tmp_path / "out").mkdir()
    with PartsOutput(tmp_path / "out") as output:
        row_counts = score_file(bundle, ScoringTask(path, output, max_reject_share=0.25))
    lines = [json.loads(line) for part in output.parts for line in (tmp_path / "out" / part.name).read_bytes().splitlines()]
    assert {line["user_id"]: line["expected_spend"] for line in lines} == {"u1": 5.0, "u2": 5.0}
    assert (row_counts.rows_in, row_counts.rows_used, row_counts.rejected) == (8, 5, 3)
    assert (row_counts.duplicates, row_counts.suspected, row_counts.returns, row_counts.users) == (1, 1, 2, 2)
    rejects = [json.loads(line) for line in (tmp_path / "out" / "rejects.jsonl").read_bytes().splitlines()]
    assert [(reject["line"], reject["pointer"]) for reject in rejects] == [(3, "/event_id"), (8, "/user_id"), (9, "/timestamp")]
    assert lines[0]["as_of"] == "2026-01-07T00:00:00.000Z"  # the newest of the rows that count
    with pytest.raises(TooManyRejects, match="2 of 8"):
        score(bundle, path, max_reject_share=0.24)


def test_as_of_may_be_stated(bundle: Bundle, tmp_path: Path):
    path = tmp_path / "rows"
    path.write_text(HEAD + "u1,i1,view,2026-01-05,,,,,\nu1,i1,view,2026-01-08,,,,,\nu2,i1,view,2026-01-08,,,,,\n")
    profiles, row_counts = score(bundle, path, as_of=1_767_744_000_000)  # 2026-01-07
    assert row_counts.as_of == 1_767_744_000_000
    assert {user: profile["activity"]["events"] for user, profile in profiles.items()} == {"u1": 1, "u2": 0}


def test_predict_keeps_rows_with_a_bad_number(bundle: Bundle, tmp_path: Path):
    path = tmp_path / "rows"
    path.write_text(HEAD + "u1,i1,purchase,2026-01-05,two,5,,,\nu1,i1,view,soon,,,,,\n")
    profiles, row_counts = score(bundle, path, on_bad_row="missing")
    assert profiles["u1"]["expected_spend"] == 5.0
    assert (row_counts.rows_used, row_counts.rejected) == (1, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user_id,item_id\nu1,i1\n", "expected a header with the columns of interactions.*missing: event_type, timestamp"),
        ("click_count,label\n1,0\n", "missing: user_id, item_id, event_type, timestamp"),
    ],
)
def test_a_file_of_another_kind_is_told(bundle: Bundle, tmp_path: Path, content: str, message: str):
    path = tmp_path / "rows"
    path.write_text(content)
    with pytest.raises(InvalidInput, match=message):
        score(bundle, path)


def test_a_file_without_rows_gives_nobody(bundle: Bundle, tmp_path: Path):
    path = tmp_path / "rows"
    path.write_text(HEAD)
    profiles, row_counts = score(bundle, path)
    assert (profiles, row_counts.rows_in, row_counts.users, row_counts.as_of) == ({}, 0, 0, None)


def test_state_is_given_all_events_of_a_user_at_once_and_only_for_a_good_file(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(user_events, "partition_count", lambda path: 4)
    rows = [*shop(400, users=20), "u1,i1,view,2024-01-05,,,,e9,\n"]
    path = tmp_path / "rows"
    path.write_text(HEAD + "".join(rows))
    given_shares: list[Partition] = []
    stores = JobDependencies(write_windows=lambda _, partition: given_shares.append(partition))
    score(bundle, path, dependencies=stores)
    users = [user for share in given_shares for user in share.events.users]
    assert len(users) == len(set(users)) == len({row.split(",")[0] for row in rows})
    told = sorted(
        f"{share.events.users[share.events.user[n]]},{share.order_ids[n]},{share.event_ids[n]}"
        for share in given_shares
        for n in range(len(share.events))
    )
    assert told == sorted(f"{cells[0]},{cells[6] or None},{cells[7] or None}" for cells in (row.split(",") for row in rows))
    given_shares.clear()
    path.write_text(HEAD + "".join(rows) + "x\n" * 200)
    with pytest.raises(TooManyRejects):
        score(bundle, path, dependencies=stores, max_reject_share=0.2)
    assert given_shares == []


EVENT_NAMES = (
    "user_id", "item_id", "event_type", "timestamp", "received_at", "event_id", "order_id", "category", "channel", "quantity",
    "rating",
)  # fmt: skip
WORD = st.sampled_from([None, "", "a", "b", "日本"])
EVENT = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(["u1", "u2", "u3", "ü4", "用户"]),
        "item_id": st.sampled_from(["i1", "i2"]),
        "event_type": st.sampled_from(["view", "purchase", "refund"]),
        "timestamp": st.integers(1_700_000_000, 1_700_000_003),
        "received_at": st.sampled_from([None, 1_700_000_009]),
        "event_id": WORD,
        "order_id": WORD,
        "category": WORD,
        "channel": WORD,
        "quantity": st.sampled_from([None, 2, -1]),
        "rating": st.sampled_from([None, 4.5]),
    }
)


def parsed_of(rows: list[dict[str, Any]], seen: SeenIds) -> ParsedEvents:
    return parse_events({name: [row[name] for row in rows] for name in EVENT_NAMES}, len(rows), seen=seen)


WORDS = {"item": "items", "category": "categories", "channel": "channels"}
NUMBERS = ("quantity", "unit_price", "event_value", "view_duration", "rating")


def told_by_user(events: Events, ids: Partition | ParsedEvents) -> dict[str, list[Any]]:
    """All that is known of each user's events, in order; baskets numbered by first appearance."""
    told: dict[str, list[Any]] = defaultdict(list)
    baskets: dict[str, dict[int, int]] = defaultdict(dict)
    for n in range(len(events)):
        user = events.users[events.user[n]]
        event: list[Any] = [ids.event_ids[n], ids.order_ids[n]]
        event += [[*getattr(events, words), None][getattr(events, name)[n]] for name, words in WORDS.items()]
        event += [int(getattr(events, name)[n]) for name in ("event_type", "timestamp", "received_at")]
        event += [str(getattr(events, name)[n]) for name in NUMBERS]  # as text, NaN is equal to NaN
        event += [baskets[user].setdefault(int(events.order[n]), len(baskets[user]))]
        told[user].append(event)
    return told


@given(pieces=st.lists(st.lists(EVENT, max_size=6), max_size=4), count=st.integers(1, 5))
def test_what_is_shared_out_comes_back_whole(tmp_path: Path, pieces: list[list[dict[str, Any]]], count: int):
    """In pieces through disk, or all at once in memory: the same events, ids and baskets of each user."""
    seen = SeenIds()
    found: dict[str, list[Any]] = {}
    with EventPartitions(tmp_path, count) as partitions:
        for piece in pieces:
            partitions.add(parsed_of(piece, seen))
        for number in range(count):
            partition = partitions.take(number)
            told = told_by_user(partition.events, partition)
            assert not told.keys() & found.keys()
            found |= told
    whole = parsed_of([row for piece in pieces for row in piece], SeenIds())
    assert found == told_by_user(whole.events, whole)
    assert list(tmp_path.glob("partition-*")) == []


def test_the_number_of_shares_goes_by_the_size_of_the_file(tmp_path: Path):
    path = tmp_path / "rows"
    path.write_bytes(b"x" * 100)
    assert partition_count(path) == 1
    with path.open("wb") as stream:
        stream.truncate(200_000_000)  # five million short rows; takes no room on disk
    assert partition_count(path) == 51
    path.write_bytes(b"\x1f\x8b" + b"x" * 20_000_000)
    assert partition_count(path) == 31
