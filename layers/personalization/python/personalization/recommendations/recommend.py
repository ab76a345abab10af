"""What to show next: items of the bundle ranked for histories. How they are scored is in `recommending`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.bundles.bundle import Bundle
from personalization.recommendations import InteractionHistory, Recommender, from_items, load

_CELLS: Final = 8_000_000  # of a block of scores; bounds memory, not answers


def recommend(bundle: Bundle, histories: Sequence[Sequence[str]], k: int) -> list[list[dict[str, Any]]]:
    """The best `k` distinct items for each history, best first: ``{"item_id", "score"}``.

    histories   item ids, oldest first; ids that the bundle does not know are skipped, an empty history is a cold user
    k           fewer are answered only where the bundle has fewer items

    Items of the history come after all others unless the training data showed repeat buying (`repeat_buying`).
    """
    recommender = load(bundle)
    code_of = recommender.code_of_item
    known = [[code_of[item] for item in history if item in code_of] for history in histories]
    return recommend_codes(recommender, from_items(known, recommender.pace, recommender.window.max_events), k)


def recommend_codes(recommender: Recommender, histories: InteractionHistory, k: int) -> list[list[dict[str, Any]]]:
    """`recommend` for histories in columns, with times and baskets where they are known."""
    k = min(k, len(recommender.items))
    block = max(1, _CELLS // max(len(recommender.items), 1))
    answers: list[list[dict[str, Any]]] = []
    for start in range(0, len(histories), block):
        users = np.arange(start, min(start + block, len(histories)))
        some = histories.take(users)
        scores = recommender.scores(some)
        best = top(recommender.placed(scores, some), k)
        for codes, row in zip(best, scores, strict=True):
            answers.append([{"item_id": recommender.items[c], "score": round(float(row[c]), 6)} for c in codes])
    return answers


def top(ranking: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """(N, k) places of the largest of each row, largest first; of equal ones the first."""
    size = ranking.shape[1]
    if k < size // 4:
        some = np.argpartition(-ranking, k - 1, axis=1)[:, :k]
        some.sort(axis=1)
        order = np.argsort(-np.take_along_axis(ranking, some, axis=1), axis=1, kind="stable")
        return np.take_along_axis(some, order, axis=1)
    return np.argsort(-ranking, axis=1, kind="stable")[:, :k]
