"""Learning the weights of the mix on baskets that no component was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from personalization.recommendations.blend import BlendWeights, log_total
from personalization.recommendations.components import DECAYS, REPEAT_FEATURES, decay_weights
from personalization.recommendations.history import InteractionHistory
from personalization.recommendations.recommender import STATIC, Recommender
from training.calibration import platt
from training.tasks.recommendations.ranking_examples import RankingExamples

ONE: Final = "one"
EACH: Final = "each"
# What is believed of a feature before the data speaks, in standard deviations of the feature.
_PRIOR: Final = {"sequence": 1.0}
_PRIOR_OTHERS: Final = 0.05
_PRIOR_USERS: Final = 2.0  # as much as the data of so many users
_SHOWN: Final = 20
_CELLS: Final = 8_000_000  # of a block of scores


def learn(pairs: RankingExamples, objective: str) -> NDArray[np.float64]:
    """(features,) weights by maximum likelihood with a prior; 0 or more for `sequence` and the neighbours.

    objective   ``one``: which of the candidates a user takes (softmax; several taken share the user's weight);
                ``each``: whether a user takes a candidate (logistic), nearer to the truth for large baskets
    """
    prior = np.array([_PRIOR.get(name, 0.0 if name in REPEAT_FEATURES else _PRIOR_OTHERS) for name in pairs.names])
    if not len(pairs.features):
        return prior
    mean, deviation = pairs.features.mean(axis=0), pairs.features.std(axis=0)
    scale = np.where(deviation > 1e-9, deviation, np.inf)
    if not pairs.wanted.any():
        return prior / scale
    likelihood = _One(pairs, mean, scale) if objective == ONE else _Each(pairs, mean, scale)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, gradient = likelihood(weights)
        away = weights[: len(prior)] - prior
        gradient[: len(prior)] += 2 * _PRIOR_USERS * away
        return (value + _PRIOR_USERS * float(away @ away)) / likelihood.users, gradient / likelihood.users

    free = [name in REPEAT_FEATURES or name in STATIC for name in pairs.names]
    start = np.concatenate([prior, likelihood.more])
    bounds = [*((None, None) if f else (0.0, None) for f in free), *((None, None) for _ in likelihood.more)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 300})
    return np.asarray(found.x[: len(prior)] / scale, np.float64)


class _One:
    """−log likelihood of a softmax over each user's candidates, summed over users; and its gradient."""

    more: NDArray[np.float64] = np.zeros(0)

    def __init__(self, pairs: RankingExamples, mean: NDArray[np.float32], scale: NDArray[np.float32]) -> None:
        hits = np.add.reduceat(pairs.wanted, pairs.offsets[:-1], dtype=np.int64)
        users = np.flatnonzero(hits > 0)
        rows = np.concatenate([np.arange(pairs.offsets[u], pairs.offsets[u + 1]) for u in users])
        self.users = len(users)
        self._lengths = np.diff(pairs.offsets)[users]
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._design = ((pairs.features[rows] - mean) / scale).astype(np.float64)
        self._wanted = pairs.wanted[rows] / np.repeat(hits[users], self._lengths)

    def __call__(self, weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logit = self._design @ weights
        high = np.maximum.reduceat(logit, self._starts)
        weight = np.exp(logit - np.repeat(high, self._lengths))
        total = np.add.reduceat(weight, self._starts)
        chance = weight / np.repeat(total, self._lengths)
        return float((np.log(total) + high).sum() - self._wanted @ logit), (chance - self._wanted) @ self._design


class _Each:
    """−log likelihood of a logistic model of each candidate, with an intercept; and its gradient."""

    def __init__(self, pairs: RankingExamples, mean: NDArray[np.float32], scale: NDArray[np.float32]) -> None:
        self.users = len(pairs.offsets) - 1
        self._design = ((pairs.features - mean) / scale).astype(np.float64)
        self._wanted = pairs.wanted.astype(np.float64)
        share = np.clip(self._wanted.mean(), 1e-6, 1 - 1e-6)
        self.more = np.array([np.log(share / (1 - share))])

    def __call__(self, weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logit = self._design @ weights[:-1] + weights[-1]
        error = 1.0 / (1.0 + np.exp(-logit)) - self._wanted
        value = float((np.logaddexp(0.0, logit) - self._wanted * logit).sum())
        return value, np.append(error @ self._design, error.sum())


def to_mix(names: Sequence[str], weights: NDArray[np.float64], matrices: Sequence[str]) -> BlendWeights:
    """Weights of features → weights of components."""
    of: dict[str, float] = dict(zip(names, (float(w) for w in weights), strict=True))
    ranks = {}
    for matrix in matrices:
        by_rank = sum(of[f"{matrix} {decay}"] * decay_weights(decay).astype(np.float64) for decay in DECAYS)
        ranks[matrix] = tuple(round(float(w), 7) for w in np.atleast_1d(by_rank))
    repeat: dict[str, float] = {name: of[name] for name in REPEAT_FEATURES if name in of}
    return BlendWeights(of["sequence"], {name: of[name] for name in STATIC}, {"popularity": 1.0}, ranks, repeat)


def calibrate(recommender: Recommender, histories: InteractionHistory, targets: Sequence[NDArray[np.int32]]) -> BlendWeights:
    """The recommender's mix with slope and intercept of `Mix.relevance`, fitted on the items that would be shown."""
    logits, labels = [], []
    block = max(1, _CELLS // len(recommender.items))
    for start in range(0, len(histories), block):
        users = np.arange(start, min(start + block, len(histories)))
        some = histories.take(users)
        scores = recommender.scores(some)
        ranking = recommender.placed(scores, some)
        count = min(_SHOWN, scores.shape[1])
        top = np.argpartition(-ranking, count - 1, axis=1)[:, :count]
        total = log_total(scores)
        for row, user in enumerate(users.tolist()):
            logits.append(scores[row, top[row]] - total[row])
            labels.append(np.isin(top[row], targets[user]))
    if not logits:
        return recommender.mix
    slope, intercept = platt(np.concatenate(logits), np.concatenate(labels).astype(np.float64))
    return replace(recommender.mix, slope=slope, intercept=intercept)
