"""A bundle that baselines beat on validation is not published by default."""

from __future__ import annotations

from typing import Any

import pytest

from personalization.core.errors import InvalidInput
from training.gate import assert_beats_baselines


def manifest(value: float, users: int = 5_000, **baselines: float) -> dict[str, Any]:
    return {
        "model": "sequence-mix",
        "metrics": {"validation": {"ndcg_at_10": value, "users": users}},
        "baselines_validation": {name: {"ndcg_at_10": rival} for name, rival in baselines.items()},
    }


def test_the_best_of_the_baselines_counts() -> None:
    assert_beats_baselines(manifest(0.081, popularity=0.01, item_knn=0.080))
    with pytest.raises(InvalidInput, match=r"received 0\.0800; item_knn has 0\.0810"):
        assert_beats_baselines(manifest(0.080, popularity=0.01, item_knn=0.081))


def test_as_good_as_a_baseline_is_not_enough() -> None:
    with pytest.raises(InvalidInput):
        assert_beats_baselines(manifest(0.08, item_knn=0.08))


def test_a_shortfall_within_a_standard_error_passes_where_users_are_few() -> None:
    # One standard error of 100 users at .2 is √(.2 · .8 / 100) = .04.
    assert_beats_baselines(manifest(0.161, users=100, personal_frequency=0.2))
    with pytest.raises(InvalidInput):
        assert_beats_baselines(manifest(0.159, users=100, personal_frequency=0.2))
    with pytest.raises(InvalidInput):
        assert_beats_baselines(manifest(0.161, users=200, personal_frequency=0.2))


def test_constants_and_bundles_without_validation_pass() -> None:
    assert_beats_baselines({**manifest(0.01, popularity=0.02), "model": "base-rate"})
    assert_beats_baselines(
        {"model": "sequence-mix", "metrics": {"validation": None}, "baselines_validation": {"popularity": None}}
    )
    assert_beats_baselines({"model": "tabular", "metrics": {"validation": {"auc": 0.7}}})
