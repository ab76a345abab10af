"""RFM scores and the names that cover them."""

from __future__ import annotations

import itertools
import math

import pytest

from personalization.profiles.rfm import PROSPECT, RULES, RfmQuintiles, rfm_segment, segment_spread

EDGES = RfmQuintiles(recency=(5, 10, 20, 40), frequency=(2, 3, 5, 9), monetary=(10, 50, 100, 500))


def test_the_best_and_the_worst() -> None:
    assert rfm_segment(1, 12, 900, EDGES) == {"name": "Champions", "recency": 5, "frequency": 5, "monetary": 5}
    assert rfm_segment(300, 1, 5, EDGES) == {"name": "Lost", "recency": 1, "frequency": 1, "monetary": 1}


def test_an_edge_belongs_to_the_better_side() -> None:
    assert rfm_segment(5, 2, 10, EDGES)["recency"] == 5
    assert rfm_segment(5.01, 2, 10, EDGES)["recency"] == 4
    assert rfm_segment(5, 2, 10, EDGES)["frequency"] == 2
    assert rfm_segment(5, 1, 10, EDGES)["frequency"] == 1


def test_one_who_never_bought_is_a_prospect() -> None:
    assert rfm_segment(math.nan, 0, 0, EDGES)["name"] == PROSPECT


def test_the_rules_cover_every_pair_of_scores_once_a_first_match() -> None:
    for recency, worth in itertools.product(range(1, 6), range(1, 6)):
        fits = [name for name, (r0, r1), (w0, w1) in RULES if r0 <= recency <= r1 and w0 <= worth <= w1]
        assert fits, (recency, worth)
    assert len({name for name, _, _ in RULES}) == len(RULES)


def test_as_many_effective_segments_as_there_are_of_one_size() -> None:
    assert segment_spread({"a": 5, "b": 5, "c": 5, "d": 0}) == {"coverage": 1.0, "diversity": pytest.approx(3, abs=1e-5)}
    assert segment_spread({"a": 9, PROSPECT: 0}) == {"coverage": 1.0, "diversity": 1.0}
    assert segment_spread({"a": 1, PROSPECT: 3})["coverage"] == 0.25
    assert segment_spread({"a": 0}) == {"coverage": None, "diversity": None}
