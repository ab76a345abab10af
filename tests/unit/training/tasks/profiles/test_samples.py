"""Samples at a cut: features use nothing that happened, or was received, later."""

from __future__ import annotations

from datetime import UTC

import numpy as np
import pytest

from personalization.features import HistoryWindow
from tests.event_factory import CUT, DAY_MS, events_by_day
from training.io.point_in_time import Cut
from training.tasks.profiles.samples import Sample, Sampler, SampleSpec, stack

WHOLE = Cut(CUT, CUT + 100 * DAY_MS)
PAST = [
    ("ann", -20.0, "purchase", 10.0, "tea"), ("ann", -2.0, "view_item"),
    ("bob", -5.0, "purchase", 7.0, "cups"), ("bob", -5.0, "purchase", 3.0, "tea"),
]  # fmt: skip
FUTURE = [
    ("ann", 3.0, "purchase", 90.0, "cups"), ("cyd", 2.0, "purchase", 5.0, "tea"), ("bob", 40.0, "purchase", 1.0, "tea"),
    ("bob", -1.0, "purchase", 500.0, "cups", None, 2.0),  # happened before the cut, was received after it
]  # fmt: skip


def spec(**changes: object) -> SampleSpec:
    options: dict[str, object] = {
        "days": (7, 14, 30, 90),
        "horizon": 14,
        "window": HistoryWindow(),
        "zone": UTC,
        "categories": ["tea", "cups"],
        "attributes": {},
    }
    return SampleSpec(**(options | changes))  # type: ignore[arg-type]


def ask(rows: list[tuple[object, ...]], **changes: object) -> tuple[Sample, list[str]]:
    events = events_by_day(rows)
    sample = Sampler(events, spec(**changes)).sample(WHOLE)
    return sample, [events.users[code] for code in sample.user]


def test_features_use_only_events_received_before_the_cut() -> None:
    alone, users = ask(PAST)
    both, same = ask(PAST + FUTURE)
    assert users == same == ["ann", "bob"]
    assert both.columns.keys() == alone.columns.keys()
    for name in alone.columns:
        np.testing.assert_array_equal(alone.columns[name], both.columns[name], err_msg=name)
    assert alone.columns["monetary"].tolist() == [10.0, 10.0]


def test_labels_use_events_after_the_cut() -> None:
    sample, _ = ask(PAST + FUTURE)
    assert sample.labels.event.tolist() == [[1, 0, 0, 0], [0, 0, 0, 1]]
    assert sample.labels.spend.tolist() == [90.0, 0.0]
    assert sample.baskets.tolist() == [[False, True], [True, False]]


def test_an_event_at_midnight_belongs_to_the_day_that_begins() -> None:
    """Sets that know days only put every event there: it must be label, not feature."""
    sample, _ = ask([("ann", -1.0, "purchase", 5.0), ("ann", 0.0, "purchase", 6.0)])
    assert sample.columns["orders"].tolist() == [1.0]
    assert sample.labels.event[0].tolist() == [1, 0, 0, 0]


def test_attributes_of_the_users_are_among_the_features() -> None:
    age = np.array(["30", None, "40"], dtype=object)
    sample, users = ask(PAST + FUTURE, attributes={"user.age": age})
    assert users == ["ann", "bob"]
    assert sample.columns["user.age"].tolist() == ["30", None]


def test_rows_of_several_cuts_are_stacked_in_order() -> None:
    sampler = Sampler(events_by_day(PAST + FUTURE), spec())
    early = Cut(CUT - 10 * DAY_MS, CUT)
    rows = stack([sampler.sample(early), sampler.sample(WHOLE)])
    assert rows.cut.tolist() == [early.time, WHOLE.time, WHOLE.time]
    # Before the early cut only ann is known; bob's first purchase is nobody's label there.
    assert rows.columns["recency_purchase_days"].tolist() == pytest.approx([10.0, 20.0, 5.0], abs=1e-4)
    assert rows.labels.observed_days.tolist() == [10.0, 100.0, 100.0]
    chosen = rows.take(np.array([2]))
    assert (len(chosen), chosen.labels.spend.tolist(), chosen.baskets.tolist()) == (1, [0.0], [[True, False]])
