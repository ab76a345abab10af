"""Candidates and decisions in few words, for the tests of ad decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from personalization.ads import (
    Candidates,
    Decision,
    Limits,
    PredictedRates,
    Slot,
    Valuation,
    decide,
    generator,
    ineligible,
    value_of_own,
    value_of_paid,
)

NOON = 1_790_000_000_000


def candidates_of(*rows: Mapping[str, Any]) -> Candidates:
    """Ads a0, a1, … each of a campaign of its own (c0, c1, …) where a row does not say otherwise."""
    return Candidates.from_rows([{"ad_id": f"a{n}", "campaign_id": f"c{n}"} | dict(row) for n, row in enumerate(rows)])


def worth_of(
    candidates: Candidates,
    click: float | Sequence[float] = 0.1,
    conversion: float | Sequence[float] = 0.5,
    *,
    own: bool = False,
) -> Valuation:
    shape = len(candidates)
    given = (np.broadcast_to(np.asarray(chance, dtype=float), shape) for chance in (click, conversion))
    chances = PredictedRates.of(*given)
    return value_of_own(candidates, chances) if own else value_of_paid(candidates, chances)


def decided(
    candidates: Candidates,
    worth: Valuation,
    slots: Sequence[Slot] = (Slot("s"),),
    decision_id: str = "d",
    limits: Limits | None = None,
    **options: Any,
) -> Decision:
    refused = ineligible(candidates, worth, limits or Limits(NOON))
    return decide(candidates, worth, refused, slots, generator(decision_id), **options)


def winners(decision: Decision) -> dict[int, int]:
    """Candidate by slot."""
    return {win.slot: win.candidate for win in decision.wins}


def reasons(decision: Decision) -> dict[int, str]:
    """Reason by candidate."""
    return {row: refusal.reason for row, refusal in decision.losses.items()}
