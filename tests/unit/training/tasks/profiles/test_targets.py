"""Attributes of the users table are missing in a part of the training rows."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("keras")

from personalization.core.encoder import Column, TableEncoder
from training.fitting import Examples
from training.tasks.profiles.targets import HIDDEN_SHARE, attribute_dropout, without_attributes

ENCODER = TableEncoder(
    (
        Column("orders", "numeric"), Column("user.age", "numeric"), Column("preferred_category", "categorical", ("tea",)),
        Column("user.region", "categorical", ("north",)), Column("user.since", "date"),
    )
)  # fmt: skip


def examples(rows: int) -> Examples:
    inputs = {"numeric": np.ones((rows, 6), np.float32), "categorical": np.full((rows, 2), 2, np.int64)}
    return Examples(inputs, {"purchase": np.zeros((rows, 2), np.float32)})


def test_only_attributes_become_missing() -> None:
    whole = examples(2)
    result = without_attributes(ENCODER, whole, np.array([True, False]))
    np.testing.assert_array_equal(result.inputs["numeric"], [[1, *[np.nan] * 5], [1] * 6])
    assert result.inputs["categorical"].tolist() == [[2, 0], [2, 2]]
    assert not np.isnan(whole.inputs["numeric"]).any()  # the original is not touched


def test_a_seeded_share_of_the_rows_loses_its_attributes() -> None:
    hidden = np.isnan(attribute_dropout(ENCODER, examples(4_000), seed=1).inputs["numeric"][:, 1])
    assert hidden.mean() == pytest.approx(HIDDEN_SHARE, abs=0.03)
    again = np.isnan(attribute_dropout(ENCODER, examples(4_000), seed=1).inputs["numeric"][:, 1])
    np.testing.assert_array_equal(hidden, again)


def test_without_attributes_nothing_is_copied() -> None:
    bare = examples(3)
    assert attribute_dropout(TableEncoder((Column("orders", "numeric"),)), bare, seed=1) is bare
