"""Whether another policy would have been better: estimates, how far they can be trusted, and a verdict or its refusal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.evaluation.off_policy_estimators import (
    Estimate,
    LoggedActions,
    Numbers,
    TargetPolicy,
    effective_sample_size,
    estimate,
    on_policy,
    standard_error,
    weights,
)

# What a sample must have before a verdict is given. Below these a normal interval says nothing: few rows decide everything.
LEAST_EFFECTIVE_ROWS: Final = 100.0
LEAST_EFFECTIVE_REWARDS: Final = 20.0
LARGEST_SHARE: Final = 0.1  # of all weight in one row
# The mean weight is 1 if the log holds what the policy would choose. Further off than this many standard errors, it does not.
FARTHEST_MEAN: Final = 4.0

_CONFIDENT, _POWERFUL = NormalDist().inv_cdf(0.975), NormalDist().inv_cdf(0.8)


@dataclass(frozen=True)
class Check:
    """One condition on the sample: what was found, what is needed, and by what factor the log is too short (≤ 1: it holds)."""

    name: str
    found: float
    needed: float
    factor: float

    @property
    def holds(self) -> bool:
        return self.factor <= 1


def carries(logged: LoggedActions, target: TargetPolicy) -> list[Check]:
    """Whether the sample can carry a verdict on a policy."""
    w = weights(logged, target)
    rows, rewards = effective_sample_size(w), effective_sample_size(w * np.abs(logged.reward))
    total = float(w.sum())
    share = float(w.max(initial=0.0)) / total if total > 0 else 1.0
    # A factor for nothing at all cannot be told; one row more is the least it can be.
    return [
        Check("effective_rows", rows, LEAST_EFFECTIVE_ROWS, LEAST_EFFECTIVE_ROWS / max(rows, 1.0)),
        Check("effective_rewards", rewards, LEAST_EFFECTIVE_REWARDS, LEAST_EFFECTIVE_REWARDS / max(rewards, 1.0)),
        Check("largest_weight_share", share, LARGEST_SHARE, share / LARGEST_SHARE),
    ]


def report(logged: LoggedActions, target: TargetPolicy) -> dict[str, Any]:
    """Estimates with 95 % intervals, the sample's state and the verdict, ready for JSON.

    The verdict compares the policy with the one that was logged, by DR where there is a reward model, else by SNIPS, paired
    row by row. ``answer`` is better, worse, undecided or refused; ``rows_needed`` is how many such rows are needed in all (at
    least, where it is refused) and ``rows_more`` how many more than there are.
    """
    estimates, base = estimate(logged, target), on_policy(logged)
    w = weights(logged, target)
    return {
        "rows": len(logged),
        "rewards": int((logged.reward != 0).sum()),
        "logged_value": _told(base, logged.cluster),
        "estimates": {name: _told(one, logged.cluster) for name, one in estimates.items()},
        "effective_sample_size": _number(effective_sample_size(w)),
        "mean_weight": _number(float(w.mean())),
        "largest_weight": _number(float(w.max(initial=0.0))),
        "verdict": _verdict(logged, target, estimates, base),
    }


def _verdict(logged: LoggedActions, target: TargetPolicy, estimates: dict[str, Estimate], base: Estimate) -> dict[str, Any]:
    failed = [check for check in carries(logged, target) if not check.holds]
    w = weights(logged, target)
    error = standard_error(w - w.mean(), logged.cluster)
    unsupported = abs(float(w.mean()) - 1) > FARTHEST_MEAN * error and abs(float(w.mean()) - 1) > 1e-6
    if failed:
        needed = math.ceil(len(logged) * max(check.factor for check in failed))
        reasons = [f"{check.name} is {check.found:.4g}, {_bound(check)} {check.needed:g} is needed" for check in failed]
        return {"answer": "refused", "reasons": reasons} | _more(needed, len(logged))
    if unsupported:
        reasons = [f"the mean weight is {w.mean():.4g}, not 1: the log lacks choices that the policy would make"]
        return {"answer": "refused", "reasons": reasons}
    name = "dr" if "dr" in estimates else "snips"
    difference = estimates[name].value - base.value
    deviation = standard_error(estimates[name].influence - base.influence, logged.cluster)
    low, high = difference - _CONFIDENT * deviation, difference + _CONFIDENT * deviation
    told = {"estimator": name, "difference": _number(difference), "interval": [_number(low), _number(high)]}
    if low > 0 or high < 0:
        return {"answer": "better" if low > 0 else "worse"} | told
    if difference == 0:
        return {"answer": "undecided"} | told
    # For this difference to be found in four of five samples.
    factor = ((_CONFIDENT + _POWERFUL) * deviation / abs(difference)) ** 2
    return {"answer": "undecided"} | told | _more(math.ceil(len(logged) * factor), len(logged))


def _bound(check: Check) -> str:
    return "at most" if check.name == "largest_weight_share" else "at least"


def _more(needed: int, rows: int) -> dict[str, int]:
    return {"rows_needed": needed, "rows_more": max(needed - rows, 1)}


def _told(one: Estimate, cluster: NDArray[np.int64] | None) -> dict[str, Any]:
    low, high = one.interval(cluster)
    return {"value": _number(one.value), "standard_error": _number(one.standard_error(cluster)),
            "low": _number(low), "high": _number(high)}  # fmt: skip


def _number(value: float) -> float:
    return float(f"{value:.8g}")


@dataclass(frozen=True)
class Rates:
    """A plain reward model: each action's mean reward, drawn towards the mean of all, learnt from the other folds' rows.

    A row's own reward is never in its model, else DR would be too sure of itself.

    fold    (N,) fold of each row
    rates   (folds, A) the model for the rows of a fold
    """

    fold: NDArray[np.int64]
    rates: Numbers

    @classmethod
    def fit(cls, logged: LoggedActions, actions: int, folds: int = 5, strength: float = 20.0, seed: int = 0) -> Rates:
        """Rows of one cluster stay in one fold. `strength` is the number of rows that the mean of all counts for."""
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

    def target(self, logged: LoggedActions, policy: Numbers) -> TargetPolicy:
        """A policy that does not look at the context: (A,) its probability of each action."""
        chosen = policy[logged.action]
        return TargetPolicy(chosen, (self.rates @ policy)[self.fold], self.rates[self.fold, logged.action])
