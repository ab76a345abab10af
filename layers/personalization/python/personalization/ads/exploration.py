"""Trying other ads than the best, with the probability of each choice known.

A decision draws a number of *worlds* once: in each, which campaigns take part (throttling) and, for Thompson sampling, how good
every ad might be. For each slot one world is picked evenly and the policy acts in it. So the probability of a choice is the
mean over the worlds of its probability there: exact, given the worlds, and they are repeatable from the seed. Where nothing
is drawn there is one world. What no world ever chooses has the probability 0 and cannot be chosen either; an evaluation of a
policy that would choose it needs `epsilon`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personalization.ads.terms import Mode
from personalization.ads.valuation import Valuation

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Exploration:
    """A policy of choosing among scores.

    mode          none: the best; epsilon: the best, or any; softmax: by exp(score); thompson: the best by drawn probabilities
    epsilon       probability with which any participant is chosen, evenly; added to softmax and thompson too
    temperature   of softmax, in parts of the best score
    draws         worlds of a decision, where anything is drawn
    strength      impressions that the model's word counts for, beside those that the ad has had (thompson)
    """

    mode: Mode = "none"
    epsilon: float = 0.0
    temperature: float = 0.1
    draws: int = 400
    strength: float = 100.0

    @property
    def greedy(self) -> bool:
        """Whether nothing is left to chance but who takes part."""
        return self.mode == "none" and self.epsilon == 0


@dataclass(frozen=True)
class PolicySamples:
    """M worlds of N candidates.

    present       (M, N) who takes part
    probability   (M, N) drawn deciding probabilities, or `None`: those of the model
    draws         M where the probability of a choice is a mean over them, 0 where it has a closed form
    """

    present: NDArray[np.bool_]
    probability: Numbers | None = None
    draws: int = 0


def seed_of(decision_id: str) -> int:
    """64 bits from the decision's id: the decision can be repeated from what was logged."""
    return int.from_bytes(hashlib.blake2b(decision_id.encode(), digest_size=8).digest(), "big")


def generator(decision_id: str) -> np.random.Generator:
    """The decision's own source of randomness."""
    return np.random.Generator(np.random.PCG64(seed_of(decision_id)))


def sample_policies(
    worth: Valuation,
    campaign: NDArray[np.int32],
    participation: Numbers,
    slots: int,
    policy: Exploration,
    random: np.random.Generator,
) -> PolicySamples:
    """The worlds of one decision.

    campaign        (N,) codes
    participation   (C,) probability that a campaign takes part
    slots           that are to be filled

    The greedy policy's probabilities have a closed form (`greedy_chances`): it gets one world for each slot, no more.
    """
    throttled = bool((participation < 1).any())
    drawn = policy.mode == "thompson"
    worlds = 1 if not throttled and not drawn else slots if policy.greedy else policy.draws
    present = np.ones((worlds, len(campaign)), dtype=bool)
    if throttled:
        present = (random.random((worlds, len(participation))) < participation)[:, campaign]
    probability = None
    if drawn:
        mean = np.clip(worth.probability, 1e-9, 1 - 1e-9)
        weight = policy.strength + worth.evidence
        probability = random.beta(mean * weight, (1 - mean) * weight, size=(worlds, len(campaign)))
    return PolicySamples(present, probability, draws=0 if policy.greedy or worlds == 1 else worlds)


def action_probabilities(scores: Numbers, present: NDArray[np.bool_], policy: Exploration) -> Numbers:
    """(M, N) probability of each choice in each world; a row without participants is all 0.

    scores    (M, N) or (1, N); equal ones go to the first
    present   (M, N)
    """
    masked = np.where(present, scores, -np.inf)
    best = masked.argmax(axis=1)
    some = present.any(axis=1)
    base: Numbers
    if policy.mode == "softmax":
        top = np.where(some, masked[np.arange(len(masked)), best], 1.0)[:, None]
        weights = np.exp((masked - top) / (policy.temperature * np.maximum(np.abs(top), 1e-300)))
        base = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    else:
        base = np.zeros(masked.shape)
        base[np.arange(len(masked)), best] = some
    if policy.epsilon > 0:
        evenly = present / np.maximum(present.sum(axis=1, keepdims=True), 1)
        base = (1 - policy.epsilon) * base + policy.epsilon * evenly
    return base


def greedy_chances(scores: Numbers, campaign: NDArray[np.int32], participation: Numbers) -> Numbers:
    """(N,) probability that each candidate is the best of those that take part, campaigns taking part independently.

    >>> greedy_chances(np.array([3.0, 2.0, 1.0]), np.array([0, 0, 1], np.int32), np.array([0.25, 1.0])).tolist()
    [0.25, 0.0, 0.75]
    """
    out = np.zeros(len(scores))
    left, seen = 1.0, set()
    for row in np.argsort(-scores, kind="stable"):
        code = int(campaign[row])
        if code not in seen:  # a campaign's second best loses whenever it takes part
            seen.add(code)
            out[row] = left * participation[code]
            left *= 1 - participation[code]
    return out
