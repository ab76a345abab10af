"""Features of ads: by hand, the same in a log and in one request, and nothing of the future."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalization.ads.exposure import Exposure, ExposureLog
from personalization.ads.features import AdFeatures, feature_columns, request_context, split_list
from personalization.core import csr
from personalization.core.csr import CsrMatrix, dot
from personalization.core.events import empty_events
from personalization.core.time import MISSING_TIME
from personalization.features import FEATURES, HistoryWindow
from tests.support import DAY_MS, events_of
from training.tasks.ads.columns import ImpressionSources
from training.tasks.ads.impressions import Impressions

NOON = 1_790_000_000_000 // DAY_MS * DAY_MS + DAY_MS // 2
HOUR_MS = 3_600_000


def table(rows: list[dict[int, float]], width: int) -> CsrMatrix:
    entries = [(row, code, value) for row, cells in enumerate(rows) for code, value in cells.items()]
    row, code, value = (np.array(part) for part in zip(*entries, strict=True)) if entries else (np.zeros(0, int),) * 3
    return CsrMatrix.from_entries(row.astype(np.int64), code.astype(np.int64), value.astype(float), len(rows), width)


cells_of_rows = st.lists(st.dictionaries(st.integers(0, 5), st.integers(1, 4).map(float), max_size=5), min_size=1, max_size=4)


@given(one=cells_of_rows, other=cells_of_rows, data=st.data())
def test_dot_equals_the_product_of_the_tables(one: Any, other: Any, data: st.DataObject) -> None:
    pairs = data.draw(st.lists(st.tuples(st.integers(0, len(one) - 1), st.integers(0, len(other) - 1)), max_size=8))
    first, second = (np.array([pair[n] for pair in pairs], dtype=np.int64) for n in (0, 1))
    expected = [sum(value * other[b].get(code, 0) for code, value in one[a].items()) for a, b in pairs]
    assert dot(table(one, 6), table(other, 6), first, second).tolist() == expected


def test_long_lists_are_looked_up_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(csr, "ENTRIES_AT_ONCE", 3)
    one = table([{0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0}, {1: 2.0}, {}], 5)
    other = table([{code: 10.0**code for code in range(5)}], 5)
    rows = np.array([0, 1, 2, 0, 1])
    assert dot(one, other, rows, np.zeros(5, np.int64)).tolist() == [1111, 20, 0, 1111, 20]


def test_entries_at_one_place_add_up_and_unknown_words_are_left_out() -> None:
    found = CsrMatrix.from_entries(np.array([0, 0, 1]), np.array([2, 2, -1]), np.array([1.0, 4.0, 9.0]), 2, 3)
    assert (found.indptr.tolist(), found.indices.tolist(), found.values.tolist()) == ([0, 1, 1], [2], [5.0])
    lists = CsrMatrix.from_lists([["b", "z", "b"], [], ["a", "b"]], {"a": 0, "b": 1})
    assert (lists.indptr.tolist(), lists.indices.tolist()) == ([0, 1, 1, 3], [1, 0, 1])


def exposures(rows: list[tuple[int, int, int, int | None, int | None]]) -> ExposureLog:
    """Of (user, ad, moment, clicked at, converted at)."""
    user, ad, moment, clicked, converted = zip(*rows, strict=True)
    late = [np.array([MISSING_TIME if at is None else at for at in times], dtype=np.int64) for times in (clicked, converted)]
    return ExposureLog(np.array(user), np.array(ad), np.array(moment), *late)


def test_counts_of_a_user_and_an_ad_before_a_moment() -> None:
    log = exposures([(0, 0, 10, 12, 50), (0, 0, 20, None, None), (0, 1, 25, 25, None), (1, 0, 5, None, None)])
    queries = [(0, 0, 10), (0, 0, 12), (0, 0, 13), (0, 0, 51), (0, 1, 26), (2, 0, 99), (1, 1, 99)]
    user, ad, moment = (np.array(part) for part in zip(*queries, strict=True))
    found = log.before(user, ad, moment)
    assert found.impressions.tolist() == [0, 1, 1, 2, 1, 0, 0]
    assert found.clicks.tolist() == [0, 0, 1, 1, 1, 0, 0]
    assert found.conversions.tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert found.last_impression.tolist() == [MISSING_TIME, 10, 10, 20, 25, MISSING_TIME, MISSING_TIME]
    assert found.all_impressions.tolist() == [0, 1, 1, 3, 3, 0, 1]
    assert found.all_clicks.tolist() == [0, 0, 1, 2, 2, 0, 0]


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(1, 9), st.none() | st.integers(1, 9), st.none()),
        min_size=1, max_size=12,
    ),
    queries=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=6),
)  # fmt: skip
def test_exposure_equals_counting(rows: Any, queries: Any) -> None:
    user, ad, moment = (np.array(part) for part in zip(*queries, strict=True))
    found = exposures(rows).before(user, ad, moment)
    for n, (u, a, t) in enumerate(queries):
        assert found.impressions[n] == sum(row[:2] == (u, a) and row[2] < t for row in rows)
        assert found.clicks[n] == sum(row[:2] == (u, a) and row[3] is not None and row[3] < t for row in rows)
        assert found.all_clicks[n] == sum(row[0] == u and row[3] is not None and row[3] < t for row in rows)


def test_a_row_by_hand() -> None:
    events = events_of(
        [
            {"timestamp": NOON - 3 * DAY_MS, "item_id": "x", "category": "tea", "event_type": "purchase"},
            {"timestamp": NOON - 2 * DAY_MS, "item_id": "y", "category": "cups", "event_type": "purchase"},
            {"timestamp": NOON - DAY_MS, "item_id": "x", "category": "tea", "event_type": "purchase"},
            {"timestamp": NOON - DAY_MS, "item_id": "x", "category": "tea"},
            {"timestamp": NOON, "item_id": "x", "category": "tea", "event_type": "purchase"},
        ]
    )
    ads = AdFeatures.from_table(
        {"ad_id": ["a", "b"], "category": ["tea|coffee", None], "item_id": ["x|z", None], "bid": [1, 2],
         "starts_at": [NOON / 1000 - 86_400, None], "ends_at": [NOON / 1000 + 2 * 86_400, None],
         "channel": ["mail", "web"], "genres": ["fun|sad", "sad"], "size": [3, 4]},
        2, {"genres": ["sad", "fun"]},
    )  # fmt: skip
    context = request_context(
        events, np.array([NOON]), HistoryWindow(), ZoneInfo("America/New_York"), attributes={"age": np.array([41.0])}
    )
    exposure = replace(
        Exposure.none(2),
        impressions=np.array([2.0, 0.0]),
        all_impressions=np.array([4.0, 4.0]),
        all_clicks=np.array([1.0, 1.0]),
        last_impression=np.array([NOON - DAY_MS // 2, MISSING_TIME]),
    )
    row = np.array([0, 0]), np.array([0, 1])
    columns = feature_columns(context, ads, *row, exposure, ZoneInfo("America/New_York"), channel=[None, "app"])
    found = {name: list(content) for name, content in columns.items()}
    assert found["pair.category_share"] == [pytest.approx(2 / 3), pytest.approx(np.nan, nan_ok=True)]
    assert found["pair.item_events"][0] == 3
    assert found["pair.item_purchases"][0] == 2
    assert np.isnan(found["pair.item_events"][1])
    assert (found["ad.age_days"][0], found["ad.left_days"][0], found["ad.flight_days"][0]) == (1.0, 2.0, 3.0)
    assert np.isnan(found["ad.age_days"][1])
    assert found["hour"] == [8.0, 8.0]  # noon UTC in September
    assert found["channel"] == ["mail", "app"]
    assert (found["ad.genres=sad"], found["ad.genres=fun"], found["ad.size"]) == ([1.0, 1.0], [1.0, 0.0], [3, 4])
    assert (found["pair.seen"], found["pair.seen_days"][0], found["ads.click_rate"]) == ([2, 0], 0.5, [0.25, 0.25])
    assert found["user.age"] == [41.0, 41.0]
    assert found["orders"] == [3.0, 3.0]  # what happens at noon itself is not known yet
    assert not {"ad.bid", "ad.genres"} & found.keys()


def test_a_user_without_a_history_has_features_too() -> None:
    ads = AdFeatures.from_table({"ad_id": ["a"], "category": ["tea"], "item_id": ["x"]}, 1)
    context = request_context(empty_events(["u"]), np.array([NOON]), HistoryWindow())
    columns = feature_columns(context, ads, np.array([0]), np.array([0]), Exposure.none(1))
    assert np.isnan(columns["pair.category_share"][0])
    assert columns["pair.item_events"][0] == 0
    assert set(FEATURES) <= columns.keys()


def test_words_of_a_cell() -> None:
    assert [split_list(word) for word in ("a| b|", "12", None)] == [["a", "b"], ["12"], []]
    table = {"category": ["a|b", 12, None, ["x", "y"], ""]}
    assert list(AdFeatures.from_table(table, 5).categories) == [["a", "b"], ["12"], [], ["x", "y"], []]


event = st.fixed_dictionaries(
    {"user_id": st.sampled_from("uvw"), "timestamp": st.integers(0, 40).map(lambda days: NOON - days * DAY_MS // 2),
     "item_id": st.sampled_from("xyz"), "event_type": st.sampled_from(["purchase", "view_item"])},
    optional={"category": st.sampled_from(["tea", "cups"]), "event_value": st.integers(1, 9).map(float)},
)  # fmt: skip
impression = st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 30).map(lambda days: NOON - days * DAY_MS // 3))


@given(rows=st.lists(event, min_size=1, max_size=20), shown=st.lists(impression, min_size=1, max_size=8))
def test_a_log_and_a_single_request_have_the_same_features(
    rows: list[dict[str, Any]], shown: list[tuple[int, int, int]]
) -> None:
    rows = [{"user_id": user, "timestamp": NOON - 30 * DAY_MS, "item_id": "x"} for user in "uvw"] + rows
    events = events_of(rows)
    users = events.users
    ads = AdFeatures.from_table({"ad_id": ["a", "b"], "category": ["tea", "cups|tea"], "item_id": ["x|y", "z"]}, 2)
    user, ad, moment = (np.array(part) for part in zip(*shown, strict=True))
    n = len(shown)
    nothing, never = np.full(n, None, dtype=object), np.full(n, MISSING_TIME)
    log = Impressions(
        users, ["a", "b"], user, ad, moment, np.full(n, np.nan), nothing, nothing, np.zeros(n), None, never, never,
        np.ones(n), np.ones(n, dtype=bool), {},
    )  # fmt: skip
    window = HistoryWindow(max_events=6, max_days=20)
    whole = ImpressionSources(events, {}, ads, log.exposures, window, ZoneInfo("UTC")).describe(log)
    for at in range(n):
        mine = events.take(events.user == user[at])
        alone = replace(mine, user=np.zeros(len(mine), np.int32), users=["one"])
        one = request_context(alone, moment[at : at + 1], window, ZoneInfo("UTC"))
        known = log.exposures.before(user[at : at + 1], ad[at : at + 1], moment[at : at + 1])
        single = feature_columns(one, ads, np.array([0]), ad[at : at + 1], known, ZoneInfo("UTC"))
        assert single.keys() == whole.keys()
        for name, content in single.items():
            requested, logged = content[0], whole[name][at]
            if isinstance(requested, float | np.floating):
                assert np.float32(requested) == logged or (np.isnan(requested) and np.isnan(logged)), name
            else:
                assert requested == logged, name
