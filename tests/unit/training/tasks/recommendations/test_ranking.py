"""Ranking metrics: a case worked out by hand, and a second scorer written from the definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.evaluation.ranking import TopListMetrics, ranking_metrics, target_ranks


def test_by_hand() -> None:
    scores = np.array([[0.9, 0.1, 0.5, 0.3], [0.2, 0.2, 0.2, 0.7]], np.float32)
    # First user: item 2 is second, item 1 is last. Second: 0, 1 and 2 share the ranks 1, 2, 3: the middle is 2.
    ranks = target_ranks(scores, [np.array([1, 2]), np.array([0])])
    assert [r.tolist() for r in ranks] == [[3.0, 1.0], [2.0]]
    found = ranking_metrics(ranks)
    assert found["recall_at_5"] == 1.0
    first = (1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3))
    assert found["ndcg_at_5"] == pytest.approx((first + 0.5) / 2)
    assert found["mrr_at_20"] == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_the_ideal_of_a_large_basket_is_k_hits_and_its_recall_is_by_all_of_it() -> None:
    found = ranking_metrics([np.arange(12, dtype=float)])
    assert found["ndcg_at_5"] == pytest.approx(1.0)
    assert found["recall_at_5"] == pytest.approx(5 / 12)
    assert found["recall_at_20"] == pytest.approx(1.0)


def test_all_equal_scores_are_worth_nothing_in_a_large_catalogue() -> None:
    """A method that cannot tell items apart must not profit from where they stand."""
    ranks = target_ranks(np.zeros((1, 1001), np.float32), [np.array([0])])
    assert ranks[0].tolist() == [500.0]
    assert ranking_metrics(ranks)["recall_at_20"] == 0.0


def test_a_second_scorer_agrees() -> None:
    random = np.random.default_rng(3)
    scores = random.permuted(np.arange(50 * 60, dtype=np.float32).reshape(50, 60), axis=1)
    targets = [random.choice(60, random.integers(1, 9), replace=False) for _ in range(50)]
    found = ranking_metrics(target_ranks(scores, targets))
    for k in (5, 10, 20):
        recalls, ndcgs = [], []
        for row, wanted in zip(scores, targets, strict=True):
            top = sorted(range(60), key=lambda item, row=row: -row[item])[:k]
            hits = [item in set(wanted.tolist()) for item in top]
            gain = sum(1 / math.log2(place + 2) for place, hit in enumerate(hits) if hit)
            ideal = sum(1 / math.log2(place + 2) for place in range(min(k, len(wanted))))
            recalls.append(sum(hits) / len(wanted))
            ndcgs.append(gain / ideal)
        assert found[f"recall_at_{k}"] == pytest.approx(np.mean(recalls))
        assert found[f"ndcg_at_{k}"] == pytest.approx(np.mean(ndcgs))


def test_lists_as_a_whole() -> None:
    """Two users and 40 items; each sees 20, of which half are the same."""
    scores = np.zeros((2, 40), np.float32)
    scores[0, :20] = np.arange(20, 0, -1)
    scores[1, 10:30] = np.arange(20, 0, -1)
    vectors = np.zeros((40, 2), np.float32)
    vectors[:, 0] = 1.0
    vectors[:5] = [0.0, 1.0]  # five of the first user's first ten are unlike the other five
    lists = TopListMetrics(np.full(40, 1 / 40), vectors)
    lists.add(scores)
    found = lists.metrics()
    assert found["coverage"] == pytest.approx(30 / 40)
    assert found["novelty"] == pytest.approx(math.log2(40))
    unlike = 2 * 5 * 5 / (10 * 9)  # pairs of the first user with cosine 0; the second user's are all alike
    assert found["diversity"] == pytest.approx((unlike + 0.0) / 2)


def test_no_user_no_metric() -> None:
    assert ranking_metrics([]) == {}
