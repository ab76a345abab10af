"""Segments by predicted behaviour: what users will do, told by the model, and what a shop does about it.

RFM says who somebody was; these say what comes next. A user is in the first segment whose rule fits. The numbers in the rules
are quantiles of the training data (`Thresholds`), so that each segment holds a like share of most shops' users.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

# Without what training would have measured: twice the odds of the shop's rate to buy, so much less likely to come again.
# S3 key of the newest summary of all segments; it holds no user id.
CURRENT_SEGMENTS: Final = "segments/current.json"

_READY_ODDS: Final = 2.0
_LAPSE_TIMES: Final = 0.5
_COOLING_TIMES: Final = 0.8
_NEW_DAYS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The numbers in the rules; rates of purchase are of the model's predictions.

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
    def from_manifest(cls, manifest: Mapping[str, Any]) -> Thresholds | None:
        """Of a bundle; `None` where its model tells no two users apart, or where it says too little of its data."""
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
class Traits:
    """What the rules look at, of one user; NaN is not known.

    probability, churn_risk   as the profile says them
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
class Segment:
    """A segment and what to do with it.

    rule     in words, with the names of thresholds to be filled in
    action   ``win back``, ``cross-sell``, ``reward``, ``leave alone``, ``welcome``, ``first order``
    reason   why that, before the numbers
    """

    name: str
    rule: str
    action: str
    reason: str

    @property
    def slug(self) -> str:
        """As in a file's name."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    def rule_with(self, thresholds: Thresholds) -> str:
        return self.rule.format_map({name: _number(getattr(thresholds, name)) for name in Thresholds.__slots__})


NEW: Final = Segment(
    "New", "has bought, and was first seen within the last {new_days} days", "welcome", "a second order makes a customer"
)
READY: Final = Segment(
    "Ready to buy",
    "a probability of at least {ready} to buy within {horizon} days",
    "leave alone",
    "they are about to buy without a discount, which would only cost",
)
PROSPECTS: Final = Segment(
    "Prospects", "no order yet, and a probability to buy below {ready}", "first order", "they look but have not bought"
)
COOLING: Final = Segment(
    "High value, cooling",
    "a net value of at least {value}, and a churn risk over {churn} days of at least {cooling}",
    "win back",
    "they spent more than four in five buyers, and are likelier than usual to stay away",
)
LAPSED: Final = Segment(
    "Lapsed",
    "no purchase for more than {churn} days, and a churn risk of at least {lapse}",
    "leave alone",
    "they have been away for long and are far likelier than usual to stay so, money is better spent on others",
)
LAPSING: Final = Segment(
    "About to lapse",
    "a purchase within the last {churn} days, and a churn risk of at least {lapse}",
    "win back",
    "they bought lately enough to be reached, and are far likelier than usual to stay away",
)
LOYAL: Final = Segment(
    "High value, steady",
    "a net value of at least {value}, and a churn risk below {cooling}",
    "reward",
    "they spend more than four in five buyers, and nothing says that they stop",
)
STEADY: Final = Segment(
    "Steady",
    "all other buyers",
    "cross-sell",
    "nothing says that they stop, and what else they may like is open",
)
SEGMENTS: Final = (NEW, READY, PROSPECTS, COOLING, LAPSED, LAPSING, LOYAL, STEADY)


def behaviour(traits: Traits, thresholds: Thresholds) -> Segment:
    """The first segment whose rule fits; what is not known fits no rule that asks for it."""
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
