"""How deliveries become one memory, without a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from personalization.state.compaction import UserWindow, fold, shrunk
from personalization.state.event_batch import EventBatch, event_batches
from tests.support import events_of


def story(moments: Sequence[int], **common: Any) -> EventBatch:
    """Purchases at these moments, each worth its moment."""
    rows = [{"timestamp": t, "event_type": "purchase", "event_value": float(t), "item_id": f"i{t}"} | common for t in moments]
    ((_, journal),) = event_batches(events_of(rows))
    return journal


def remembered(*files: Sequence[int], max_events: int = 3) -> UserWindow:
    memory = UserWindow()
    for moments in files:
        memory = fold("u", memory, story(moments), None, max_events)
    return memory


def recent(memory: UserWindow) -> list[int]:
    return memory.recent.events.timestamp.tolist() if memory.recent else []


def older(memory: UserWindow) -> tuple[float, float] | None:
    """Number and value of the events that are only known as sums."""
    return None if memory.evicted is None else (memory.evicted.events[0].item(), memory.evicted.value[0].item())


def test_what_fits_is_kept_one_by_one() -> None:
    memory = remembered([2, 1], [3])
    assert recent(memory) == [1, 2, 3]
    assert older(memory) is None


def test_the_oldest_are_pushed_out_into_sums() -> None:
    memory = remembered([1, 2, 3, 4, 5])
    assert recent(memory) == [3, 4, 5]
    assert older(memory) == (2, 1 + 2)
    assert memory.boundary is not None
    assert memory.boundary[0] == 2


def test_increments_add_up() -> None:
    memory = remembered([1, 2], [3, 4], [5, 6, 7])
    assert recent(memory) == [5, 6, 7]
    assert older(memory) == (4, 1 + 2 + 3 + 4)


@pytest.mark.parametrize("again", [[1, 2, 3, 4, 5, 6], [1, 2], [3, 4], [5, 6], [1, 2, 5, 6]])
def test_a_repeated_part_changes_nothing(again: list[int]) -> None:
    before = remembered([1, 2, 3, 4, 5, 6])
    after = fold("u", before, story(again), None, 3)
    assert recent(after) == recent(before) == [4, 5, 6]
    assert older(after) == older(before) == (3, 6)


def test_a_file_that_tells_the_whole_story_replaces_the_sums() -> None:
    memory = remembered([2, 4, 6, 8, 10])
    assert older(memory) == (2, 2 + 4)
    memory = fold("u", memory, story([1, 2, 3, 4, 6, 8, 10]), None, 3)
    assert recent(memory) == [6, 8, 10]
    assert older(memory) == (4, 1 + 2 + 3 + 4)


@pytest.mark.parametrize("part", [[1, 2], [3, 4, 5], [1]])
def test_older_events_of_a_file_that_tells_less_are_not_counted_again(part: list[int]) -> None:
    memory = remembered([2, 3, 4, 5, 6, 7, 8])
    assert older(fold("u", memory, story(part), None, 3)) == older(memory) == (4, 2 + 3 + 4 + 5)


def test_late_events_of_the_api_are_added_to_the_sums() -> None:
    memory = fold("u", remembered([2, 4, 6, 8, 10]), None, story([1, 3, 12]), 3)
    assert recent(memory) == [8, 10, 12]
    assert older(memory) == (5, (2 + 4) + (1 + 3) + 6)


def test_late_events_that_the_whole_story_holds_too_count_once() -> None:
    memory = fold("u", remembered([2, 4, 6, 8, 10]), story([1, 2, 3, 4, 6, 8, 10]), story([1, 3]), 3)
    assert older(memory) == (4, 1 + 2 + 3 + 4)


def test_of_equal_moments_the_same_ones_stay_whatever_the_order() -> None:
    rows = [{"timestamp": 7, "item_id": name} for name in "abcdefgh"]
    kept = set()
    for turn in range(8):
        memory = UserWindow()
        for row in rows[turn:] + rows[:turn]:
            ((_, journal),) = event_batches(events_of([row]))
            memory = fold("u", memory, None, journal, 3)
        assert memory.recent is not None
        kept.add(frozenset(memory.recent.events.items[code] for code in memory.recent.events.item))
        assert older(memory) == (5, 0)
    assert len(kept) == 1


def test_without_a_limit_nothing_is_pushed_out() -> None:
    assert recent(fold("u", remembered([1, 2, 3]), None, story([4, 5]), None)) == [1, 2, 3, 4, 5]


def test_an_item_that_would_be_too_large_loses_its_older_half_to_the_sums() -> None:
    memory = shrunk(remembered([1, 2, 3, 4], max_events=9))
    assert recent(memory) == [3, 4]
    assert older(memory) == (2, 1 + 2)


def test_lines_of_one_order_stay_one_order_however_they_come() -> None:
    ((_, first),) = event_batches(events_of([{"timestamp": 1, "item_id": "a"}]), None, ["o"])
    ((_, second),) = event_batches(events_of([{"timestamp": 2, "item_id": "b"}, {"timestamp": 3}]), None, ["o", "p"])
    memory = fold("u", fold("u", UserWindow(), first, None, 9), second, None, 9)
    assert memory.recent is not None
    one, two, three = memory.recent.events.order.tolist()
    assert one == two != three
