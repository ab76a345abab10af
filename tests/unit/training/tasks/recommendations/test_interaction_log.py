"""Interaction logs, splits, sequence windows and item statistics, on a few interactions by hand."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from personalization.core.events import Events, empty_events
from personalization.core.schema import EVENT_CODE
from personalization.core.time import DAY_MS
from personalization.features.history_window import HistoryWindow
from training.tasks.recommendations.interaction_log import InteractionLog, build_log
from training.tasks.recommendations.item_statistics import cooccurrence, repeat_share, repurchase_log_odds, transitions
from training.tasks.recommendations.sequence_windows import sequence_windows
from training.tasks.recommendations.splits import leave_one_out, temporal

WINDOW = HistoryWindow(1000, 3650)


def log_of(*rows: tuple[int, int, int, int], items: int = 10) -> InteractionLog:
    """A log of purchases (user, item, day, order); order −1 is none."""
    user, item, day, order = np.array(rows, np.int64).T
    template = empty_events()
    columns = {
        column.name: np.resize(values, len(rows))
        for column in fields(template)
        if isinstance(values := getattr(template, column.name), np.ndarray)
    }
    columns |= {
        "user": user.astype(np.int32), "item": item.astype(np.int32), "timestamp": day * DAY_MS,
        "order": order.astype(np.int32), "event_type": np.full(len(rows), EVENT_CODE["purchase"], np.int8),
    }  # fmt: skip
    events = Events(**columns, users=[f"u{n}" for n in range(user.max() + 1)], items=[f"i{n}" for n in range(items)])
    return build_log(events, np.arange(items, dtype=np.int32), items)


def test_a_basket_is_an_order_and_else_a_moment() -> None:
    # User 0: order 7 on two days, and between them a purchase without an order. User 2: two lines at one moment.
    log = log_of((0, 1, 1, 7), (0, 2, 2, -1), (0, 3, 3, 7), (2, 4, 5, -1), (2, 5, 5, -1), (2, 6, 6, -1))
    assert log.user.tolist() == [0, 0, 0, 1, 1, 1]  # users are numbered anew
    assert log.item.tolist() == [1, 3, 2, 4, 5, 6]  # the order is placed at its first line
    assert log.basket.tolist() == [0, 0, 1, 0, 0, 1]
    assert log.basket_counts.tolist() == [2, 2]
    assert log.pace.basket_items == pytest.approx(6 / 4)


def test_histories_look_back_from_a_row() -> None:
    log = log_of((0, 1, 1, -1), (0, 2, 3, -1), (0, 3, 3, -1), (0, 4, 10, -1))
    history = log.histories(np.array([0]), np.array([3]), None, WINDOW)
    assert history.item.tolist() == [1, 2, 3]
    assert history.basket.tolist() == [1, 0, 0]
    assert history.age.tolist() == [2, 0, 0]
    later = log.histories(np.array([0]), np.array([3]), np.array([5 * DAY_MS]), HistoryWindow(2, 3650))
    assert later.item.tolist() == [2, 3]
    assert later.age.tolist() == [2, 2]
    assert log.histories(np.array([0]), np.array([3]), np.array([5 * DAY_MS]), HistoryWindow(9, 3)).item.tolist() == [2, 3]


def test_leave_one_out_holds_out_whole_baskets() -> None:
    one = [(0, item, day, -1) for item, day in ((1, 1), (2, 2), (3, 2), (4, 3))]
    two = [(1, 5, 1, -1), (1, 6, 2, -1)]
    single = [(2, 7, 1, -1)]
    log = log_of(*one, *two, *single)
    split = leave_one_out(log, test=True, seed=0)
    assert split.test is not None
    assert [i.tolist() for i in split.test.items(log)] == [[4], [6]]
    assert [i.tolist() for i in split.validation.items(log)] == [[2, 3]]  # the second user has no history before the first item
    assert split.validation.users.tolist() == [0]
    assert log.item[split.train].tolist() == [1, 5, 7]
    assert split.test.histories(log, WINDOW).of(0).tolist() == [1, 2, 3]  # the history at test includes the validation basket
    assert split.validation.histories(log, WINDOW).of(0).tolist() == [1]
    last = leave_one_out(log, test=False, seed=0)
    assert last.test is None
    assert [i.tolist() for i in last.validation.items(log)] == [[4], [6]]


def test_no_row_is_both_trained_on_and_held_out() -> None:
    random = np.random.default_rng(0)
    rows = [(user, int(random.integers(10)), day, -1) for user in range(40) for day in range(random.integers(1, 9))]
    log = log_of(*rows)
    for split in (leave_one_out(log, test=True, seed=1), temporal(log, 6 * DAY_MS, test=True, seed=1)):
        assert split.test is not None
        assert len(split.blend)
        used = split.train.astype(int)
        for targets in (split.blend, split.validation, split.test):
            for start, stop, end in zip(targets.starts, targets.stops, targets.ends, strict=True):
                assert end <= start < stop
                assert not split.train[start:stop].any()
                used[start:stop] += 1
        assert used.max() == 1  # no row is held out twice either


def test_the_temporal_target_is_the_first_basket_after_the_cut() -> None:
    log = log_of(*[(0, day, day, -1) for day in range(9)], (1, 9, 8, -1))
    split = temporal(log, 6 * DAY_MS, test=True, seed=0)
    assert split.test is not None
    assert split.later is not None
    assert [i.tolist() for i in split.test.items(log)] == [[6]]  # the second user has no history before the cut
    assert split.test.histories(log, WINDOW).of(0).tolist() == [0, 1, 2, 3, 4, 5]
    assert split.later.items(log)[0].tolist() in ([7], [8])
    assert log.time[split.train].max() < log.time[split.validation.starts].min()
    assert log.time[split.validation.stops - 1].max() < 6 * DAY_MS


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


def test_cooccurrence_by_hand() -> None:
    log = log_of((0, 0, 1, -1), (0, 1, 2, -1), (1, 0, 1, -1), (1, 1, 2, -1), (2, 0, 1, -1), (2, 2, 2, -1), items=3)
    matrix = cooccurrence(log).toarray()
    # Every user has two items: all weigh the same. Items 0 and 1 share two users of three and two.
    assert matrix[0, 1] == pytest.approx(2 / np.sqrt(3 * 2))
    assert matrix[0, 2] == pytest.approx(1 / np.sqrt(3 * 1))
    assert matrix[1, 2] == 0
    assert (matrix.diagonal() == 0).all()
    assert matrix == pytest.approx(matrix.T)


def test_transitions_by_hand() -> None:
    log = log_of((0, 0, 1, -1), (0, 1, 2, -1), (0, 2, 3, -1), (1, 0, 1, -1), (1, 1, 2, -1), items=3)
    matrix = transitions(log, steps=2).toarray()
    # From 0: twice 1 at once, once 2 in two steps (weight ½); the row sum 2.5 is shrunk by 5.
    assert matrix[0, 1] == pytest.approx(2 / 7.5)
    assert matrix[0, 2] == pytest.approx(0.5 / 7.5)
    assert matrix[1, 2] == pytest.approx(1 / 6)
    assert matrix[2].tolist() == [0, 0, 0]


def test_repurchase_counts_the_next_basket_alone() -> None:
    # Item 0 is in baskets 0, 1 and 3 of four. Two of them have a next basket: after 0 it comes again, after 1 not.
    log = log_of(*[(0, item, day, -1) for item, day in ((0, 1), (0, 2), (1, 3), (0, 4))], items=3)
    mean = (1 + 0.5) / (3 + 1)  # three trials in all (one of item 1), one repeat
    rate = (1 + 20 * mean) / (2 + 20)
    assert repurchase_log_odds(log)[0] == pytest.approx(np.log(rate / (1 - rate)), abs=1e-5)
    assert repeat_share(log) == pytest.approx(2 / 3)
