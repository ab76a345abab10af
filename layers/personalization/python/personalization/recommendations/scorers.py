"""What one user's history says about items: the user vector, and additions with the history items that they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from personalization.core.schema import EVENT_CODE, PURCHASE
from personalization.recommendations import InteractionHistory
from personalization.recommendations.components import REPEAT_FEATURES, repeat_features
from personalization.recommendations.serving_catalog import ServingCatalog

_UNKNOWN_EVENT = -1


@dataclass(frozen=True, slots=True)
class HistoryContributions:
    """Parts of scores: `value` is added to `item` because of the history's place `source`; −1: of the item itself.

    component   ``together``, ``next``, ``alike`` or ``repeat``
    """

    component: str
    source: NDArray[np.int64]
    item: NDArray[np.int32]
    value: NDArray[np.float32]


def user_embedding(assortment: ServingCatalog, histories: InteractionHistory) -> NDArray[np.float32]:
    """(N, D) weighted user vectors; items that came after the training are part of a history like all others."""
    # The encoder looks vectors up in a table: a small one of the items that are there serves models of any size.
    codes, place = np.unique(histories.item, return_inverse=True)
    if not len(codes):
        return np.zeros((len(histories), assortment.recommender.vectors.shape[1]), np.float32)
    known = assortment.vectors(codes)
    local = replace(assortment.recommender, vectors=known)
    vectors = local.user_vectors(replace(histories, item=place.astype(np.int32)))
    return (assortment.recommender.mix.sequence * vectors).astype(np.float32)


def history_contributions(assortment: ServingCatalog, history: InteractionHistory) -> list[HistoryContributions]:
    """What the neighbours of a user's items and buying again add to scores; of one user."""
    mix = assortment.recommender.mix
    found = []
    for name, matrix in assortment.neighbours:
        weights = np.append(mix.rank_weights(name), np.float32(0.0))
        weight = weights[np.minimum(history.basket, len(weights) - 1)]
        used = np.flatnonzero(weight)
        place, item, value = matrix.rows(history.item[used])
        source = used[place]
        found.append(HistoryContributions(name, source, item, (value * weight[source]).astype(np.float32)))
    if mix.repeat and len(history.item):
        weights = np.array([mix.repeat.get(name, 0.0) for name in REPEAT_FEATURES], np.float32)
        _, item, features = repeat_features(history, assortment.repurchase)
        found.append(HistoryContributions("repeat", np.full(len(item), -1), item, features @ weights))
    return found


def add_to(scores: NDArray[np.float32], parts: Sequence[HistoryContributions]) -> None:
    """Add to the scores (N,) of all items in place."""
    for part in parts:
        np.add.at(scores, part.item, part.value)


def purchased_items(history: InteractionHistory) -> NDArray[np.int32]:
    """Codes of what a user bought; an item of a history that says no more counts as bought."""
    buys = (history.event == EVENT_CODE[PURCHASE]) | (history.event == _UNKNOWN_EVENT)
    return np.unique(history.item[buys])
