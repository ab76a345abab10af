"""Learning the weights of the blend on held-out baskets that no component was trained on.

Candidates of each user are the best items by each kind of component. The features of a candidate are the raw scores of all
components; a neighbor matrix gives one feature for each decay over the ranks of baskets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from personalization.recommendations.blend import BlendWeights, log_total
from personalization.recommendations.components import (
    DECAYS,
    REPEAT_FEATURES,
    decay_weights,
    neighbor_contributions,
    repeat_features,
)
from personalization.recommendations.history import InteractionHistory
from personalization.recommendations.recommender import STATIC, Recommender
from personalization.recommendations.scoring import demote_seen, evaluation_scores
from training.calibration import platt

SOFTMAX: Final = "softmax"
LOGISTIC: Final = "logistic"
_CANDIDATES: Final = {"sequence": 120, "neighbors": 60, "popularity": 60}  # of each user, by each kind of component
# Means of the normal prior of the weights, in standard deviations of the features; it weighs as much as so many users' data.
_PRIOR_SEQUENCE: Final = 1.0
_PRIOR_OTHERS: Final = 0.05
_PRIOR_USERS: Final = 2.0
_SHOWN: Final = 20  # items of a list that calibration looks at
_BLOCK_USERS: Final = 256
_BLOCK_CELLS: Final = 6_000_000  # of one component's scores of a block of users
_CALIBRATION_CELLS: Final = 8_000_000

# Weights (features + intercepts,) → negative log-likelihood and its gradient.
_Likelihood = Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]]


@dataclass(frozen=True)
class RankingExamples:
    """Candidates with features and labels, user by user.

    names      of the features
    features   float32 (n, len(names))
    offsets    int64 (users + 1,)
    labels     bool (n,) True for the items of the target basket
    """

    names: tuple[str, ...]
    features: NDArray[np.float32]
    offsets: NDArray[np.int64]
    labels: NDArray[np.bool_]


def ranking_examples(
    recommender: Recommender, histories: InteractionHistory, targets: Sequence[NDArray[np.int32]], *, repeat: bool
) -> RankingExamples:
    """Candidates of each user with the features of all components.

    targets   distinct items of each user's target basket
    repeat    True: items of the history are candidates too, with the features of repeat buying
    """
    names = ["sequence", *STATIC, *(f"{matrix} {decay}" for matrix in recommender.matrices for decay in DECAYS)]
    names += REPEAT_FEATURES if repeat else ()
    features, counts, labels = [np.zeros((0, len(names)), np.float32)], [np.zeros(0, np.int64)], [np.zeros(0, bool)]
    block_size = max(1, min(_BLOCK_USERS, _BLOCK_CELLS // len(recommender.items)))
    for start in range(0, len(histories), block_size):
        users = np.arange(start, min(start + block_size, len(histories)))
        user, item, block = _block_candidates(recommender, histories.take(users), repeat)
        is_target = np.zeros((len(users), len(recommender.items)), bool)
        for row, number in enumerate(users.tolist()):
            is_target[row, targets[number]] = True
        features.append(block)
        counts.append(np.bincount(user, minlength=len(users)))
        labels.append(is_target[user, item])
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    return RankingExamples(tuple(names), np.concatenate(features), offsets, np.concatenate(labels))


def _block_candidates(
    recommender: Recommender, histories: InteractionHistory, repeat: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """User, item and features of the candidates of some users, sorted by user, then item."""
    sequence = recommender.user_embeddings(histories) @ recommender.vectors.T
    shape, items = sequence.shape, sequence.shape[1]
    popularity, recent = (np.broadcast_to(scores, shape) for scores in recommender.static)
    components, neighbors = [sequence, popularity, recent], np.zeros_like(sequence)
    for name, matrix in recommender.matrices.items():
        for decay in DECAYS:
            scores = np.zeros_like(sequence)
            neighbor_contributions(histories, matrix, decay_weights(decay), name).add_to(scores)
            components.append(scores)
            if decay == DECAYS[1]:
                neighbors += scores / max(float(scores.std()), 1e-9)
    candidates, seen = np.zeros(shape, bool), np.zeros(shape, bool)
    if not repeat:
        seen[histories.user, histories.item] = True
    for scores, count in zip((sequence, neighbors, popularity), _CANDIDATES.values(), strict=True):
        best = np.argpartition(np.where(seen, np.inf, -scores), min(count, items) - 1, axis=1)[:, :count]
        np.put_along_axis(candidates, best, True, axis=1)
    candidates &= ~seen
    if repeat:
        own_user, own_item, own = repeat_features(histories, recommender.repurchase)
        candidates[own_user, own_item] = True
    user, item = np.nonzero(candidates)
    features = np.stack([scores[user, item] for scores in components], axis=1).astype(np.float32)
    if repeat:
        repeated = np.zeros((len(user), len(REPEAT_FEATURES)), np.float32)
        repeated[np.searchsorted(user * items + item, own_user * items + own_item)] = own
        features = np.concatenate([features, repeated], axis=1)
    return user, item, features


def fit_weights(examples: RankingExamples, objective: str) -> NDArray[np.float64]:
    """(features,) weights by maximum likelihood with a normal prior; 0 or more for `sequence` and the neighbors.

    objective   ``softmax``: which of the candidates a user takes; several taken items share the user's weight.
                ``logistic``: whether a user takes a candidate, which fits large baskets better
    """
    names = examples.names
    others = [0.0 if name in REPEAT_FEATURES else _PRIOR_OTHERS for name in names]
    prior = np.where(np.array(names) == "sequence", _PRIOR_SEQUENCE, others)
    if not len(examples.features):
        return prior
    mean, deviation = examples.features.mean(axis=0), examples.features.std(axis=0)
    scale = np.where(deviation > 1e-9, deviation, np.inf)
    if not examples.labels.any():
        return prior / scale
    design = ((examples.features - mean) / scale).astype(np.float64)
    lengths = np.diff(examples.offsets)
    hits = np.bincount(np.repeat(np.arange(len(lengths)), lengths), weights=examples.labels, minlength=len(lengths))
    if objective == SOFTMAX:
        users, intercepts = int((hits > 0).sum()), np.zeros(0)
        likelihood = _softmax(design, examples.labels, lengths, hits)
    else:
        share = np.clip(examples.labels.mean(), 1e-6, 1 - 1e-6)
        users, intercepts = len(hits), np.array([np.log(share / (1 - share))])
        likelihood = _logistic(design, examples.labels.astype(np.float64))

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, gradient = likelihood(weights)
        away = weights[: len(prior)] - prior
        gradient[: len(prior)] += 2 * _PRIOR_USERS * away
        return (value + _PRIOR_USERS * float(away @ away)) / users, gradient / users

    bounds = [(None, None) if name in REPEAT_FEATURES or name in STATIC else (0.0, None) for name in names]
    bounds += [(None, None)] * len(intercepts)
    start = np.concatenate([prior, intercepts])
    result = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 300})
    return np.asarray(result.x[: len(prior)] / scale, np.float64)


def _softmax(
    design: NDArray[np.float64], labels: NDArray[np.bool_], lengths: NDArray[np.int64], hits: NDArray[Any]
) -> _Likelihood:
    """Of a softmax over each user's candidates, summed over the users with a hit; `lengths` and `hits` (users,) are counts."""
    kept = np.repeat(hits > 0, lengths)
    design, lengths = design[kept], lengths[hits > 0]
    starts = np.cumsum(lengths) - lengths
    target = labels[kept] / np.repeat(hits[hits > 0], lengths)

    def likelihood(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logit = design @ weights
        high = np.maximum.reduceat(logit, starts)
        exponential = np.exp(logit - np.repeat(high, lengths))
        total = np.add.reduceat(exponential, starts)
        probability = exponential / np.repeat(total, lengths)
        return float((np.log(total) + high).sum() - target @ logit), (probability - target) @ design

    return likelihood


def _logistic(design: NDArray[np.float64], labels: NDArray[np.float64]) -> _Likelihood:
    """Of a logistic model of each candidate, with an intercept."""

    def likelihood(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logit = design @ weights[:-1] + weights[-1]
        error = expit(logit) - labels
        return float((np.logaddexp(0.0, logit) - labels * logit).sum()), np.append(error @ design, error.sum())

    return likelihood


def blend_weights(names: Sequence[str], weights: NDArray[np.float64], matrices: Sequence[str]) -> BlendWeights:
    """Weights of the components from the weights of the features; the cold weights are popularity alone."""
    weight_of: dict[str, float] = dict(zip(names, weights.tolist(), strict=True))
    by_rank = {
        matrix: tuple(
            np.sum([weight_of[f"{matrix} {decay}"] * decay_weights(decay).astype(np.float64) for decay in DECAYS], axis=0)
            .round(7)
            .tolist()
        )
        for matrix in matrices
    }
    repeat: dict[str, float] = {name: weight_of[name] for name in REPEAT_FEATURES if name in weight_of}
    static = {name: weight_of[name] for name in STATIC}
    return BlendWeights(weight_of["sequence"], static, {"popularity": 1.0}, by_rank, repeat)


def calibrate(recommender: Recommender, histories: InteractionHistory, targets: Sequence[NDArray[np.int32]]) -> BlendWeights:
    """The recommender's blend with slope and intercept of `BlendWeights.relevance`, fitted on the first items of each list."""
    logits, labels = [np.zeros(0)], [np.zeros(0, bool)]
    block = max(1, _CALIBRATION_CELLS // len(recommender.items))
    for start in range(0, len(histories), block):
        users = np.arange(start, min(start + block, len(histories)))
        some = histories.take(users)
        scores = evaluation_scores(recommender, some)
        ranking = scores if recommender.repeat_buying else demote_seen(scores, some)
        count = min(_SHOWN, scores.shape[1])
        top = np.argpartition(-ranking, count - 1, axis=1)[:, :count]
        logits.append((np.take_along_axis(scores, top, axis=1) - log_total(scores)[:, None]).ravel())
        labels += [np.isin(items, targets[user]) for items, user in zip(top, users.tolist(), strict=True)]
    slope, intercept = platt(np.concatenate(logits), np.concatenate(labels).astype(np.float64))
    return replace(recommender.blend, slope=slope, intercept=intercept)
