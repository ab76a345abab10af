"""Exploration: choosing other ads than the best, with a known probability of each choice.

A decision draws *policy samples* once. A sample holds which campaigns take part (throttling) and, for Thompson sampling, a
rate of each ad. For each slot one sample is picked evenly and the policy acts on it. The probability of a choice is therefore
the mean over the samples of its probability there. It is exact given the samples, and the decision's seed repeats them.
Without anything random there is one sample. A choice that no sample makes has the probability 0 and does not occur; to
evaluate a policy that would make it, use `epsilon`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from personalization.ads.valuation import Valuation

Mode = Literal["none", "epsilon", "softmax", "thompson"]
Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Exploration:
    """A policy over scores.

    mode          none: the best; epsilon: the best, or any; softmax: by exp(score); thompson: the best by sampled rates
    epsilon       probability of an even choice among the participants; also added to softmax and thompson
    temperature   of softmax, relative to the best score
    draws         samples of a decision, where anything is random
    strength      impressions that a predicted rate counts for, beside those that the ad has had (thompson)
    """

    mode: Mode = "none"
    epsilon: float = 0.0
    temperature: float = 0.1
    draws: int = 400
    strength: float = 100.0

    @property
    def greedy(self) -> bool:
        """Whether the best participant always wins."""
        return self.mode == "none" and self.epsilon == 0


@dataclass(frozen=True)
class PolicySamples:
    """M samples for N candidates.

    present   (M, N) who takes part
    rates     (M, N) sampled deciding rates, or `None`: the predicted ones
    draws     M where probabilities are means over the samples, 0 where they have a closed form
    """

    present: NDArray[np.bool_]
    rates: Numbers | None = None
    draws: int = 0


def seed_of(decision_id: str) -> int:
    """64 bits from the decision's id, so that a logged decision can be repeated."""
    return int.from_bytes(hashlib.blake2b(decision_id.encode(), digest_size=8).digest(), "big")


def random_generator(decision_id: str) -> np.random.Generator:
    """The decision's own source of randomness."""
    return np.random.Generator(np.random.PCG64(seed_of(decision_id)))


def sample_policies(
    valuation: Valuation,
    campaign: NDArray[np.int32],
    participation: Numbers,
    slots: int,
    policy: Exploration,
    random: np.random.Generator,
) -> PolicySamples:
    """The samples of one decision.

    campaign        (N,) codes
    participation   (C,) probability that a campaign takes part
    slots           number of slots to fill

    The greedy policy's probabilities have a closed form (`greedy_probabilities`), so it gets one sample per slot.
    """
    throttled = bool((participation < 1).any())
    thompson = policy.mode == "thompson"
    count = 1 if not throttled and not thompson else slots if policy.greedy else policy.draws
    present = np.ones((count, len(campaign)), dtype=bool)
    if throttled:
        present = (random.random((count, len(participation))) < participation)[:, campaign]
    rates = None
    if thompson:
        mean = np.clip(valuation.probability, 1e-9, 1 - 1e-9)
        weight = policy.strength + valuation.evidence
        rates = random.beta(mean * weight, (1 - mean) * weight, size=(count, len(campaign)))
    return PolicySamples(present, rates, draws=0 if policy.greedy or count == 1 else count)


def action_probabilities(scores: Numbers, present: NDArray[np.bool_], policy: Exploration) -> Numbers:
    """(M, N) probability of each choice in each sample; a row without participants is all 0.

    scores    (M, N) or (1, N); the first of equal ones is the best
    present   (M, N)
    """
    masked = np.where(present, scores, -np.inf)
    best = masked.argmax(axis=1)
    occupied = present.any(axis=1)
    probabilities: Numbers
    if policy.mode == "softmax":
        top = np.where(occupied, masked[np.arange(len(masked)), best], 1.0)[:, None]
        weights = np.exp((masked - top) / (policy.temperature * np.maximum(np.abs(top), 1e-300)))
        probabilities = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    else:
        probabilities = np.zeros(masked.shape)
        probabilities[np.arange(len(masked)), best] = occupied
    if policy.epsilon > 0:
        even = present / np.maximum(present.sum(axis=1, keepdims=True), 1)
        probabilities = (1 - policy.epsilon) * probabilities + policy.epsilon * even
    return probabilities


def greedy_probabilities(scores: Numbers, campaign: NDArray[np.int32], participation: Numbers) -> Numbers:
    """(N,) probability that each candidate is the best participant, campaigns taking part independently.

    >>> greedy_probabilities(np.array([3.0, 2.0, 1.0]), np.array([0, 0, 1], np.int32), np.array([0.25, 1.0])).tolist()
    [0.25, 0.0, 0.75]
    """
    probabilities = np.zeros(len(scores))
    left, visited = 1.0, set()
    for row in np.argsort(-scores, kind="stable"):
        code = int(campaign[row])
        if code not in visited:  # a campaign's second best loses whenever the campaign takes part
            visited.add(code)
            probabilities[row] = left * participation[code]
            left *= 1 - participation[code]
    return probabilities
