"""Splits: disjoint, complete, stratified, and copies of a row stay together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.tasks.tabular.splits import copy_groups, split, user_groups


@given(st.lists(st.booleans(), min_size=1, max_size=80), st.integers(0, 5), st.integers(1, 30))
def test_every_row_is_in_exactly_one_part_and_groups_stay_whole(labels: list[bool], seed: int, group_count: int) -> None:
    groups = np.arange(len(labels)) % min(group_count, len(labels))
    parts = split(np.array(labels, float), groups, [0.7, 0.15, 0.15], seed)
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    for group in set(groups):
        rows = set(np.flatnonzero(groups == group))
        assert sum(bool(rows & set(part)) for part in parts) == 1


@pytest.mark.parametrize("positives", [20, 40, 200])
def test_each_part_has_its_share_of_each_class(positives: int) -> None:
    labels = np.repeat([1.0, 0.0], [positives, 400 - positives])
    parts = split(labels, np.arange(400), [0.7, 0.15, 0.15], seed=3)
    assert [len(part) for part in parts] == [280, 60, 60]
    assert [labels[part].sum() for part in parts] == [0.7 * positives, 0.15 * positives, 0.15 * positives]


def test_the_seed_decides() -> None:
    labels = np.tile([0.0, 1.0], 50)
    first, again, other = (split(labels, np.arange(100), [0.7, 0.3], seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_single_positive_is_trained_on() -> None:
    labels = np.array([1.0] + [0.0] * 19)
    assert 0 in split(labels, np.arange(20), [0.7, 0.15, 0.15], seed=0)[0]


def test_a_share_of_nothing_gets_nothing() -> None:
    parts = split(np.tile([0.0, 1.0], 10), np.arange(20), [0.85, 0.15, 0.0], seed=0)
    assert [len(part) for part in parts] == [18, 2, 0]


def test_equal_shares_are_folds_that_hold_every_row_out_once() -> None:
    labels = np.array([1.0] * 10 + [0.0] * 40)
    held = split(labels, np.arange(50), [1.0] * 5, seed=0)
    assert sorted(np.concatenate(held)) == list(range(50))
    assert [labels[rows].sum() for rows in held] == [2.0] * 5


def test_copies_of_a_row_are_one_group() -> None:
    table = {"a": ["1", "2", "1", "1"], "b": [[1], [1], [1], [2]]}
    assert copy_groups(table, 4).tolist() == [0, 1, 0, 2]


def test_rows_of_a_user_are_one_group_and_rows_without_one_are_alone() -> None:
    assert user_groups(["u", "", "v", "u", ""]).tolist() == [0, 1, 2, 0, 3]
