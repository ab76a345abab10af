"""Off-policy evaluation: the value of a target policy, from actions that a logging policy chose with known propensities.

With the importance weight w = π(a | x) / p, the target policy's probability of the logged action over its propensity, and q̂ a
model of the reward:

    DM     mean of Σₐ π(a | x) q̂(x, a)                       direct method: as good as the model
    IPS    mean of w r                                       unbiased, wide (Horvitz and Thompson 1952)
    SNIPS  Σ w r / Σ w                                       nearly unbiased, narrower (Swaminathan and Joachims 2015)
    DR     mean of DM's term + w (r − q̂(x, a))               unbiased if p or q̂ is right (Dudík, Langford and Li 2011)
    SNDR   DR with self-normalised weights

Each estimate comes with its influence values, from which the standard error follows, also for clustered rows. A verdict is
refused where few rows or few rewards carry most of the weight, as a normal interval is wrong there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ESTIMATORS: Final = ("dm", "ips", "snips", "dr", "sndr")
MIN_EFFECTIVE_ROWS: Final = 100.0
MIN_EFFECTIVE_REWARDS: Final = 20.0
MAX_WEIGHT_SHARE: Final = 0.1  # of all weight, in one row
# The mean weight is 1 where the log covers the actions of the target policy; so many standard errors off, it does not.
MAX_WEIGHT_DEVIATION: Final = 4.0

_CONFIDENCE, _POWER = NormalDist().inv_cdf(0.975), NormalDist().inv_cdf(0.8)


@dataclass(frozen=True)
class LoggedActions:
    """N logged actions out of A.

    reward       (N,)
    action       (N,) int codes 0 … A − 1
    propensity   (N,) probability with which the logging policy chose the action, above 0
    cluster      (N,) int codes of dependent rows (of a user, of a slate), or None: all rows are independent
    """

    reward: Floats
    action: NDArray[np.int64]
    propensity: Floats
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
    """The policy to evaluate, on N logged actions.

    probability        (N,) π(a | x) of the logged action
    expected_reward    (N,) Σₐ π(a | x) q̂(x, a), or None without a reward model
    predicted_reward   (N,) q̂(x, a) of the logged action, or None
    """

    probability: Floats
    expected_reward: Floats | None = None
    predicted_reward: Floats | None = None

    @classmethod
    def of(cls, logged: LoggedActions, policy: Floats, reward_model: Floats | None = None) -> TargetPolicy:
        """From the probabilities (N, A) of all actions, and the rewards (N, A) that a model predicts."""
        rows = np.arange(len(logged))
        probability = policy[rows, logged.action]
        if reward_model is None:
            return cls(probability)
        return cls(probability, (policy * reward_model).sum(axis=1), reward_model[rows, logged.action])


@dataclass(frozen=True)
class RewardModel:
    """Mean reward of each action, shrunk towards the overall mean, cross-fitted.

    A row's own reward is never in its model; with it DR would underestimate its standard error.

    fold    (N,) fold of each row
    rates   (folds, A) rewards for the rows of a fold, from the rows of the other folds
    """

    fold: NDArray[np.int64]
    rates: Floats

    @classmethod
    def fit(cls, logged: LoggedActions, actions: int, folds: int = 5, strength: float = 20.0, seed: int = 0) -> RewardModel:
        """The rows of a cluster are in one fold. The overall mean counts like `strength` rows of each action."""
        groups = np.arange(len(logged)) if logged.cluster is None else logged.cluster
        fold = np.random.default_rng(seed).permutation(int(groups.max(initial=0)) + 1)[groups] % folds
        rates = np.empty((folds, actions))
        for one in range(folds):
            rest = fold != one
            overall = float(logged.reward[rest].mean()) if rest.any() else 0.0
            count = np.bincount(logged.action[rest], minlength=actions)
            total = np.bincount(logged.action[rest], weights=logged.reward[rest], minlength=actions)
            rates[one] = (total + strength * overall) / (count + strength)
        return cls(fold, rates)

    def target(self, logged: LoggedActions, policy: Floats) -> TargetPolicy:
        """A policy without context: (A,) probabilities of the actions, the same for every row."""
        return TargetPolicy(policy[logged.action], (self.rates @ policy)[self.fold], self.rates[self.fold, logged.action])


@dataclass(frozen=True)
class Estimate:
    """value       of a policy, reward per action
    influence   (N,) influence values: their mean is 0, and their spread gives the standard error of the value
    """

    value: float
    influence: Floats

    def standard_error(self, cluster: NDArray[np.int64] | None = None) -> float:
        """Of the value."""
        return standard_error(self.influence, cluster)

    def interval(self, cluster: NDArray[np.int64] | None = None, level: float = 0.95) -> tuple[float, float]:
        """Normal interval; valid only where `diagnostics` hold."""
        half = NormalDist().inv_cdf((1 + level) / 2) * self.standard_error(cluster)
        return self.value - half, self.value + half

    def to_json(self, cluster: NDArray[np.int64] | None) -> dict[str, float]:
        """Value, standard error and 95 % interval."""
        low, high = self.interval(cluster)
        values = {"value": self.value, "standard_error": self.standard_error(cluster), "low": low, "high": high}
        return {name: _rounded(value) for name, value in values.items()}


@dataclass(frozen=True)
class Diagnostic:
    """A condition on the weights: its value, its limit, and how many times more rows the log needs to meet it (≤ 1: met)."""

    name: str
    value: float
    limit: float
    factor: float

    @property
    def holds(self) -> bool:
        return self.factor <= 1


def importance_weights(logged: LoggedActions, target: TargetPolicy) -> Floats:
    """(N,) π(a | x) / p."""
    return target.probability / logged.propensity


def estimate(logged: LoggedActions, target: TargetPolicy) -> dict[str, Estimate]:
    """The value of the target policy by each estimator (`ESTIMATORS`); DM, DR and SNDR need a reward model."""
    w, r = importance_weights(logged, target), logged.reward
    mean = float(w.mean())
    estimates = {"ips": _mean(w * r)}
    if mean > 0:
        snips = float((w * r).mean()) / mean
        estimates["snips"] = Estimate(snips, w * (r - snips) / mean)
    if target.expected_reward is not None and target.predicted_reward is not None:
        direct, residual = target.expected_reward, r - target.predicted_reward
        estimates |= {"dm": _mean(direct), "dr": _mean(direct + w * residual)}
        if mean > 0:
            correction = float((w * residual).mean()) / mean
            value = float(direct.mean()) + correction
            estimates["sndr"] = Estimate(value, direct - direct.mean() + w * (residual - correction) / mean)
    return {name: estimates[name] for name in ESTIMATORS if name in estimates}


def on_policy_value(logged: LoggedActions) -> Estimate:
    """The value of the logging policy."""
    return _mean(logged.reward)


def standard_error(influence: Floats, cluster: NDArray[np.int64] | None = None) -> float:
    """Of a mean, from its influence values, summed by cluster; 0 for fewer than two rows or clusters."""
    sums = influence if cluster is None else np.bincount(cluster, weights=influence)[np.bincount(cluster) > 0]
    groups = len(sums)
    if groups < 2:
        return 0.0
    return float(np.sqrt(groups / (groups - 1) * ((sums - sums.mean()) ** 2).sum()) / len(influence))


def effective_sample_size(w: Floats) -> float:
    """Number of equally weighted rows with the same variance: (Σ w)² / Σ w² (Kish 1965); 0 where all weights are 0."""
    squares = float((w * w).sum())
    return float(w.sum()) ** 2 / squares if squares > 0 else 0.0


def diagnostics(logged: LoggedActions, target: TargetPolicy) -> list[Diagnostic]:
    """Whether the weights are spread over enough rows and rewards for a normal interval."""
    w = importance_weights(logged, target)
    rows, rewards = effective_sample_size(w), effective_sample_size(w * np.abs(logged.reward))
    total = float(w.sum())
    share = float(w.max(initial=0.0)) / total if total > 0 else 1.0
    # The factor of an effective size below 1 has no estimate; that of 1 is its lower bound.
    return [
        Diagnostic("effective_rows", rows, MIN_EFFECTIVE_ROWS, MIN_EFFECTIVE_ROWS / max(rows, 1.0)),
        Diagnostic("effective_rewards", rewards, MIN_EFFECTIVE_REWARDS, MIN_EFFECTIVE_REWARDS / max(rewards, 1.0)),
        Diagnostic("largest_weight_share", share, MAX_WEIGHT_SHARE, share / MAX_WEIGHT_SHARE),
    ]


def evaluate_policy(logged: LoggedActions, target: TargetPolicy) -> dict[str, Any]:
    """Estimates with 95 % intervals, diagnostics of the weights and a verdict, ready for JSON.

    The verdict compares the target policy with the logging policy, by DR where there is a reward model, else by SNIPS, paired
    row by row. ``answer`` is better, worse, undecided or refused. ``rows_needed`` is the number of such rows that would decide
    (at least, where it is refused), and ``rows_more`` how many of them are missing.
    """
    estimates, logging = estimate(logged, target), on_policy_value(logged)
    w = importance_weights(logged, target)
    return {
        "rows": len(logged),
        "rewards": int((logged.reward != 0).sum()),
        "logged_value": logging.to_json(logged.cluster),
        "estimates": {name: one.to_json(logged.cluster) for name, one in estimates.items()},
        "effective_sample_size": _rounded(effective_sample_size(w)),
        "mean_weight": _rounded(float(w.mean())),
        "largest_weight": _rounded(float(w.max(initial=0.0))),
        "verdict": _refusal(logged, target) or _comparison(logged, estimates, logging),
    }


def _refusal(logged: LoggedActions, target: TargetPolicy) -> dict[str, Any] | None:
    failed = [diagnostic for diagnostic in diagnostics(logged, target) if not diagnostic.holds]
    if failed:
        reasons = []
        for one in failed:
            bound = "at most" if one.name == "largest_weight_share" else "at least"
            reasons.append(f"{one.name} is {one.value:.4g}, {bound} {one.limit:g} is needed")
        needed = math.ceil(len(logged) * max(one.factor for one in failed))
        return {"answer": "refused", "reasons": reasons} | _rows_needed(needed, len(logged))
    w = importance_weights(logged, target)
    deviation = abs(float(w.mean()) - 1)
    if deviation > max(MAX_WEIGHT_DEVIATION * standard_error(w - w.mean(), logged.cluster), 1e-6):
        reason = f"the mean weight is {w.mean():.4g}, not 1: the log lacks actions that the target policy chooses"
        return {"answer": "refused", "reasons": [reason]}
    return None


def _comparison(logged: LoggedActions, estimates: Mapping[str, Estimate], logging: Estimate) -> dict[str, Any]:
    name = "dr" if "dr" in estimates else "snips"
    difference = estimates[name].value - logging.value
    error = standard_error(estimates[name].influence - logging.influence, logged.cluster)
    low, high = difference - _CONFIDENCE * error, difference + _CONFIDENCE * error
    verdict = {"estimator": name, "difference": _rounded(difference), "interval": [_rounded(low), _rounded(high)]}
    if low > 0 or high < 0:
        return {"answer": "better" if low > 0 else "worse"} | verdict
    if difference == 0:
        return {"answer": "undecided"} | verdict
    # Rows with which this difference would be significant in four of five samples.
    factor = ((_CONFIDENCE + _POWER) * error / abs(difference)) ** 2
    return {"answer": "undecided"} | verdict | _rows_needed(math.ceil(len(logged) * factor), len(logged))


def _rows_needed(needed: int, rows: int) -> dict[str, int]:
    return {"rows_needed": needed, "rows_more": max(needed - rows, 1)}


def _rounded(value: float) -> float:
    return float(f"{value:.8g}")


def _mean(values: Floats) -> Estimate:
    value = float(values.mean())
    return Estimate(value, values - value)
