"""Segments of users by predicted behaviour, each with the action that it suggests.

RFM segments (`rfm`) describe the past; these follow from the model's predictions. A user is in the first segment whose rule
matches. The numbers in the rules are quantiles of the training data, so that the shares of users are similar in most shops.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

# S3 key of the newest summary of all segments; it holds no user id.
CURRENT_SEGMENTS: Final = "segments/current.json"

# For bundles without measured thresholds: twice the odds of the shop's purchase rate, and fractions of its rate of return.
_READY_ODDS: Final = 2.0
_LAPSE_TIMES: Final = 0.5
_COOLING_TIMES: Final = 0.8
_NEW_DAYS: Final = 30.0


@dataclass(frozen=True, slots=True)
class SegmentThresholds:
    """The numbers in the rules; probabilities and risks are predictions of the model.

    ready      probability to buy within the horizon; a fifth of the users had more
    cooling    churn risk; half of the buyers had more
    lapse      churn risk; a quarter of the buyers had more
    value      net value in the history window; a fifth of the buyers had more
    new_days   days since the first event of somebody new
    horizon    days of `ready`
    churn      days of `cooling` and `lapse`
    """

    ready: float
    cooling: float
    lapse: float
    value: float
    new_days: float
    horizon: int
    churn: int

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> SegmentThresholds | None:
        """Thresholds of a bundle; `None` where all its predictions are equal, or where it has no statistics of buyers."""
        horizon, churn = int(manifest["horizon"]), int(manifest["churn_horizon"])
        if "behaviour" in manifest:
            stored = manifest["behaviour"]
            if not stored:
                return None
            numbers: dict[str, Any] = {name: float(value) for name, value in stored.items()}
            return cls(**numbers, horizon=horizon, churn=churn)
        rfm, fallback = manifest.get("rfm"), manifest.get("fallback", {})
        within = fallback.get("probability_within")
        if not rfm or not within:
            return None
        rate = float(fallback["probability"])
        returns = float(within[list(manifest["hazard_days"]).index(manifest["churn_horizon"])])
        return cls(
            ready=_READY_ODDS * rate / (1 - rate + _READY_ODDS * rate),
            cooling=1 - _COOLING_TIMES * returns,
            lapse=1 - _LAPSE_TIMES * returns,
            value=float(rfm["monetary"][-1]),
            new_days=_NEW_DAYS,
            horizon=horizon,
            churn=churn,
        )


@dataclass(frozen=True, slots=True)
class SegmentTraits:
    """The values of one user that the rules use; NaN where unknown.

    probability, churn_risk   as in the profile
    orders, monetary          in the history window
    tenure_days               since the first event ever
    purchase_days             since the last purchase
    """

    probability: float
    churn_risk: float
    orders: float
    monetary: float
    tenure_days: float
    purchase_days: float


@dataclass(frozen=True, slots=True)
class SegmentDefinition:
    """A segment and the action that it suggests.

    rule     description, a format string over the fields of `SegmentThresholds`
    action   ``win back``, ``cross-sell``, ``reward``, ``leave alone``, ``welcome``, ``first order``
    reason   reason for the action, without numbers
    """

    name: str
    rule: str
    action: str
    reason: str

    @property
    def slug(self) -> str:
        """The name in file names."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    def rule_with(self, thresholds: SegmentThresholds) -> str:
        """The rule with the numbers of a bundle."""
        return self.rule.format_map({name: _number(getattr(thresholds, name)) for name in SegmentThresholds.__slots__})


NEW: Final = SegmentDefinition(
    "New", "has bought, and was first seen within the last {new_days} days", "welcome", "a second order makes a customer"
)
READY: Final = SegmentDefinition(
    "Ready to buy",
    "a probability of at least {ready} to buy within {horizon} days",
    "leave alone",
    "they are about to buy without a discount, which would only cost",
)
PROSPECTS: Final = SegmentDefinition(
    "Prospects", "no order yet, and a probability to buy below {ready}", "first order", "they look but have not bought"
)
COOLING: Final = SegmentDefinition(
    "High value, cooling",
    "a net value of at least {value}, and a churn risk over {churn} days of at least {cooling}",
    "win back",
    "they spent more than four in five buyers, and are likelier than usual to stay away",
)
LAPSED: Final = SegmentDefinition(
    "Lapsed",
    "no purchase for more than {churn} days, and a churn risk of at least {lapse}",
    "leave alone",
    "they have been away for long and are far likelier than usual to stay so, money is better spent on others",
)
LAPSING: Final = SegmentDefinition(
    "About to lapse",
    "a purchase within the last {churn} days, and a churn risk of at least {lapse}",
    "win back",
    "they bought lately enough to be reached, and are far likelier than usual to stay away",
)
LOYAL: Final = SegmentDefinition(
    "High value, steady",
    "a net value of at least {value}, and a churn risk below {cooling}",
    "reward",
    "they spend more than four in five buyers, and nothing says that they stop",
)
STEADY: Final = SegmentDefinition(
    "Steady",
    "all other buyers",
    "cross-sell",
    "nothing says that they stop, and what else they may like is open",
)
SEGMENTS: Final = (NEW, READY, PROSPECTS, COOLING, LAPSED, LAPSING, LOYAL, STEADY)


def assign_segment(traits: SegmentTraits, thresholds: SegmentThresholds) -> SegmentDefinition:
    """The first segment whose rule matches. A rule that uses an unknown value does not match."""
    bought = traits.orders > 0
    if bought and traits.tenure_days <= thresholds.new_days:
        return NEW
    if traits.probability >= thresholds.ready:
        return READY
    if not bought:
        return PROSPECTS
    valuable = traits.monetary >= thresholds.value
    if valuable and traits.churn_risk >= thresholds.cooling:
        return COOLING
    if traits.churn_risk >= thresholds.lapse:
        return LAPSED if traits.purchase_days > thresholds.churn else LAPSING
    return LOYAL if valuable else STEADY


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1 else f"{value:,.2f}".removesuffix(".00")
