"""The label column: which of two values is the positive one."""

from __future__ import annotations

import numpy as np
import pytest

from personalization.core.errors import InvalidInput
from training.tasks.tabular.label import apply_label, parse_label


@pytest.mark.parametrize(
    ("cells", "positive", "values"),
    [
        (["0", "1", "1"], "1", [0, 1, 1]),
        ([0.0, 1.0, 0.0], "1", [0, 1, 0]),
        ([True, False], "true", [1, 0]),
        (["Yes", "no", "YES"], "yes", [1, 0, 1]),
        (["N", "Y"], "y", [0, 1]),
        (["是", "否"], "是", [1, 0]),
        (["no", "maybe"], "maybe", [0, 1]),  # one of them says "no": the other is the positive
        (["-1", "1"], "1", [0, 1]),
        (["1", "2", "2"], "1", [1, 0, 0]),  # 1 says so itself
        (["2", "10", "2"], "10", [0, 1, 0]),  # as numbers, not as text
        (["stay", "stay", "churn"], "churn", [0, 0, 1]),  # the rarer
        (["good", "bad"], "good", [1, 0]),  # as frequent: the last in the alphabet
    ],
)
def test_the_positive_of_two_values(cells: list[object], positive: str, values: list[int]) -> None:
    label = parse_label("label", cells)
    assert label.positive == positive
    assert label.values.tolist() == values
    assert label.known.all()


def test_missing_labels_are_known_to_be_missing() -> None:
    label = parse_label("label", ["1", "", "0", "NA", None])
    assert label.known.tolist() == [True, False, True, False, False]
    assert label.values[label.known].tolist() == [1, 0]


def test_the_positive_can_be_chosen() -> None:
    assert parse_label("label", ["yes", "no"], positive="No").values.tolist() == [0, 1]
    with pytest.raises(InvalidInput, match=r"'churn', 'stay'.*received 'gone'"):
        parse_label("label", ["stay", "churn"], positive="gone")


@pytest.mark.parametrize("cells", [["a", "b", "c"], ["1", "1"], ["", ""]])
def test_anything_but_two_values_is_refused_with_what_there_is(cells: list[str]) -> None:
    with pytest.raises(InvalidInput, match=f"two different values, received {len(set(cells) - {''})}"):
        parse_label("label", cells)


def test_the_values_of_a_wrong_label_are_listed_with_their_counts() -> None:
    with pytest.raises(InvalidInput, match=r"'a' \(2 rows\), 'b' \(1 rows\), 'c' \(1 rows\)"):
        parse_label("label", ["a", "b", "a", "c"])


def test_another_file_is_read_like_the_first() -> None:
    like = parse_label("label", ["stay", "stay", "churn"])
    other = apply_label("label", ["churn", "churn", ""], like)  # alone it would have one value only
    assert other.values[other.known].tolist() == [1, 1]
    with pytest.raises(InvalidInput, match="'lost'"):
        apply_label("label", ["churn", "lost"], like)
    assert np.array_equal(apply_label("label", ["CHURN"], like).values, [1])
