"""Segments by predicted behaviour: which rule fits, and where the numbers in the rules come from."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from personalization.profiles import behaviour as module
from personalization.profiles.behaviour import SEGMENTS, SegmentThresholds, SegmentTraits, assign_segment
from training.tasks.profiles.segments import behaviour_thresholds

LIMITS = SegmentThresholds(ready=0.6, cooling=0.3, lapse=0.5, value=200, new_days=14, horizon=14, churn=90)
USUAL: dict[str, float] = {
    "probability": 0.4, "churn_risk": 0.1, "orders": 3, "monetary": 80, "tenure_days": 200, "purchase_days": 20
}  # fmt: skip


def name(**changes: float) -> str:
    return assign_segment(SegmentTraits(**(USUAL | changes)), LIMITS).name


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "Steady"),
        ({"monetary": 200}, "High value, steady"),
        ({"monetary": 200, "churn_risk": 0.3}, "High value, cooling"),
        ({"monetary": 199.99, "churn_risk": 0.3}, "Steady"),
        ({"churn_risk": 0.5}, "About to lapse"),
        ({"churn_risk": 0.5, "purchase_days": 90}, "About to lapse"),
        ({"churn_risk": 0.5, "purchase_days": 90.1}, "Lapsed"),
        ({"churn_risk": 0.5, "purchase_days": 300, "monetary": 500}, "High value, cooling"),
        ({"probability": 0.6, "monetary": 500}, "Ready to buy"),
        ({"tenure_days": 14, "probability": 0.9}, "New"),
        ({"orders": 0, "tenure_days": 3}, "Prospects"),
        ({"orders": 0, "probability": 0.6}, "Ready to buy"),
        ({"orders": math.nan, "monetary": math.nan, "tenure_days": math.nan}, "Prospects"),
        ({"monetary": math.nan, "tenure_days": math.nan, "purchase_days": math.nan}, "Steady"),
    ],
)
def test_the_first_rule_that_fits(changes: dict[str, float], expected: str) -> None:
    assert name(**changes) == expected


def test_everybody_is_in_a_segment_and_each_can_be_reached() -> None:
    values = {
        "probability": (0.1, 0.7), "churn_risk": (0.1, 0.4, 0.8), "orders": (0, 2), "monetary": (10, 300),
        "tenure_days": (5, 100), "purchase_days": (5, 200),
    }  # fmt: skip
    found = {name(**dict(zip(values, combination, strict=True))) for combination in itertools.product(*values.values())}
    assert found == {segment.name for segment in SEGMENTS}
    assert len({segment.slug for segment in SEGMENTS}) == len(SEGMENTS)


def test_a_rule_says_its_numbers() -> None:
    assert module.COOLING.rule_with(LIMITS) == "a net value of at least 200, and a churn risk over 90 days of at least 0.3"
    assert module.COOLING.slug == "high-value-cooling"
    for segment in SEGMENTS:
        assert "{" not in segment.rule_with(LIMITS)


def manifest(**more: Any) -> dict[str, Any]:
    return {"horizon": 14, "churn_horizon": 90, "hazard_days": [7, 14, 30, 90]} | more


def test_thresholds_are_those_that_training_stored() -> None:
    stored = {"ready": 0.6, "cooling": 0.3, "lapse": 0.5, "value": 200, "new_days": 14}
    assert SegmentThresholds.from_manifest(manifest(behaviour=stored)) == LIMITS
    assert SegmentThresholds.from_manifest(manifest(behaviour=None, rfm={"monetary": [1, 2, 3, 4]})) is None


def test_an_older_bundle_is_read_by_its_rates() -> None:
    older = manifest(
        rfm={"monetary": [10, 20, 40, 90]}, fallback={"probability": 0.2, "probability_within": [0.1, 0.2, 0.3, 0.5]}
    )
    found = SegmentThresholds.from_manifest(older)
    assert found is not None
    # odds of 1 to 2 instead of 1 to 4 to buy; four fifths, and half, of the rate of those who come again
    assert (found.ready, found.cooling, found.lapse) == (pytest.approx(1 / 3), pytest.approx(0.6), pytest.approx(0.75))
    assert (found.value, found.new_days) == (90, 30)
    assert SegmentThresholds.from_manifest(manifest()) is None


class Predicting:
    """A bundle that says P(buys within 14, 90 days) = x, y of a row."""

    manifest = manifest(hazard_days=[14, 90])

    class encoder:  # noqa: N801
        @staticmethod
        def encode(columns: Any, rows: int) -> Any:
            return SimpleNamespace(inputs={"within": np.stack([columns["x"], columns["y"]], axis=1)})

    @staticmethod
    def run(inputs: Any) -> Any:
        return {"probability_within": inputs["within"]}


def test_thresholds_are_quantiles_of_buyers_and_predictions() -> None:
    columns = {
        "orders": np.array([0.0, 1, 2, 1, 4, 1]),
        "monetary": np.array([0.0, 10, 20, 30, 40, 60]),
        "tenure_days": np.array([1.0, 20, 100, 200, 300, 400]),
        "x": np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        "y": np.array([0.9, 0.6, 0.5, 0.4, 0.3, 0.2]),
    }
    found = behaviour_thresholds(Predicting(), SimpleNamespace(columns=columns))  # type: ignore[arg-type]
    assert found == {
        "ready": pytest.approx(0.4),  # the fifth of six values from 0 to 0.5
        "cooling": pytest.approx(0.6),  # the middle of 0.4, 0.5, 0.6, 0.7, 0.8
        "lapse": pytest.approx(0.7),
        "value": pytest.approx(44),  # a fifth of the way from 40 to 60
        "new_days": 30,  # the tenth of the buyers' days would be 52
    }
    assert behaviour_thresholds(Predicting(), SimpleNamespace(columns=columns | {"x": np.full(6, 0.3)})) is None  # type: ignore[arg-type]
    assert behaviour_thresholds(Predicting(), SimpleNamespace(columns=columns | {"orders": np.zeros(6)})) is None  # type: ignore[arg-type]
