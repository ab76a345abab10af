"""Metrics by group: the groups, their metrics, and which are miscalibrated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from personalization.core.encoder import Column, TableEncoder
from personalization.core.errors import InvalidInput
from training.evaluation.group_metrics import groupings, metrics_by_group, miscalibrated
from training.report import group_section

ENCODER = TableEncoder(
    (
        Column("age", "numeric"),
        Column("channel", "categorical", ("web", "app")),
        Column("city", "categorical", tuple(f"c{n}" for n in range(40))),
        Column("mail", "hashed", buckets=64, salt="00"),
    )
)
AGES = [*range(20, 80)] * 2 + [None] * 40
CHANNELS = ["web"] * 100 + ["app"] * 45 + [""] * 10 + ["fax"] * 5
N = 160


def inputs() -> dict[str, Any]:
    return ENCODER.encode({"age": AGES, "channel": CHANNELS, "city": ["c1", "c2"] * 80, "mail": ["a"] * N}, N).inputs


def test_columns_of_few_words_are_grouped_by_default_and_others_by_name() -> None:
    assert [g.column for g in groupings(ENCODER, inputs())] == ["channel"]
    assert [g.column for g in groupings(ENCODER, inputs(), ["city", "age"])] == ["city", "age"]
    assert [g.column for g in groupings(ENCODER, inputs(), numeric_prefix="a")] == ["age", "channel"]
    for name in ("mail", "height"):
        with pytest.raises(InvalidInput, match=f"received '{name}'; there are \\['age', 'channel', 'city'\\]"):
            groupings(ENCODER, inputs(), [name])


def test_bands_hold_equal_numbers_and_missing_values_are_a_group() -> None:
    (grouping,) = groupings(ENCODER, inputs(), ["age"])
    assert list(grouping.names) == ["below 34.75", "34.75 to below 49.5", "49.5 to below 64.25", "64.25 and more", "missing"]
    assert np.bincount(grouping.codes).tolist() == [30, 30, 30, 30, 40]
    ones = TableEncoder((Column("n", "numeric"),))
    (steps,) = groupings(ones, ones.encode({"n": [0] * 70 + [1] * 20 + [2] * 10}, 100).inputs, ["n"])
    assert np.bincount(steps.codes, minlength=len(steps.names)).tolist()[1:] == [70, 30, 0]
    assert groupings(ones, ones.encode({"n": [None] * 9}, 9).inputs, ["n"]) == []


def test_each_group_has_its_metrics_and_small_ones_are_pooled() -> None:
    labels = np.tile([1.0, 0.0], N // 2)
    predicted = np.where(np.arange(N) < 100, 0.5, 0.1)
    result = metrics_by_group(labels, predicted, 0.5, groupings(ENCODER, inputs()))["channel"]
    assert [(row["group"], row["rows"]) for row in result] == [("web", 100), ("app", 45)]
    web, app = result
    assert (web["rate"], web["mean_probability"], web["precision"], web["recall"]) == (0.5, 0.5, 0.5, 1.0)
    assert web["standard_error"] == pytest.approx(np.sqrt(0.25 / 100))
    assert (web["off"], app["off"]) == (False, True)  # .5 against .1, whose chance is ± .04
    assert miscalibrated({"channel": result}) == ["channel = app (45 rows): predicted 10.0%, observed 51.1%"]
    # 10 empty cells and 5 unknown words are too few for a group, even pooled; with 20 more they are not.
    many = [*CHANNELS[:100], *[""] * 29, *["fax"] * 31]
    result = metrics_by_group(
        labels, predicted, 0.5, groupings(ENCODER, ENCODER.encode({"channel": many}, N).inputs, ["channel"])
    )["channel"]
    assert [(row["group"], row["rows"]) for row in result] == [("web", 100), ("not known in training", 31)]


def test_groups_under_thirty_are_pooled() -> None:
    some = ["web"] * 110 + ["app"] * 25 + [""] * 25
    groups = groupings(ENCODER, ENCODER.encode({"channel": some}, N).inputs, ["channel"])
    result = metrics_by_group(np.tile([1.0, 0.0], 80), np.full(N, 0.5), 0.5, groups)["channel"]
    assert [(row["group"], row["rows"]) for row in result] == [("web", 110), ("smaller groups", 50)]


def test_a_row_counts_as_often_as_its_weight_says() -> None:
    labels, predicted = np.tile([1.0, 0.0], 80), np.linspace(0.2, 0.8, N)
    weight = np.tile([3.0, 1.0], 80)
    web = metrics_by_group(labels, predicted, 0.5, groupings(ENCODER, inputs()), weight)["channel"][0]
    assert web["rate"] == pytest.approx(0.75)
    repeated = np.repeat(np.arange(100), weight[:100].astype(int))
    assert web["mean_probability"] == pytest.approx(predicted[repeated].mean())


def test_the_report_shows_the_groups() -> None:
    result = metrics_by_group(np.tile([1.0, 0.0], 80), np.full(N, 0.5), 0.5, groupings(ENCODER, inputs()))
    html = group_section(result)
    assert "channel" in html
    assert ">web<" in html
    assert group_section({}) == ""
    assert group_section(None) == ""
