"""Candidates of users with the raw scores of all components: what the weights of the mix are learnt from.

The neighbour matrices come once for each decay over the ranks of baskets.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from personalization.recommendations.components import (
    DECAYS,
    REPEAT_FEATURES,
    decay_weights,
    neighbour_additions,
    repeat_features,
)
from personalization.recommendations.history import InteractionHistory
from personalization.recommendations.recommender import STATIC, Recommender

_BEST: Final = {"sequence": 120, "neighbours": 60, "popularity": 60}  # candidates by each
_USERS_A_BLOCK: Final = 256
_CELLS: Final = 6_000_000  # of one component's scores of a block of users


@dataclass(frozen=True)
class RankingExamples:
    """Features of candidates, user by user.

    features   float32 (n, len(names))
    offsets    int64 (users + 1,)
    wanted     bool (n,) what the user took
    """

    names: tuple[str, ...]
    features: NDArray[np.float32]
    offsets: NDArray[np.int64]
    wanted: NDArray[np.bool_]


def ranking_examples(
    recommender: Recommender, histories: InteractionHistory, targets: Sequence[NDArray[np.int32]], *, repeat: bool
) -> RankingExamples:
    """Candidates of each user (the best by each kind of component) with the features of all components.

    repeat   items of the history are candidates too, with the features of buying again
    """
    names = ["sequence", *STATIC]
    names += [f"{matrix} {decay}" for matrix in recommender.matrices for decay in DECAYS]
    names += REPEAT_FEATURES if repeat else ()
    features, counts, wanted = [], [], []
    block_size = max(1, min(_USERS_A_BLOCK, _CELLS // len(recommender.items)))
    for start in range(0, len(histories), block_size):
        users = np.arange(start, min(start + block_size, len(histories)))
        block = _Block(recommender, histories.take(users), repeat)
        for row, user in enumerate(users.tolist()):
            candidates = block.candidates(row)
            features.append(block.features(row, candidates))
            counts.append(len(candidates))
            wanted.append(np.isin(candidates, targets[user]))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    if not counts:
        return RankingExamples(tuple(names), np.zeros((0, len(names)), np.float32), offsets, np.zeros(0, bool))
    return RankingExamples(tuple(names), np.concatenate(features), offsets, np.concatenate(wanted))


class _Block:
    """Raw component scores of some users, dense."""

    def __init__(self, recommender: Recommender, histories: InteractionHistory, repeat: bool) -> None:
        self._static = recommender.static
        items = recommender.vectors.shape[0]
        sequence = recommender.user_vectors(histories) @ recommender.vectors.T
        self._parts = [sequence]
        near = np.zeros_like(sequence)
        for matrix in recommender.matrices.values():
            for decay in DECAYS:
                part = np.zeros_like(sequence)
                neighbour_additions(histories, matrix, decay_weights(decay)).add_to(part)
                self._parts.append(part)
                if decay == DECAYS[1]:
                    near += part / max(float(part.std()), 1e-9)
        self._own: dict[int, tuple[NDArray[np.int32], NDArray[np.float32]]] = {}
        if repeat:
            user, item, values = repeat_features(histories, recommender.repurchase)
            bounds = np.searchsorted(user, np.arange(len(histories) + 1))
            self._own = {r: (item[a:b], values[a:b]) for r, (a, b) in enumerate(itertools.pairwise(bounds))}
        order = (sequence, near, np.broadcast_to(self._static[0], sequence.shape))
        seen = np.zeros(sequence.shape, bool)
        if not repeat:
            seen[histories.user, histories.item] = True
        self._best = [
            np.argpartition(np.where(seen, np.inf, -scores), min(count, items) - 1, axis=1)[:, :count]
            for scores, count in zip(order, _BEST.values(), strict=True)
        ]
        self._seen = seen

    def candidates(self, row: int) -> NDArray[np.int64]:
        own = [self._own[row][0]] if self._own else []
        found = np.unique(np.concatenate([*(best[row] for best in self._best), *own]))
        new: NDArray[np.int64] = found[~self._seen[row, found]]
        return new

    def features(self, row: int, candidates: NDArray[np.int64]) -> NDArray[np.float32]:
        columns = [self._parts[0][row, candidates], *self._static[:, candidates]]
        columns += [part[row, candidates] for part in self._parts[1:]]
        dense = np.stack(columns, axis=1)
        if not self._own:
            return dense.astype(np.float32)
        own = np.zeros((len(candidates), len(REPEAT_FEATURES)), np.float32)
        item, values = self._own[row]
        own[np.searchsorted(candidates, item)] = values
        return np.concatenate([dense, own], axis=1).astype(np.float32)
