"""One decision: slots filled one after the other, each by an auction among those still in it.

The slot that is seen most goes first. An ad is shown once per decision. Every candidate ends either as the winner of one slot
or as a loser with one reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from personalization.ads.candidates import Candidates
from personalization.ads.eligibility import LossReason
from personalization.ads.exploration import Exploration, Numbers, action_probabilities, greedy_chances, sample_policies
from personalization.ads.pacing import Pace
from personalization.ads.slots import PositionModel, Slot
from personalization.ads.terms import BELOW_FLOOR, OUTSCORED, PACED, Auction
from personalization.ads.valuation import Valuation

MICRO = 1_000_000  # prices are whole millionths of the shop's money


@dataclass(frozen=True, slots=True)
class Win:
    """A filled slot.

    slot, candidate   their indices
    expected_value    of the impression in this slot, in money
    seen              P(seen) of the slot
    price             of one billed unit; for an own ad its cost
    charge            expected money for this impression: price × expected units
    propensity        probability of this choice, given the slots filled before
    explored          another ad would have been the best of those that took part: this one pays the floor
    """

    slot: int
    candidate: int
    expected_value: float
    seen: float
    price: float
    charge: float
    propensity: float
    explored: bool


@dataclass(frozen=True)
class Decision:
    """wins     one for each filled slot, in the order in which they were filled
    losses   reason by candidate; with `wins` each candidate exactly once
    chances  by slot (N,): probability of each candidate, given the slots filled before; what is missing to 1: nothing shown
    draws    over which the probabilities are means; 0 where they have a closed form
    """

    wins: list[Win]
    losses: dict[int, LossReason]
    chances: dict[int, Numbers]
    draws: int


@dataclass(frozen=True)
class _Round:
    """One slot's auction, as its losers need to know it: who was in it, their values, and the score that was to be beaten."""

    entered: NDArray[np.bool_]
    unhindered: NDArray[np.bool_]
    expected: Numbers
    to_beat: float


def decide(
    candidates: Candidates,
    worth: Valuation,
    refused: Sequence[LossReason | None],
    slots: Sequence[Slot],
    random: np.random.Generator,
    *,
    positions: PositionModel | None = None,
    paces: Mapping[str, Pace] | None = None,
    exploration: Exploration | None = None,
    auction: Auction = "second_price",
) -> Decision:
    """Fill the slots.

    refused   what keeps each candidate out (`eligibility.refusals`)
    paces     by campaign; without one it takes part fully
    random    seeded from the decision's id
    """
    policy = exploration or Exploration()
    house = _Auction(candidates, worth, refused, len(slots), random, paces or {}, policy, auction)
    seen = (positions or PositionModel()).seen_all(slots)
    for index in sorted(range(len(slots)), key=lambda i: -seen[i]):
        house.fill(index, float(seen[index]), slots[index].floor / 1000)
    return Decision(house.wins, house.losses(), house.chances, house.worlds.draws)


@dataclass
class _Auction:
    """The auction house of one decision."""

    candidates: Candidates
    worth: Valuation
    refused: Sequence[LossReason | None]
    slots: int
    random: np.random.Generator
    paces: Mapping[str, Pace]
    policy: Exploration
    auction: Auction
    wins: list[Win] = field(default_factory=list)
    rounds: list[_Round] = field(default_factory=list)
    chances: dict[int, Numbers] = field(default_factory=dict)

    def __post_init__(self) -> None:
        stated = [self.paces.get(word, Pace()) for word in self.candidates.campaigns]
        self.campaign = self.candidates.campaign
        self.weight = np.array([pace.weight for pace in stated], dtype=np.float64)[self.campaign]
        self.participation = np.array([pace.participation for pace in stated], dtype=np.float64)
        self.free = np.array([refusal is None for refusal in self.refused], dtype=bool)
        self.worlds = sample_policies(self.worth, self.campaign, self.participation, self.slots, self.policy, self.random)

    def fill(self, slot: int, seen: float, floor: float) -> None:
        """Hold the auction of a slot."""
        expected = self.worth.expected(seen)
        entered = self.free & (expected > 0) & (expected >= floor)
        rows = np.flatnonzero(entered & (self.weight > 0))
        scores = expected[rows] * self.weight[rows]
        world = self._world()
        draw = self.random.random()
        present = self.worlds.present[world, rows]
        unhindered = np.zeros(len(expected), dtype=bool)
        unhindered[rows] = present & (self.weight[rows] >= 1)
        to_beat = float(scores[present].max(initial=0.0))
        self.rounds.append(_Round(entered, unhindered, expected, to_beat))
        mean, here = self._chances(rows, seen, scores, world)
        self.chances[slot] = np.zeros(len(expected))
        self.chances[slot][rows] = mean
        if not present.any():
            return
        pick = min(int(np.searchsorted(np.cumsum(here), draw * here.sum(), side="right")), len(rows) - 1)
        explored = pick != int(np.where(present, scores, -np.inf).argmax())
        winner = int(rows[pick])
        rivals = present & (self.campaign[rows] != self.campaign[winner])
        needed = float(expected[winner])
        if explored:
            needed = floor
        elif self.auction == "second_price":
            rival = float(scores[rivals].max(initial=0.0)) / float(self.weight[winner])
            needed = min(max(rival, floor), needed)
        units = float(self.worth.units(seen)[winner])
        price = self._price(winner, needed / units)
        self.wins.append(Win(slot, winner, float(expected[winner]), seen, price, price * units, float(mean[pick]), explored))
        self.free[winner] = False

    def _world(self) -> int:
        """The world in which the next slot's auction is held: any of those that its probabilities are a mean of."""
        if self.policy.greedy:
            return len(self.rounds) % len(self.worlds.present)  # one for each slot, or one for all where nothing is drawn
        return int(self.random.integers(len(self.worlds.present)))

    def losses(self) -> dict[int, LossReason]:
        """Why each of the others got no slot."""
        lost = np.ones(len(self.refused), dtype=bool)
        lost[[win.candidate for win in self.wins]] = False
        entered, paced, tried = (np.zeros(len(lost), dtype=bool) for _ in range(3))
        best = np.full(len(lost), -np.inf)
        for one in self.rounds:
            entered |= one.entered
            paced |= one.entered & ~one.unhindered & (one.expected > one.to_beat)
            tried |= one.entered & (one.expected >= one.to_beat)
            best = np.maximum(best, one.expected)
        thousand = (np.where(np.isfinite(best), best, 0.0) * 1000).tolist()
        out: dict[int, LossReason] = {}
        for row in np.flatnonzero(lost).tolist():
            refusal = self.refused[row]
            if refusal is not None:
                out[row] = refusal
            elif paced[row]:
                out[row] = LossReason(PACED, "its campaign is ahead of its spending plan")
            elif tried[row]:
                out[row] = LossReason(OUTSCORED, "another ad was tried in its place")
            else:
                detail = f"expected value {thousand[row]:.6g} for 1,000 impressions"
                out[row] = LossReason(OUTSCORED if entered[row] else BELOW_FLOOR, detail)
        return out

    def _chances(self, rows: NDArray[np.int64], seen: float, scores: Numbers, world: int) -> tuple[Numbers, Numbers]:
        """Probability of each choice over all worlds, and in the one that was picked."""
        present = self.worlds.present[:, rows]
        if not len(rows):
            return scores, scores
        if self.policy.greedy:
            mean = greedy_chances(scores, self.campaign[rows], self.participation)
            return mean, action_probabilities(scores[None, :], present[world : world + 1], self.policy)[0]
        drawn = scores[None, :]
        if self.worlds.probability is not None:
            drawn = self.worth.drawn(self.worlds.probability, seen)[:, rows] * self.weight[rows]
        every = action_probabilities(drawn, present, self.policy)
        return every.mean(axis=0), every[world]

    def _price(self, winner: int, needed: float) -> float:
        """Price of a billed unit in whole millionths, rounded down, so never above the bid; an own ad's price is its cost."""
        if not self.worth.paid:
            return float(self.worth.cost[winner])
        bid = float(self.candidates.bid[winner])
        # The quotient may fall short of a round price by a few units in its last place.
        price = math.floor(needed * MICRO * (1 + 1e-12)) / MICRO
        return price if math.isnan(bid) else min(price, bid)
