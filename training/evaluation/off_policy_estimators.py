"""What a policy would have earned, from decisions that another one made and logged with their probabilities.

With w = π(a | x) / p, the new policy's probability of the logged choice over the logged one, and q̂ a model of the reward:

    DM     mean of Σₐ π(a | x) q̂(x, a)                       as good as the model
    IPS    mean of w r                                       unbiased, wide (Horvitz and Thompson 1952)
    SNIPS  Σ w r / Σ w                                       nearly unbiased, narrower (Swaminathan and Joachims 2015)
    DR     mean of DM's term + w (r − q̂(x, a))               unbiased if p or q̂ is right (Dudík, Langford and Li 2011)
    SNDR   DR with its weights divided by their mean

Each comes with its influence values: what every row adds to the estimate's error, from which the standard error follows, also
where rows of one household or one slate belong together.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

ESTIMATORS: Final = ("dm", "ips", "snips", "dr", "sndr")


@dataclass(frozen=True)
class LoggedActions:
    """N logged choices among A actions.

    reward       (N,)
    action       (N,) int codes 0 … A − 1
    propensity   (N,) probability with which the logging policy chose it, above 0
    cluster      (N,) int codes of what belongs together (users, slates), or `None`: every row stands alone
    """

    reward: Numbers
    action: NDArray[np.int64]
    propensity: Numbers
    cluster: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if not len(self.reward) == len(self.action) == len(self.propensity):
            raise ValueError(f"expected columns of one length, received {len(self.reward)}, {len(self.action)}, …")
        if not ((self.propensity > 0) & (self.propensity <= 1)).all():
            raise ValueError("expected propensities above 0 and up to 1")

    def __len__(self) -> int:
        return len(self.reward)


@dataclass(frozen=True)
class TargetPolicy:
    """The policy in question.

    chosen     (N,) its probability of the logged action
    expected   (N,) Σₐ π(a | x) q̂(x, a), or `None` without a reward model
    modelled   (N,) q̂ of the logged action, or `None`
    """

    chosen: Numbers
    expected: Numbers | None = None
    modelled: Numbers | None = None

    @classmethod
    def of(cls, logged: LoggedActions, policy: Numbers, reward_model: Numbers | None = None) -> TargetPolicy:
        """From probabilities (N, A) of all actions, and the reward model's (N, A)."""
        rows = np.arange(len(logged))
        chosen = policy[rows, logged.action]
        if reward_model is None:
            return cls(chosen)
        return cls(chosen, (policy * reward_model).sum(axis=1), reward_model[rows, logged.action])


@dataclass(frozen=True)
class Estimate:
    """value       of the policy, reward per decision
    influence   (N,) values whose mean is 0 and whose spread is the estimate's
    """

    value: float
    influence: Numbers

    def standard_error(self, cluster: NDArray[np.int64] | None = None) -> float:
        """Of the value; sums over clusters where rows belong together."""
        return standard_error(self.influence, cluster)

    def interval(self, cluster: NDArray[np.int64] | None = None, level: float = 0.95) -> tuple[float, float]:
        """Normal approximation: to be trusted only where no few rows decide (`ope.carries`)."""
        half = NormalDist().inv_cdf((1 + level) / 2) * self.standard_error(cluster)
        return self.value - half, self.value + half


def weights(logged: LoggedActions, target: TargetPolicy) -> Numbers:
    """(N,) importance weights."""
    return target.chosen / logged.propensity


def estimate(logged: LoggedActions, target: TargetPolicy) -> dict[str, Estimate]:
    """All estimates that can be had, by name (`ESTIMATORS`); DM, DR and SNDR need a reward model."""
    w, r = weights(logged, target), logged.reward
    mean = float(w.mean())
    out = {"ips": _mean(w * r)}
    if mean > 0:
        snips = float((w * r).mean()) / mean
        out["snips"] = Estimate(snips, w * (r - snips) / mean)
    if target.expected is not None and target.modelled is not None:
        direct, residual = target.expected, r - target.modelled
        out |= {"dm": _mean(direct), "dr": _mean(direct + w * residual)}
        if mean > 0:
            correction = float((w * residual).mean()) / mean
            value = float(direct.mean()) + correction
            out["sndr"] = Estimate(value, direct - direct.mean() + w * (residual - correction) / mean)
    return {name: out[name] for name in ESTIMATORS if name in out}


def on_policy(logged: LoggedActions) -> Estimate:
    """What the logging policy earned."""
    return _mean(logged.reward)


def standard_error(influence: Numbers, cluster: NDArray[np.int64] | None = None) -> float:
    """Of a mean, from its influence values; 0 for fewer than two rows or clusters."""
    sums = influence if cluster is None else np.bincount(cluster, weights=influence)
    if cluster is not None:
        sums = sums[np.bincount(cluster) > 0]
    groups = len(sums)
    if groups < 2:
        return 0.0
    return float(np.sqrt(groups / (groups - 1) * ((sums - sums.mean()) ** 2).sum()) / len(influence))


def effective_sample_size(w: Numbers) -> float:
    """How many equally weighted rows say as much: (Σ w)² / Σ w²; 0 where all weights are 0."""
    squares = float((w * w).sum())
    return float(w.sum()) ** 2 / squares if squares > 0 else 0.0


def _mean(values: Numbers) -> Estimate:
    value = float(values.mean())
    return Estimate(value, values - value)
