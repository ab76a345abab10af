"""Ranking metrics: a case worked out by hand, and a second scorer written from the definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.evaluation.ranking import TopListMetrics, ranking_metrics, target_ranks


def test_ranks_and_metrics_of_two_users_by_hand() -> None:
    scores = np.array([[0.9, 0.1, 0.5, 0.3], [0.2, 0.2, 0.2, 0.7]], np.float32)
    # First user: item 2 is second, item 1 is last. Second: 0, 1 and 2 share the ranks 1, 2, 3: the middle is 2.
    ranks = target_ranks(scores, [np.array([1, 2]), np.array([0])])
    assert [r.tolist() for r in ranks] == [[3.0, 1.0], [2.0]]
    metrics = ranking_metrics(ranks)
    assert metrics["recall_at_5"] == 1.0
    first = (1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3))
    assert metrics["ndcg_at_5"] == pytest.approx((first + 0.5) / 2)
    assert metrics["mrr_at_20"] == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_a_large_basket_has_an_ideal_of_k_hits_and_recall_counts_all_its_items() -> None:
    metrics = ranking_metrics([np.arange(12, dtype=float)])
    assert metrics["ndcg_at_5"] == pytest.approx(1.0)
    assert metrics["recall_at_5"] == pytest.approx(5 / 12)
    assert metrics["recall_at_20"] == pytest.approx(1.0)


def test_equal_scores_share_their_mean_rank() -> None:
    """A method that gives all items one score gets nothing for their order."""
    ranks = target_ranks(np.zeros((1, 1001), np.float32), [np.array([0])])
    assert ranks[0].tolist() == [500.0]
    assert ranking_metrics(ranks)["recall_at_20"] == 0.0


def test_metrics_agree_with_their_definitions_on_sorted_lists() -> None:
    random = np.random.default_rng(3)
    scores = random.permuted(np.arange(50 * 60, dtype=np.float32).reshape(50, 60), axis=1)
    targets = [random.choice(60, random.integers(1, 9), replace=False) for _ in range(50)]
    metrics = ranking_metrics(target_ranks(scores, targets))
    for k in (5, 10, 20):
        recalls, ndcgs = [], []
        for row, relevant in zip(scores, targets, strict=True):
            top = sorted(range(60), key=lambda item, row=row: -row[item])[:k]
            hits = [item in set(relevant.tolist()) for item in top]
            gain = sum(1 / math.log2(place + 2) for place, hit in enumerate(hits) if hit)
            ideal = sum(1 / math.log2(place + 2) for place in range(min(k, len(relevant))))
            recalls.append(sum(hits) / len(relevant))
            ndcgs.append(gain / ideal)
        assert metrics[f"recall_at_{k}"] == pytest.approx(np.mean(recalls))
        assert metrics[f"ndcg_at_{k}"] == pytest.approx(np.mean(ndcgs))


def test_coverage_novelty_and_diversity_of_two_lists() -> None:
    """Two users and 40 items; each sees 20, of which half are the same."""
    scores = np.zeros((2, 40), np.float32)
    scores[0, :20] = np.arange(20, 0, -1)
    scores[1, 10:30] = np.arange(20, 0, -1)
    embeddings = np.zeros((40, 2), np.float32)
    embeddings[:, 0] = 1.0
    embeddings[:5] = [0.0, 1.0]  # five of the first user's first ten are unlike the other five
    lists = TopListMetrics(np.full(40, 1 / 40), embeddings)
    lists.add(scores)
    metrics = lists.metrics()
    assert metrics["coverage"] == pytest.approx(30 / 40)
    assert metrics["novelty"] == pytest.approx(math.log2(40))
    unlike = 2 * 5 * 5 / (10 * 9)  # pairs of the first user with cosine 0; the second user's are all alike
    assert metrics["diversity"] == pytest.approx((unlike + 0.0) / 2)


def test_there_are_no_metrics_without_users() -> None:
    assert ranking_metrics([]) == {}
