"""What an ad in a place is worth, and what its price is counted in.

With e = P(seen), p = P(click | seen), c = P(conversion | click):

    paid, cpm    bid / 1000                 paid, cpc   bid × e p           paid, cpa   bid × e p c
    paid, value  value × e p c              (no bid: the worth of a conversion stands for it, whatever is billed)
    own          e × (value × effect − discount × p c) − cost
    unpriced     e × p (or e × p c where the model knows no clicks): no ad states money, so chances are counted

`effect` is what the ad changes: P(conversion | shown) − P(conversion | not shown). To pay those who would have bought anyway is
waste, so an own campaign is ranked by it; without a model of the effect it is p c, the response, and the answer says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personalization.ads.candidates import Candidates
from personalization.ads.terms import BILLINGS, CPC, CPM, Objective

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class PredictedRates:
    """What a model says of N candidates, once they are seen; NaN where it says nothing.

    click    (N,) P(click | seen)
    both     (N,) P(conversion | seen), by way of a click where the model knows clicks
    effect   (N,) P(conversion | shown) − P(conversion | not shown), or `None` where no model of it exists
    """

    click: Numbers
    both: Numbers
    effect: Numbers | None = None

    @classmethod
    def of(cls, click: Numbers, conversion: Numbers, effect: Numbers | None = None) -> PredictedRates:
        """From P(click | seen) and P(conversion | click)."""
        return cls(click, click * conversion, effect)

    @property
    def conversion(self) -> Numbers:
        """(N,) P(conversion | click)."""
        out = np.full(len(self.both), np.nan)
        np.divide(self.both, self.click, out=out, where=self.click > 0)
        return out


@dataclass(frozen=True)
class Valuation:
    """Worth of N candidates in any slot: `gain` × (e where `scaled`, else 1) − `cost`.

    gain          (N,) money, NaN where an ad states nothing to value it by
    slope         (N,) what `gain` changes by for a change of `probability`
    probability   (N,) the one that decides: of a click, or of a conversion
    scaled        (N,) whether the gain needs the ad to be seen
    cost          (N,) money for showing it
    unit          (N,) billed units (thousands of impressions, clicks, conversions) of one seen impression
    unit_scaled   (N,) whether the unit needs the ad to be seen
    paid          whether somebody pays for the impression: then `expected` is what he would pay at most
    evidence      (N,) impressions that the ad has had
    missing       what to say of an ad that cannot be valued
    """

    gain: Numbers
    slope: Numbers
    probability: Numbers
    scaled: NDArray[np.bool_]
    cost: Numbers
    unit: Numbers
    unit_scaled: NDArray[np.bool_]
    paid: bool
    evidence: Numbers
    missing: str

    def expected(self, seen: float) -> Numbers:
        """(N,) expected value of an impression in a slot."""
        return self.gain * np.where(self.scaled, seen, 1.0) - self.cost

    def units(self, seen: float) -> Numbers:
        """(N,) expected billed units of an impression in a slot."""
        return self.unit * np.where(self.unit_scaled, seen, 1.0)

    def drawn(self, probability: Numbers, seen: float) -> Numbers:
        """Expected value if the deciding probabilities were these, (…, N)."""
        gain = self.gain + self.slope * (probability - self.probability)
        return gain * np.where(self.scaled, seen, 1.0) - self.cost


def unpriced(candidates: Candidates) -> bool:
    """Whether no ad states what it pays."""
    return not (np.isfinite(candidates.bid).any() or np.isfinite(candidates.value).any())


def valuate(objective: Objective, candidates: Candidates, chances: PredictedRates) -> Valuation:
    """By what ads are ranked."""
    if objective == "own":
        return value_of_own(candidates, chances)
    return value_by_rate(candidates, chances) if unpriced(candidates) else value_of_paid(candidates, chances)


def value_by_rate(candidates: Candidates, chances: PredictedRates) -> Valuation:
    """By the first chance that the model knows; nobody pays."""
    chance = chances.both if np.isnan(chances.click).all() else chances.click
    rows = len(candidates)
    return Valuation(
        gain=chance,
        slope=np.ones(rows),
        probability=np.nan_to_num(chance),
        scaled=np.ones(rows, dtype=bool),
        cost=np.zeros(rows),
        unit=np.ones(rows),
        unit_scaled=np.zeros(rows, dtype=bool),
        paid=False,
        evidence=np.nan_to_num(candidates.evidence),
        missing="the model says nothing of it",
    )


def value_of_paid(candidates: Candidates, chances: PredictedRates) -> Valuation:
    """Expected revenue: from the bid where there is one, else from the value of a conversion."""
    cpm, cpc = candidates.billing == BILLINGS.index(CPM), candidates.billing == BILLINGS.index(CPC)
    both = chances.both
    unit = np.where(cpm, 1e-3, np.where(cpc, chances.click, both))
    has_bid = np.isfinite(candidates.bid)
    gain = np.where(has_bid, candidates.bid * unit, candidates.value * both)
    slope = np.where(has_bid, np.where(cpm, 0.0, candidates.bid), candidates.value)
    return Valuation(
        gain=gain,
        slope=slope,
        probability=np.nan_to_num(np.where(has_bid & cpc, chances.click, both)),
        scaled=~(has_bid & cpm),
        cost=np.zeros(len(candidates)),
        unit=unit,
        unit_scaled=~cpm,
        paid=True,
        evidence=np.nan_to_num(candidates.evidence),
        missing="states neither a bid nor a value that the model can judge",
    )


def value_of_own(candidates: Candidates, chances: PredictedRates) -> Valuation:
    """Expected profit of the shop's own ads and coupons; where no ad states a value, conversions are counted."""
    value = candidates.value if np.isfinite(candidates.value).any() else np.ones(len(candidates))
    both = chances.both
    effect = both if chances.effect is None else chances.effect
    discount = np.nan_to_num(candidates.discount)
    return Valuation(
        gain=value * effect - discount * both,
        slope=value - discount,
        probability=np.nan_to_num(both),
        scaled=np.ones(len(candidates), dtype=bool),
        cost=np.nan_to_num(candidates.cost),
        unit=np.ones(len(candidates)),
        unit_scaled=np.zeros(len(candidates), dtype=bool),
        paid=False,
        evidence=np.nan_to_num(candidates.evidence),
        missing="states no value, or the model knows no conversions",
    )
