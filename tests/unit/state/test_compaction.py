"""How deliveries become one window, without a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from personalization.state.compaction import compact_window
from personalization.state.event_batch import EventBatch, event_batches
from personalization.state.items import UserWindow
from tests.support import events_of


def purchases(moments: Sequence[int], **common: Any) -> EventBatch:
    """Purchases at these moments, each worth its moment."""
    rows = [{"timestamp": t, "event_type": "purchase", "event_value": float(t), "item_id": f"i{t}"} | common for t in moments]
    ((_, batch),) = event_batches(events_of(rows))
    return batch


def window_of(*files: Sequence[int], max_events: int = 3) -> UserWindow:
    window = UserWindow()
    for moments in files:
        window = compact_window("u", window, purchases(moments), None, max_events)
    return window


def recent(window: UserWindow) -> list[int]:
    return window.recent.events.timestamp.tolist() if window.recent else []


def older(window: UserWindow) -> tuple[float, float] | None:
    """Number and value of the events that are only known as sums."""
    return None if window.evicted is None else (window.evicted.events[0].item(), window.evicted.value[0].item())


def test_what_fits_is_kept_one_by_one() -> None:
    window = window_of([2, 1], [3])
    assert recent(window) == [1, 2, 3]
    assert older(window) is None


def test_the_oldest_are_evicted_into_sums() -> None:
    window = window_of([1, 2, 3, 4, 5])
    assert recent(window) == [3, 4, 5]
    assert older(window) == (2, 1 + 2)
    assert window.watermark is not None
    assert window.watermark[0] == 2


def test_increments_add_up() -> None:
    window = window_of([1, 2], [3, 4], [5, 6, 7])
    assert recent(window) == [5, 6, 7]
    assert older(window) == (4, 1 + 2 + 3 + 4)


@pytest.mark.parametrize("again", [[1, 2, 3, 4, 5, 6], [1, 2], [3, 4], [5, 6], [1, 2, 5, 6]])
def test_a_repeated_part_changes_nothing(again: list[int]) -> None:
    before = window_of([1, 2, 3, 4, 5, 6])
    after = compact_window("u", before, purchases(again), None, 3)
    assert recent(after) == recent(before) == [4, 5, 6]
    assert older(after) == older(before) == (3, 6)


def test_a_file_that_covers_the_whole_history_replaces_the_sums() -> None:
    window = window_of([2, 4, 6, 8, 10])
    assert older(window) == (2, 2 + 4)
    window = compact_window("u", window, purchases([1, 2, 3, 4, 6, 8, 10]), None, 3)
    assert recent(window) == [6, 8, 10]
    assert older(window) == (4, 1 + 2 + 3 + 4)


@pytest.mark.parametrize("part", [[1, 2], [3, 4, 5], [1]])
def test_older_events_of_a_file_that_covers_less_are_not_counted_again(part: list[int]) -> None:
    window = window_of([2, 3, 4, 5, 6, 7, 8])
    assert older(compact_window("u", window, purchases(part), None, 3)) == older(window) == (4, 2 + 3 + 4 + 5)


def test_late_events_of_the_api_are_added_to_the_sums() -> None:
    window = compact_window("u", window_of([2, 4, 6, 8, 10]), None, purchases([1, 3, 12]), 3)
    assert recent(window) == [8, 10, 12]
    assert older(window) == (5, (2 + 4) + (1 + 3) + 6)


def test_late_events_that_the_file_holds_too_count_once() -> None:
    window = compact_window("u", window_of([2, 4, 6, 8, 10]), purchases([1, 2, 3, 4, 6, 8, 10]), purchases([1, 3]), 3)
    assert older(window) == (4, 1 + 2 + 3 + 4)


def test_of_equal_moments_the_same_ones_stay_whatever_the_order() -> None:
    rows = [{"timestamp": 7, "item_id": name} for name in "abcdefgh"]
    kept = set()
    for turn in range(8):
        window = UserWindow()
        for row in rows[turn:] + rows[:turn]:
            ((_, batch),) = event_batches(events_of([row]))
            window = compact_window("u", window, None, batch, 3)
        assert window.recent is not None
        kept.add(frozenset(window.recent.events.items[code] for code in window.recent.events.item))
        assert older(window) == (5, 0)
    assert len(kept) == 1


def test_without_a_limit_nothing_is_evicted() -> None:
    assert recent(compact_window("u", window_of([1, 2, 3]), None, purchases([4, 5]), None)) == [1, 2, 3, 4, 5]


def test_lines_of_one_order_stay_one_order_however_they_come() -> None:
    ((_, first),) = event_batches(events_of([{"timestamp": 1, "item_id": "a"}]), None, ["o"])
    ((_, second),) = event_batches(events_of([{"timestamp": 2, "item_id": "b"}, {"timestamp": 3}]), None, ["o", "p"])
    window = compact_window("u", compact_window("u", UserWindow(), first, None, 9), second, None, 9)
    assert window.recent is not None
    one, two, three = window.recent.events.order.tolist()
    assert one == two != three
