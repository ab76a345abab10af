"""Lists for many users at once: the plain ranking that evaluation measures, over the items that there are now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from personalization.bundles.bundle import Bundle
from personalization.recommendations.history import InteractionHistory, from_items
from personalization.recommendations.scoring import CELLS, ItemScores, score_users, top_items
from personalization.recommendations.serving_catalog import ServingCatalog, serving_catalog


def recommend(bundle: Bundle, histories: Sequence[Sequence[str]], k: int) -> list[list[dict[str, Any]]]:
    """The best `k` items of a bundle for each history of item ids, oldest first; see `recommend_batch`.

    Ids that are not in the bundle are skipped; an empty history is a cold user.
    """
    catalog = serving_catalog(bundle)
    recommender = catalog.recommender
    codes = [catalog.lookup(history)[0] for history in histories]
    return recommend_batch(catalog, from_items(codes, recommender.pace, recommender.window.max_events), k)


def recommend_batch(catalog: ServingCatalog, histories: InteractionHistory, k: int) -> list[list[dict[str, Any]]]:
    """``{"item_id", "score"}`` of the best `k` items of each user, best first; fewer only where there are fewer.

    Items of a history come after all others unless the training data showed repeat buying. Variants of one parent may both be
    in a list.
    """
    lists: list[list[dict[str, Any]]] = []
    users = max(1, CELLS // max(len(catalog), 1))
    for start in range(0, len(histories), users):
        some = histories.take(np.arange(start, min(start + users, len(histories))))
        block = score_users(catalog, some)
        for row, approximate in enumerate(block.approximate):
            seen = np.zeros(0, np.int64) if catalog.recommender.repeat_buying else some.of(row)
            scores = ItemScores(approximate, block.additive[row], block.embeddings[row], demoted=seen)
            codes, values = top_items(catalog, scores, k, catalog.available)
            lists.append(
                [
                    {"item_id": catalog.items[code], "score": round(score, 6)}
                    for code, score in zip(codes.tolist(), values.tolist(), strict=True)
                ]
            )
    return lists
