"""Candidates and decisions in few words, for the tests of ad decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from personalization.ads.auction import AuctionRequest, AuctionResult, run_auction
from personalization.ads.budgets.accounts import Charge, Refused, Repeated
from personalization.ads.candidates import Candidates
from personalization.ads.delivery import charges_of, commit, load_delivery
from personalization.ads.eligibility import Limits, find_blocked
from personalization.ads.pacing import Pace
from personalization.ads.predict import PredictedRates
from personalization.ads.valuation import Slot, Valuation, valuate

NOON = 1_790_000_000_000


def candidates_of(*rows: Mapping[str, Any]) -> Candidates:
    """Ads a0, a1, … each of a campaign of its own (c0, c1, …) where a row states no other."""
    return Candidates.from_rows([{"ad_id": f"a{n}", "campaign_id": f"c{n}"} | dict(row) for n, row in enumerate(rows)])


def valuation_of(
    candidates: Candidates,
    click: float | Sequence[float] = 0.1,
    conversion_given_click: float | Sequence[float] = 0.5,
    *,
    own: bool = False,
) -> Valuation:
    clicks, conversions = (
        np.broadcast_to(np.asarray(rate, dtype=float), len(candidates)) for rate in (click, conversion_given_click)
    )
    return valuate("own" if own else "paid", candidates, PredictedRates(clicks, clicks * conversions))


def auction_of(
    candidates: Candidates,
    valuation: Valuation,
    slots: Sequence[Slot] = (Slot("s"),),
    decision_id: str = "d",
    limits: Limits | None = None,
    paces: Mapping[str, Pace] | None = None,
    **options: Any,
) -> AuctionResult:
    """The result of an auction whose campaigns have no budgets."""
    request = AuctionRequest(decision_id, candidates, valuation, slots, limits or Limits(NOON), **options)
    return run_auction(request, find_blocked(candidates, valuation, request.limits), paces)


def decide(
    request: AuctionRequest, budgets: Any, response: Mapping[str, Any] | None = None
) -> tuple[AuctionResult, dict[int, Charge], int] | Repeated:
    """Run the auction until it is committed: the result, its charges, and how often the commit was refused."""
    delivery = load_delivery(request, budgets)
    while True:
        blocked = find_blocked(request.candidates, request.valuation, delivery.limits)
        result = run_auction(request, blocked, delivery.paces)
        charges = charges_of(request, delivery, result)
        outcome = commit(request, delivery, result, charges, budgets, response or {})
        if isinstance(outcome, Repeated):
            return outcome
        if not isinstance(outcome, Refused):
            return result, charges, delivery.attempt
        delivery = delivery.after(outcome)


def winners(result: AuctionResult) -> dict[int, int]:
    """Candidate by slot."""
    return {win.slot: win.candidate for win in result.wins}


def reasons(result: AuctionResult) -> dict[int, str]:
    """Reason by candidate."""
    return {row: loss.reason for row, loss in result.losses.items()}
