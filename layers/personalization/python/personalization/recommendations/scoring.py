"""The one assembly of scores; the API, batch files and evaluation all rank by it.

    score = user embedding · item embedding + static score + contributions of the items of the history

Products with all items are approximate (8-bit numbers, or the rounding of a matrix product, which differs with its shape).
They choose candidates; what is ranked and answered are exact scores, computed item by item. So equal items have equal scores
and ties are broken alike, whether one user is scored or a thousand.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.recommendations.components import (
    REPEAT_FEATURES,
    Contributions,
    neighbor_contributions,
    repeat_contributions,
)
from personalization.recommendations.history import InteractionHistory
from personalization.recommendations.recommender import Recommender
from personalization.recommendations.retrieval import candidates, top_k
from personalization.recommendations.serving_catalog import ServingCatalog

Codes = NDArray[np.integer[Any]]
CELLS: Final = 4_000_000  # scores of a block of users; bounds memory, not results
RESCORED: Final = 200  # of the best by 8-bit products
_ROUNDING: Final = 1e-5  # relative error of a matrix product, with room to spare
_SHOWN: Final = 20


@dataclass(frozen=True)
class UserScores:
    """Scores of all N items for B users.

    approximate     float32 (B, N): the scores, with approximate products
    additive        float32 (B, N): the exact part of the scores, without the products
    embeddings      float32 (B, D): weighted user embeddings
    contributions   those in `additive`
    """

    approximate: NDArray[np.float32]
    additive: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    contributions: tuple[Contributions, ...]


@dataclass(frozen=True)
class ItemScores:
    """Scores of all N items for one user.

    approximate, additive   float32 (N,), as in `UserScores`
    embedding        (D,) that is multiplied with item embeddings, `None` where `approximate` is exact
    cosine           products are divided by the lengths of the item embeddings
    demoted          codes that come after all others
    boosted          (N,) bool, items that come before all others; `None`: none do
    """

    approximate: NDArray[np.float32]
    additive: NDArray[np.float32]
    embedding: NDArray[np.float32] | None = None
    cosine: bool = False
    demoted: Codes = field(default_factory=lambda: np.zeros(0, np.int64))
    boosted: NDArray[np.bool_] | None = None

    def exact(self, catalog: ServingCatalog, codes: Codes) -> NDArray[np.float32]:
        """(n,) scores of these items."""
        if self.embedding is None:
            return self.additive[codes]
        # `einsum` adds up each row by itself, so a score does not depend on which others are computed.
        products: NDArray[np.float32] = np.einsum("nd,d->n", catalog.vectors(codes), self.embedding)
        if self.cosine:
            products /= catalog.index.norms[codes]
        return products + self.additive[codes]

    def tiers(self, codes: Codes) -> NDArray[np.int8]:
        """(n,) 1 for boosted items, −1 for demoted ones, else 0; a higher tier precedes whatever the scores."""
        tiers = np.zeros(len(codes), np.int8) if self.boosted is None else self.boosted[codes].astype(np.int8)
        if len(self.demoted):
            tiers[self.is_demoted(codes)] = -1
        return tiers

    def is_demoted(self, codes: Codes) -> NDArray[np.bool_]:
        """(n,) whether each of these items is demoted."""
        demoted: NDArray[np.bool_] = (codes[:, None] == self.demoted).any(axis=1)  # of few items faster than `np.isin`
        return demoted


def user_embeddings(catalog: ServingCatalog, histories: InteractionHistory) -> NDArray[np.float32]:
    """(N, D) weighted user embeddings; items that came after training are part of a history like all others."""
    # A table of the items that occur serves encoders of any catalog.
    codes, place = np.unique(histories.item, return_inverse=True)
    recommender = catalog.recommender
    embeddings = recommender.user_embeddings(replace(histories, item=place.astype(np.int32)), catalog.vectors(codes))
    return (recommender.blend.sequence * embeddings).astype(np.float32)


def score_users(catalog: ServingCatalog, histories: InteractionHistory) -> UserScores:
    """Scores of all items of the catalog for N users. Memory: 8 bytes for each user and item."""
    blend = catalog.recommender.blend
    warm = histories.lengths > 0
    additive = np.empty((len(histories), len(catalog)), np.float32)
    additive[warm], additive[~warm] = catalog.warm_static, catalog.cold_static
    embeddings = np.zeros((len(histories), catalog.recommender.vectors.shape[1]), np.float32)
    if not warm.any():
        return UserScores(additive, additive, embeddings, ())
    parts = [neighbor_contributions(histories, matrix, blend.rank_weights(name), name) for name, matrix in catalog.matrices]
    if blend.repeat:
        weights = np.array([blend.repeat.get(name, 0.0) for name in REPEAT_FEATURES], np.float32)
        parts.append(repeat_contributions(histories, catalog.repurchase, weights))
    for part in parts:
        part.add_to(additive)
    embeddings = user_embeddings(catalog, histories)
    approximate = catalog.index.products(embeddings)
    approximate += additive
    return UserScores(approximate, additive, embeddings, tuple(parts))


def top_items(
    catalog: ServingCatalog, scores: ItemScores, count: int, mask: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best `count` items and their exact scores: by tier, then the higher score, then the lower code.

    mask   (N,) bool, items that may be in the list; `None`: all
    """
    if scores.boosted is None and not len(scores.demoted):
        return _best(catalog, scores, count, mask)
    rest = np.ones(len(catalog), bool) if mask is None else mask.copy()
    rest[scores.demoted] = False
    tiers = [rest] if scores.boosted is None else [rest & scores.boosted, rest & ~scores.boosted]
    codes, values = _best(catalog, scores, count, tiers[0])
    for tier in tiers[1:]:
        if len(codes) < count:
            more, more_values = _best(catalog, scores, count - len(codes), tier)
            codes, values = np.append(codes, more), np.append(values, more_values)
    if len(codes) < count and len(scores.demoted):
        demoted = np.unique(scores.demoted if mask is None else scores.demoted[mask[scores.demoted]])
        last = scores.exact(catalog, demoted)
        order = np.argsort(-last, kind="stable")[: count - len(codes)]
        codes, values = np.append(codes, demoted[order]), np.append(values, last[order])
    return codes, values


def _best(
    catalog: ServingCatalog, scores: ItemScores, count: int, mask: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    if scores.embedding is None:
        codes = top_k(scores.approximate, count, mask)
        return codes, scores.approximate[codes]
    if catalog.index.coarse is None:
        codes = candidates(scores.approximate, count, mask, _ROUNDING)
    else:
        codes = np.sort(top_k(scores.approximate, max(2 * count, RESCORED), mask))
    values = scores.exact(catalog, codes)
    order = np.argsort(-values, kind="stable")[:count]
    return codes[order], values[order]


def evaluation_scores(recommender: Recommender, histories: InteractionHistory) -> NDArray[np.float32]:
    """(N, items) scores of a model's items for evaluation; those of the first 20 of each user are exact.

    A ranking of a row by `retrieval.top_k` is the list that `recommend_batch` and the API give, before items of the history
    are demoted.
    """
    catalog = ServingCatalog.of_model(recommender)
    block = score_users(catalog, histories)
    for row, approximate in enumerate(block.approximate):
        scores = ItemScores(approximate, block.additive[row], block.embeddings[row])
        codes = candidates(approximate, _SHOWN, tolerance=_ROUNDING)
        approximate[codes] = scores.exact(catalog, codes)
    return block.approximate


def demote_seen(scores: NDArray[np.float32], histories: InteractionHistory) -> NDArray[np.float32]:
    """The scores (N, items) with the items of each history moved below all others, in their order; a copy."""
    ranking = scores.copy()
    below = scores.max(axis=1) - scores.min(axis=1) + 1.0
    user, item = histories.user, histories.item
    ranking[user, item] = scores[user, item] - below[user]
    return ranking
