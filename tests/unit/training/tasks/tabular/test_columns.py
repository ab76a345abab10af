"""What is done with the columns of a table that was never seen before."""

from __future__ import annotations

import random
from typing import Any

import pytest

from training.tasks.tabular.columns import ColumnDecision, decide_columns

ROWS = 60
SALT = "00" * 16


def decide(cells: list[Any], name: str = "column") -> ColumnDecision:
    (decision,) = decide_columns({name: cells}, len(cells), salt=SALT)
    return decision


def cycle(*words: Any) -> list[Any]:
    return [words[row % len(words)] for row in range(ROWS)]


SHUFFLED = random.Random(1).sample(range(ROWS), ROWS)


@pytest.mark.parametrize(
    ("name", "cells", "reason"),
    [
        ("a", cycle(""), "all cells are missing"),
        ("a", ["7"] * ROWS, "the same value in every row"),
        ("a", [str(row) for row in range(ROWS)], "counts the rows"),
        ("a", list(range(ROWS, 0, -1)), "counts the rows"),
        ("a", sorted(random.Random(2).sample(range(85), ROWS)), "counts the rows"),  # seven in ten of them
        ("customer_no", [f"C{row:05}" for row in range(ROWS)], "another word in almost every row"),
        ("id", [str(1000 + 7 * row) for row in SHUFFLED], "an id"),
        ("编号", [1000 + 7 * row for row in SHUFFLED], "an id"),
        ("comment", [f"text {row // 2}" if row < 10 else f"other {row}" for row in range(ROWS)], "most of them in one row"),
    ],
)
def test_columns_of_no_use_are_dropped_with_the_reason(name: str, cells: list[Any], reason: str) -> None:
    decision = decide(cells, name)
    assert decision.action == "dropped"
    assert decision.column is None
    assert reason in decision.reason


def test_a_column_that_is_nearly_all_missing_is_dropped_by_its_share() -> None:
    cells = ["5", "6"] + [""] * 998
    decision = decide(cells)
    assert (decision.action, decision.missing) == ("dropped", 0.998)
    assert "99.8%" in decision.reason
    assert decide(["5", "6"] * 10 + [""] * 980).action == "numeric"


@pytest.mark.parametrize("name", ["user_id", "USER_ID", "CustomerID", "visitor id", "household_id"])
def test_who_it_is_does_not_decide(name: str) -> None:
    assert decide(cycle("a", "b"), name).action == "key"


def test_numbers_with_some_stray_text_stay_numbers_and_the_rest_is_counted() -> None:
    cells = [f"{row}.5" for row in range(57)] + ["n/a", "unknown", "see note"]
    decision = decide(cells)
    assert (decision.action, decision.bad, decision.distinct) == ("numeric", 2, 59)
    assert "2 other cells count as missing" in decision.reason
    assert decide([f"{row}.5" for row in range(50)] + ["unknown"] * 10).action != "numeric"


def test_codes_with_leading_zeros_are_words() -> None:
    decision = decide(cycle("00501", "02134", "90210"))
    assert decision.column is not None
    assert (decision.action, set(decision.column.vocabulary)) == ("categorical", {"00501", "02134", "90210"})


def test_truth_values_of_json_are_words() -> None:
    decision = decide(cycle(True, False, True))
    assert decision.column is not None
    assert decision.column.vocabulary == ("true", "false")


def test_one_word_or_nothing_is_information() -> None:
    decision = decide(cycle("gift", "", ""))
    assert decision.column is not None
    assert decision.column.vocabulary == ("gift",)


def test_words_come_most_frequent_first_and_one_met_once_is_unknown() -> None:
    decision = decide(["web", "app", "app", "fax"] + ["app", "web"] * 10)
    assert decision.column is not None
    assert decision.column.vocabulary == ("app", "web")
    assert "1 met once" in decision.reason


def test_many_different_words_are_hashed_and_none_is_stored() -> None:
    words = [f"person {row % 300}" for row in range(1200)]
    decision = decide(words, "city")
    assert decision.action == "hashed"
    assert decision.column is not None
    assert decision.column.to_json() == {"name": "city", "kind": "hashed", "buckets": 128, "salt": SALT}


@pytest.mark.parametrize(
    "cells",
    [
        [f"2026-01-{1 + row % 28:02}" for row in range(ROWS)],
        [f"2026-01-{1 + row % 28:02}T10:00:00Z" for row in range(ROWS)],
        [f"2026-01-{1 + row % 28:02} 10:00" for row in range(ROWS - 1)] + ["soon"],
    ],
)
def test_dates_are_dates(cells: list[str]) -> None:
    assert decide(cells, "since").action == "date"


@pytest.mark.parametrize("name", ["created_at", "注册时间", "timestamp"])
def test_numbers_are_times_where_the_name_says_so(name: str) -> None:
    seconds = [1_700_000_000 + 86_400 * row for row in SHUFFLED]
    assert decide(seconds, name).action == "date"
    assert decide(seconds, "revenue").action == "numeric"


def test_dates_in_an_unread_form_are_pointed_out() -> None:
    decision = decide([f"{1 + row % 12:02}/{1 + row % 5:02}/2026" for row in range(ROWS)])
    assert "looks like dates" in decision.warning


def test_an_id_that_repeats_is_a_word_not_a_number() -> None:
    assert decide([1000 + row % 25 for row in range(1000)], "item_id").action == "categorical"
    assert decide([1000 + row % 25 for row in range(1000)], "points").action == "numeric"
