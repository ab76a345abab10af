"""Lists for many users at once: the plain ranking that training judged, over the items that there are now."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from personalization.recommendations import InteractionHistory, demote_seen
from personalization.recommendations.components import REPEAT_FEATURES, neighbour_additions, repeat_features
from personalization.recommendations.recommend import top
from personalization.recommendations.recommender import STATIC
from personalization.recommendations.scorers import user_embedding
from personalization.recommendations.serving_catalog import ServingCatalog
from personalization.recommendations.sparse import SparseScores

_CELLS: Final = 8_000_000  # of a block of scores; bounds memory, not answers


def recommend_batch(here: ServingCatalog, histories: InteractionHistory, k: int) -> list[list[dict[str, Any]]]:
    """``{"item_id", "score"}`` of the best `k` items of each user, best first; fewer only where there are fewer.

    What a user had comes after all others unless the training data showed repeat buying. Without filters, variants of one
    parent may stand side by side.
    """
    block = max(1, _CELLS // max(len(here), 1))
    k = min(k, len(here) if here.shown is None else len(here.shown))
    found: list[list[dict[str, Any]]] = []
    for start in range(0, len(histories), block):
        found += _block(here, histories.take(np.arange(start, min(start + block, len(histories)))), k)
    return found


def _block(here: ServingCatalog, histories: InteractionHistory, k: int) -> list[list[dict[str, Any]]]:
    recommender, mix = here.recommender, here.recommender.mix
    query = user_embedding(here, histories)
    scores = np.empty((len(histories), len(here)), np.float32)
    known = len(recommender.items)
    np.matmul(query, recommender.vectors.T, out=scores[:, :known])
    if len(here.new.vectors):
        np.matmul(query, here.new.vectors.T, out=scores[:, known:])
    warm = (histories.lengths > 0)[:, None]
    weights = np.where(warm, *(np.array([w.get(name, 0.0) for name in STATIC], np.float32) for w in (mix.static, mix.cold)))
    scores += weights.astype(np.float32) @ here.static
    for name, matrix in here.neighbours:
        neighbour_additions(histories, matrix, mix.rank_weights(name)).add_to(scores)
    if mix.repeat:
        user, item, features = repeat_features(histories, here.repurchase)
        again = np.array([mix.repeat.get(name, 0.0) for name in REPEAT_FEATURES], np.float32)
        SparseScores(user, item, features @ again).add_to(scores)
    places = scores if recommender.repeat_buying else demote_seen(scores, histories)
    if here.available is not None:
        places = np.where(here.available, places, np.float32(-np.inf))
    return [
        [{"item_id": here.items[code], "score": round(float(row[code]), 6)} for code in codes]
        for codes, row in zip(top(places, k).tolist(), scores, strict=True)
    ]
