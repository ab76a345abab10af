"""The expected value of an ad in a slot, and the units by which its price is counted.

With e = P(seen), p = P(click | seen), c = P(conversion | click):

    paid, cpm    bid / 1000                 paid, cpc   bid × e p           paid, cpa   bid × e p c
    paid, value  value × e p c              (no bid: the value of a conversion replaces it, whatever is billed)
    own          e × (value × effect − discount × p c) − cost
    unpriced     e × p (or e × p c without a model of clicks): no ad states money, so the predicted rate ranks

`effect` is P(conversion | shown) − P(conversion | not shown). A conversion that would have come anyway earns nothing, so own
campaigns are ranked by the effect; without a model of it by the response p c.

Examination hypothesis (Richardson, Dominowska and Ragno, WWW 2007): P(click at a slot) = P(seen | slot) × P(click | seen). The
model predicts the second factor; training fits the first from positions as a small table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from personalization.ads.candidates import BILLINGS, CPC, CPM, Candidates
from personalization.ads.predict import PredictedRates

Numbers = NDArray[np.float64]
Objective = Literal["paid", "own"]

ANY_PLACEMENT: Final = ""  # the row of the table for placements that it does not list


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one ad.

    slot_id     the shop's name for it
    placement   kind of page or mail, or `None`
    position    1 for the first place, `None` where unknown
    floor       expected value per 1,000 impressions below which nothing is shown
    """

    slot_id: str
    placement: str | None = None
    position: int | None = None
    floor: float = 0.0


@dataclass(frozen=True)
class PositionModel:
    """P(seen) by placement and position. With an empty table every slot counts as seen.

    table   by placement (`ANY_PLACEMENT` for the others) the probabilities of positions 1, 2, …
    """

    table: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> PositionModel:
        """From a bundle's ``examination``; empty where it was trained without positions."""
        return cls(dict(manifest.get("examination") or {}))

    def p_seen(self, slot: Slot) -> float:
        """Probability that an ad in this slot is seen. A position beyond the table's end counts like its last one."""
        row = self.table.get(slot.placement or ANY_PLACEMENT) or self.table.get(ANY_PLACEMENT)
        if not row or slot.position is None:
            return 1.0
        return float(row[min(max(slot.position, 1), len(row)) - 1])


@dataclass(frozen=True)
class Valuation:
    """Values of N candidates in any slot: `value_if_seen` × (e where `value_needs_view`, else 1) − `cost`. Money is in units.

    value_if_seen          (N,) money, NaN where the ad states nothing to value it by
    value_per_probability  (N,) derivative of `value_if_seen` by `probability`
    probability            (N,) the deciding rate: of a click or of a conversion
    value_needs_view       (N,) whether the value is earned only if the ad is seen
    cost                   (N,) money for showing the ad
    units_if_seen          (N,) billed units (thousands of impressions, clicks, conversions) of a seen impression
    units_need_view        (N,) whether the units are billed only if the ad is seen
    paid                   an advertiser pays for the impression; then `expected` is the most that he would pay
    evidence               (N,) impressions that the ad has had
    unvalued               detail for ads without a value
    """

    value_if_seen: Numbers
    value_per_probability: Numbers
    probability: Numbers
    value_needs_view: NDArray[np.bool_]
    cost: Numbers
    units_if_seen: Numbers
    units_need_view: NDArray[np.bool_]
    paid: bool
    evidence: Numbers
    unvalued: str

    def expected(self, p_seen: float, probability: Numbers | None = None) -> Numbers:
        """Expected value of an impression in a slot, (N,) or (…, N).

        probability   (…, N) deciding rates to use instead of the predicted ones
        """
        value = self.value_if_seen
        if probability is not None:
            value = value + self.value_per_probability * (probability - self.probability)
        return value * np.where(self.value_needs_view, p_seen, 1.0) - self.cost

    def billed_units(self, p_seen: float) -> Numbers:
        """(N,) expected billed units of an impression in a slot."""
        return self.units_if_seen * np.where(self.units_need_view, p_seen, 1.0)


def is_unpriced(candidates: Candidates) -> bool:
    """Whether no ad states a bid or a value."""
    return not (np.isfinite(candidates.bid).any() or np.isfinite(candidates.value).any())


def valuate(objective: Objective, candidates: Candidates, rates: PredictedRates) -> Valuation:
    """Value the candidates for an objective. One candidate may be valued by the rates of N rows."""
    if objective == "own":
        return value_own(candidates, rates)
    return value_by_rate(candidates, rates) if is_unpriced(candidates) else value_paid(candidates, rates)


def value_paid(candidates: Candidates, rates: PredictedRates) -> Valuation:
    """Expected revenue: from the bid where there is one, else from the value of a conversion."""
    cpm, cpc = candidates.billing == BILLINGS.index(CPM), candidates.billing == BILLINGS.index(CPC)
    units = np.where(cpm, 1e-3, np.where(cpc, rates.click, rates.conversion))
    has_bid = np.isfinite(candidates.bid)
    return Valuation(
        value_if_seen=np.where(has_bid, candidates.bid * units, candidates.value * rates.conversion),
        value_per_probability=np.where(has_bid, np.where(cpm, 0.0, candidates.bid), candidates.value),
        probability=np.nan_to_num(np.where(has_bid & cpc, rates.click, rates.conversion)),
        value_needs_view=~(has_bid & cpm),
        cost=np.zeros(len(candidates)),
        units_if_seen=units,
        units_need_view=~cpm,
        paid=True,
        evidence=np.nan_to_num(candidates.evidence),
        unvalued="states neither a bid nor a value for which the model predicts a rate",
    )


def value_own(candidates: Candidates, rates: PredictedRates) -> Valuation:
    """Expected profit of the shop's own ads and coupons; conversions are counted where no ad states a value."""
    value = candidates.value if np.isfinite(candidates.value).any() else np.ones(len(candidates))
    effect = rates.conversion if rates.effect is None else rates.effect
    discount = np.nan_to_num(candidates.discount)
    return _unbilled(
        candidates,
        value_if_seen=value * effect - discount * rates.conversion,
        value_per_probability=value - discount,
        probability=rates.conversion,
        cost=np.nan_to_num(candidates.cost),
        unvalued="states no value, or the model predicts no conversions",
    )


def value_by_rate(candidates: Candidates, rates: PredictedRates) -> Valuation:
    """The predicted rate itself; nobody pays."""
    return _unbilled(
        candidates,
        value_if_seen=rates.primary,
        value_per_probability=np.ones(len(candidates)),
        probability=rates.primary,
        cost=np.zeros(len(candidates)),
        unvalued="the model predicts no rate for it",
    )


def _unbilled(
    candidates: Candidates,
    *,
    value_if_seen: Numbers,
    value_per_probability: Numbers,
    probability: Numbers,
    cost: Numbers,
    unvalued: str,
) -> Valuation:
    count = len(candidates)
    return Valuation(
        value_if_seen,
        value_per_probability,
        np.nan_to_num(probability),
        value_needs_view=np.ones(count, dtype=bool),
        cost=cost,
        units_if_seen=np.ones(count),
        units_need_view=np.zeros(count, dtype=bool),
        paid=False,
        evidence=np.nan_to_num(candidates.evidence),
        unvalued=unvalued,
    )
