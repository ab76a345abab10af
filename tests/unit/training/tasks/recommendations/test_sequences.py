"""Logs, splits, windows and counts of recommendations, on interactions that fit on one screen."""

from __future__ import annotations

import numpy as np
import pytest

from personalization.core.events import Events
from personalization.features.window import Window
from training.tasks.recommendations.interaction_log import InteractionLog, build_log
from training.tasks.recommendations.item_statistics import cooccurrence, repeat_share, repurchase_log_odds, transitions
from training.tasks.recommendations.sequence_windows import sequence_windows
from training.tasks.recommendations.splits import leave_one_out, temporal

DAY = 86_400_000
WINDOW = Window(1000, 3650)


def log_of(*rows: tuple[int, int, int, int], items: int = 10) -> InteractionLog:
    """A log of (user, item, day, order); order −1 is none."""
    from personalization.core.events import empty_events

    template = empty_events()
    user, item, day, order = np.array(rows, np.int64).T
    count = len(rows)
    columns = {name: np.resize(getattr(template, name), count) for name in template.__dataclass_fields__ if name in _COLUMNS}
    columns |= {
        "user": user.astype(np.int32), "item": item.astype(np.int32), "timestamp": day * DAY, "order": order.astype(np.int32),
        "event_type": np.full(count, 3, np.int8),
    }  # fmt: skip
    events = Events(**columns, users=[f"u{n}" for n in range(user.max() + 1)], items=[f"i{n}" for n in range(items)])
    return build_log(events, np.arange(items, dtype=np.int32), items)


_COLUMNS = (
    "user", "item", "event_type", "timestamp", "received_at", "quantity", "unit_price", "event_value", "view_duration",
    "rating", "category", "channel", "order",
)  # fmt: skip


def test_a_basket_is_an_order_and_else_a_moment() -> None:
    # User 0: order 7 on two days, and between them a purchase without an order. User 2: two lines at one moment.
    log = log_of((0, 1, 1, 7), (0, 2, 2, -1), (0, 3, 3, 7), (2, 4, 5, -1), (2, 5, 5, -1), (2, 6, 6, -1))
    assert log.user.tolist() == [0, 0, 0, 1, 1, 1]  # users are numbered anew
    assert log.item.tolist() == [1, 3, 2, 4, 5, 6]  # the order stands where it began
    assert log.basket.tolist() == [0, 0, 1, 0, 0, 1]
    assert log.basket_counts.tolist() == [2, 2]
    assert log.pace.basket_items == pytest.approx(6 / 4)


def test_histories_look_back_from_a_row() -> None:
    log = log_of((0, 1, 1, -1), (0, 2, 3, -1), (0, 3, 3, -1), (0, 4, 10, -1))
    found = log.histories(np.array([0]), np.array([3]), None, WINDOW)
    assert found.item.tolist() == [1, 2, 3]
    assert found.basket.tolist() == [1, 0, 0]
    assert found.age.tolist() == [2, 0, 0]
    asked_later = log.histories(np.array([0]), np.array([3]), np.array([5 * DAY]), Window(2, 3650))
    assert asked_later.item.tolist() == [2, 3]
    assert asked_later.age.tolist() == [2, 2]
    assert log.histories(np.array([0]), np.array([3]), np.array([5 * DAY]), Window(9, 3)).item.tolist() == [2, 3]


def test_leave_one_out_holds_out_whole_baskets() -> None:
    one = [(0, item, day, -1) for item, day in ((1, 1), (2, 2), (3, 2), (4, 3))]
    two = [(1, 5, 1, -1), (1, 6, 2, -1)]
    single = [(2, 7, 1, -1)]
    log = log_of(*one, *two, *single)
    split = leave_one_out(log, test=True, seed=0)
    assert split.test is not None
    assert [i.tolist() for i in split.test.items(log)] == [[4], [6]]
    assert [i.tolist() for i in split.validation.items(log)] == [[2, 3]]  # the second user has nothing before its first
    assert split.validation.users.tolist() == [0]
    assert log.item[split.train].tolist() == [1, 5, 7]
    assert split.test.histories(log, WINDOW).of(0).tolist() == [1, 2, 3]  # test sees what validation asked
    assert split.validation.histories(log, WINDOW).of(0).tolist() == [1]
    last = leave_one_out(log, test=False, seed=0)
    assert last.test is None
    assert [i.tolist() for i in last.validation.items(log)] == [[4], [6]]


def test_no_row_is_learnt_from_and_asked_for() -> None:
    random = np.random.default_rng(0)
    rows = [(user, int(random.integers(10)), day, -1) for user in range(40) for day in range(random.integers(1, 9))]
    log = log_of(*rows)
    for split in (leave_one_out(log, test=True, seed=1), temporal(log, 6 * DAY, test=True, seed=1)):
        assert split.test is not None
        assert len(split.blend)
        used = split.train.astype(int)
        for targets in (split.blend, split.validation, split.test):
            for start, stop, end in zip(targets.starts, targets.stops, targets.ends, strict=True):
                assert end <= start < stop
                assert not split.train[start:stop].any()
                used[start:stop] += 1
        assert used.max() == 1  # no row is asked for twice either


def test_temporal_asks_for_the_first_basket_behind_the_cut() -> None:
    log = log_of(*[(0, day, day, -1) for day in range(9)], (1, 9, 8, -1))
    split = temporal(log, 6 * DAY, test=True, seed=0)
    assert split.test is not None
    assert split.later is not None
    assert [i.tolist() for i in split.test.items(log)] == [[6]]  # the second user has nothing before the cut
    assert split.test.histories(log, WINDOW).of(0).tolist() == [0, 1, 2, 3, 4, 5]
    assert split.later.items(log)[0].tolist() in ([7], [8])
    assert log.time[split.train].max() < log.time[split.validation.starts].min()
    assert log.time[split.validation.stops - 1].max() < 6 * DAY


def test_windows_pair_each_item_with_one_of_the_next_basket() -> None:
    log = log_of((0, 1, 1, -1), (0, 2, 2, -1), (0, 3, 2, -1), (0, 4, 3, -1), (1, 5, 1, -1))
    windows = sequence_windows(log, longest=2)
    assert windows.num_targets == 3
    pairs = set()
    for seed in range(8):
        for codes, targets in windows.batches(2, np.random.default_rng(seed)):
            assert codes["items"].shape == targets.shape
            assert ((codes["items"] >= 0) == (targets >= 0)).all()
            pairs |= set(zip(codes["items"].ravel().tolist(), targets.ravel().tolist(), strict=True))
    assert pairs - {(-1, -1)} == {(1, 2), (1, 3), (2, 4), (3, 4)}


def test_cosine_together_by_hand() -> None:
    log = log_of((0, 0, 1, -1), (0, 1, 2, -1), (1, 0, 1, -1), (1, 1, 2, -1), (2, 0, 1, -1), (2, 2, 2, -1), items=3)
    found = cooccurrence(log).toarray()
    # Every user has two items: all weigh the same. Items 0 and 1 share two users of three and two.
    assert found[0, 1] == pytest.approx(2 / np.sqrt(3 * 2))
    assert found[0, 2] == pytest.approx(1 / np.sqrt(3 * 1))
    assert found[1, 2] == 0
    assert (found.diagonal() == 0).all()
    assert found == pytest.approx(found.T)


def test_transitions_by_hand() -> None:
    log = log_of((0, 0, 1, -1), (0, 1, 2, -1), (0, 2, 3, -1), (1, 0, 1, -1), (1, 1, 2, -1), items=3)
    found = transitions(log, steps=2).toarray()
    # From 0: twice 1 at once, once 2 in two steps (weight ½); the row sum 2.5 is shrunk by 5.
    assert found[0, 1] == pytest.approx(2 / 7.5)
    assert found[0, 2] == pytest.approx(0.5 / 7.5)
    assert found[1, 2] == pytest.approx(1 / 6)
    assert found[2].tolist() == [0, 0, 0]


def test_repurchase_counts_the_next_basket_alone() -> None:
    # Item 0: in baskets 0, 1 and 3 of four: asked twice before the last basket… after 0 yes, after 1 no; 3 is the last.
    log = log_of(*[(0, item, day, -1) for item, day in ((0, 1), (0, 2), (1, 3), (0, 4))], items=3)
    mean = (1 + 0.5) / (3 + 1)  # asked three times in all (item 1 once, in vain), bought once
    chance = (1 + 20 * mean) / (2 + 20)
    assert repurchase_log_odds(log)[0] == pytest.approx(np.log(chance / (1 - chance)), abs=1e-5)
    assert repeat_share(log) == pytest.approx(2 / 3)
