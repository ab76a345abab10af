"""The auction of one decision: slots are filled one after the other, the one that is seen most first.

An ad wins at most one slot of a decision. Every candidate ends either as the winner of one slot or as a loser with one reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from personalization.ads.candidates import Candidates
from personalization.ads.eligibility import BELOW_FLOOR, OUTSCORED, PACED, Limits, LossReason
from personalization.ads.exploration import (
    Exploration,
    Numbers,
    action_probabilities,
    greedy_probabilities,
    random_generator,
    sample_policies,
)
from personalization.ads.pacing import Control, Pace, Traffic
from personalization.ads.valuation import PositionModel, Slot, Valuation

MICROS: Final = 1_000_000  # prices are whole multiples of 1e-6 of a unit of currency

Pricing = Literal["first_price", "second_price"]


@dataclass(frozen=True)
class AuctionRequest:
    """Everything a decision depends on, except what budgets and frequency caps have left.

    limits            with what the request itself restricts
    positions         P(seen) of slots
    pricing           what a winner pays: its bid, or what it takes to beat the next campaign
    control           how campaigns keep to their spending plan, `None`: not at all
    traffic           forecast that the spending plan follows
    partition         partition key of the user's or session's state, `None` for an unknown user: no frequency caps apply
    conversion_days   how long a paid conversion is waited for (the bundle's attribution window)
    zone              the shop's time zone, for daily budgets
    preview           decide without counting anything
    """

    decision_id: str
    candidates: Candidates
    valuation: Valuation
    slots: Sequence[Slot]
    limits: Limits
    positions: PositionModel = field(default_factory=PositionModel)
    exploration: Exploration = field(default_factory=Exploration)
    pricing: Pricing = "second_price"
    control: Control | None = "shade"
    traffic: Traffic = field(default_factory=Traffic)
    partition: str | None = None
    conversion_days: float = 7.0
    zone: tzinfo = UTC
    preview: bool = False


@dataclass(frozen=True, slots=True)
class Win:
    """A filled slot. Money is in units of currency.

    slot, candidate   their indices
    expected_value    of the impression in this slot
    p_seen            probability that the slot is seen
    price             of one billed unit; the cost of an own ad
    charge            expected money for this impression: price × expected billed units
    propensity        probability of this choice, given the slots filled before
    explored          another participant had a higher score; this one pays the floor
    """

    slot: int
    candidate: int
    expected_value: float
    p_seen: float
    price: float
    charge: float
    propensity: float
    explored: bool


@dataclass(frozen=True)
class AuctionResult:
    """wins            one for each filled slot, in the order in which they were filled
    losses          reason by candidate; with `wins` each candidate exactly once
    probabilities   by slot (N,): of each candidate, given the slots filled before; the rest to 1 is an empty slot
    draws           number of samples of which the probabilities are means; 0 where they have a closed form
    """

    wins: list[Win]
    losses: dict[int, LossReason]
    probabilities: dict[int, Numbers]
    draws: int


def run_auction(
    request: AuctionRequest, blocked: Sequence[LossReason | None], paces: Mapping[str, Pace] | None = None
) -> AuctionResult:
    """Fill the slots. The randomness comes from the decision's id alone.

    blocked   (N,) reasons of candidates that do not take part (`eligibility.find_blocked`)
    paces     by campaign; a campaign without one takes part fully
    """
    p_seen = [request.positions.p_seen(slot) for slot in request.slots]
    auction = _Auction(request, blocked, paces or {})
    for slot in sorted(range(len(p_seen)), key=lambda slot: -p_seen[slot]):
        auction.fill(slot, p_seen[slot])
    return AuctionResult(auction.wins, auction.losses(), auction.probabilities, auction.samples.draws)


@dataclass(frozen=True)
class _Round:
    """The auction of one slot.

    entered          (N,) took part: eligible, with a positive value at or above the floor
    unpaced          (N,) took part with their whole score
    expected         (N,) expected value
    clearing_score   the highest score
    """

    entered: NDArray[np.bool_]
    unpaced: NDArray[np.bool_]
    expected: Numbers
    clearing_score: float


class _Auction:
    """The slots filled so far, and who may still win one."""

    def __init__(self, request: AuctionRequest, blocked: Sequence[LossReason | None], paces: Mapping[str, Pace]) -> None:
        self.candidates, self.valuation = request.candidates, request.valuation
        self.policy, self.pricing, self.slots = request.exploration, request.pricing, request.slots
        self.greedy = self.policy.greedy
        self.blocked = blocked
        campaign_paces = [paces.get(campaign_id, Pace()) for campaign_id in self.candidates.campaigns]
        self.campaign = self.candidates.campaign
        self.weight = np.array([pace.weight for pace in campaign_paces], dtype=np.float64)[self.campaign]
        self.participation = np.array([pace.participation for pace in campaign_paces], dtype=np.float64)
        self.available = np.array([reason is None for reason in blocked], dtype=bool)
        self.random = random_generator(request.decision_id)
        self.samples = sample_policies(
            self.valuation, self.campaign, self.participation, len(self.slots), self.policy, self.random
        )
        self.wins: list[Win] = []
        self.rounds: list[_Round] = []
        self.probabilities: dict[int, Numbers] = {}

    def fill(self, slot: int, p_seen: float) -> None:
        """Choose the winner of a slot, and its price."""
        floor = self.slots[slot].floor / 1000
        expected = self.valuation.expected(p_seen)
        entered = self.available & (expected > 0) & (expected >= floor)
        rows = np.flatnonzero(entered & (self.weight > 0))
        scores = expected[rows] * self.weight[rows]
        sample = self._pick_sample()
        draw = self.random.random()
        present = self.samples.present[sample, rows]
        unpaced = np.zeros(len(expected), dtype=bool)
        unpaced[rows] = present & (self.weight[rows] >= 1)
        self.rounds.append(_Round(entered, unpaced, expected, float(scores[present].max(initial=0.0))))
        propensities, probabilities = self._probabilities(rows, p_seen, scores, sample)
        self.probabilities[slot] = np.zeros(len(expected))
        self.probabilities[slot][rows] = propensities
        if not present.any():
            return
        cumulative = np.cumsum(probabilities)
        pick = min(int(np.searchsorted(cumulative, draw * probabilities.sum(), side="right")), len(rows) - 1)
        winner = int(rows[pick])
        value = float(expected[winner])
        explored = pick != int(np.where(present, scores, -np.inf).argmax())
        needed = value  # the lowest expected value with which the winner would have won
        if explored:
            needed = floor
        elif self.pricing == "second_price":
            rivals = scores[present & (self.campaign[rows] != self.campaign[winner])]
            needed = min(max(float(rivals.max(initial=0.0)) / float(self.weight[winner]), floor), value)
        units = float(self.valuation.billed_units(p_seen)[winner])
        price = self._price(winner, needed / units)
        self.wins.append(Win(slot, winner, value, p_seen, price, price * units, float(propensities[pick]), explored))
        self.available[winner] = False

    def losses(self) -> dict[int, LossReason]:
        """Why each of the others got no slot."""
        lost = np.ones(len(self.blocked), dtype=bool)
        lost[[win.candidate for win in self.wins]] = False
        entered, paced, beaten_by_chance = (np.zeros(len(lost), dtype=bool) for _ in range(3))
        best = np.full(len(lost), -np.inf)
        for one in self.rounds:
            entered |= one.entered
            paced |= one.entered & ~one.unpaced & (one.expected > one.clearing_score)
            beaten_by_chance |= one.entered & (one.expected >= one.clearing_score)
            best = np.maximum(best, one.expected)
        per_thousand = (np.where(np.isfinite(best), best, 0.0) * 1000).tolist()
        losses: dict[int, LossReason] = {}
        for row in np.flatnonzero(lost).tolist():
            reason = self.blocked[row]
            if reason is not None:
                losses[row] = reason
            elif paced[row]:
                losses[row] = LossReason(PACED, "its campaign is ahead of its spending plan")
            elif beaten_by_chance[row]:
                losses[row] = LossReason(OUTSCORED, "another ad was explored in its place")
            else:
                detail = f"expected value {per_thousand[row]:.6g} per 1,000 impressions"
                losses[row] = LossReason(OUTSCORED if entered[row] else BELOW_FLOOR, detail)
        return losses

    def _pick_sample(self) -> int:
        """The sample on which the policy acts in the next slot."""
        if self.greedy:
            return len(self.rounds) % len(self.samples.present)  # one per slot, or one for all where nothing is random
        return int(self.random.integers(len(self.samples.present)))

    def _probabilities(self, rows: NDArray[np.int64], p_seen: float, scores: Numbers, sample: int) -> tuple[Numbers, Numbers]:
        """Probability of each choice over all samples (its propensity), and in the picked one."""
        if not len(rows):
            return scores, scores
        present = self.samples.present[:, rows]
        if self.greedy:
            propensities = greedy_probabilities(scores, self.campaign[rows], self.participation)
            return propensities, action_probabilities(scores[None, :], present[sample : sample + 1], self.policy)[0]
        sampled = scores[None, :]
        if self.samples.rates is not None:
            sampled = self.valuation.expected(p_seen, self.samples.rates)[:, rows] * self.weight[rows]
        probabilities = action_probabilities(sampled, present, self.policy)
        return probabilities.mean(axis=0), probabilities[sample]

    def _price(self, winner: int, needed: float) -> float:
        """Price of a billed unit, rounded down and so never above the bid; the cost of an own ad."""
        if not self.valuation.paid:
            return float(self.valuation.cost[winner])
        bid = float(self.candidates.bid[winner])
        # The quotient may be below a round price by a few units in its last place.
        price = math.floor(needed * MICROS * (1 + 1e-12)) / MICROS
        return price if math.isnan(bid) else min(price, bid)
