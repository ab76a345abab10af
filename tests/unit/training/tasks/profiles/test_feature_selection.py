"""Selection of features, and edges of the RFM quintiles."""

from __future__ import annotations

import numpy as np
import pytest

from tests.profile_samples import sample_of
from training.tasks.profiles.feature_selection import select_features
from training.tasks.profiles.segments import quintile_edges


def test_constant_duplicate_and_empty_features_are_dropped_with_the_reason() -> None:
    nan = np.nan
    words = np.array(["tea"] * 6 + ["cups"] * 5 + ["pots", None], dtype=object)
    columns = {
        "events": np.arange(13.0),
        "purchase_lines": np.arange(13.0),
        "views": np.zeros(13),
        "conversion": np.full(13, nan),
        "rating_mean": np.array([nan] * 12 + [4.0]),
        "preferred_category": words,
        "preferred_channel": np.full(13, None, dtype=object),
    }
    result = {d.name: d for d in select_features(columns)}
    assert {name: d.action for name, d in result.items()} == {
        "events": "numeric", "purchase_lines": "dropped", "views": "dropped", "conversion": "dropped", "rating_mean": "numeric",
        "preferred_category": "categorical", "preferred_channel": "dropped",
    }  # fmt: skip
    assert result["purchase_lines"].reason == "the same as events"
    assert result["preferred_category"].column is not None
    assert result["preferred_category"].column.vocabulary == ("tea", "cups")  # pots is too rare to be told from unknown
    assert result["rating_mean"].missing == pytest.approx(12 / 13)


def test_quintile_edges_are_those_of_the_buyers() -> None:
    orders = [0.0, 1, 2, 3, 4, 5, 6]
    columns = {
        "orders": orders,
        "recency_purchase_days": [np.nan, 60, 50, 40, 30, 20, 10],
        "monetary": [0.0, 10, 20, 30, 40, 50, 60],
    }
    edges = quintile_edges(sample_of(columns))
    # Six values, evenly spaced: the fifths lie at 1/5, 2/5, 3/5 and 4/5 of the way from the least to the largest.
    assert edges == {
        "recency": [20.0, 30.0, 40.0, 50.0], "frequency": [2.0, 3.0, 4.0, 5.0], "monetary": [20.0, 30.0, 40.0, 50.0],
    }  # fmt: skip


def test_without_buyers_there_are_no_quintiles() -> None:
    assert quintile_edges(sample_of({"orders": [0.0], "recency_purchase_days": [np.nan], "monetary": [0.0]})) is None
