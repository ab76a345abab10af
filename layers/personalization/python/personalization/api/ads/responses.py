"""How a decision is told: slots with their winners, and losers with their reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np

from personalization.ads import PredictedRates, Win, seed_of, unpriced
from personalization.ads.budgets import to_money
from personalization.ads.budgets.settlement import SEPARATOR
from personalization.ads.decision import AuctionRequest, AuctionResult
from personalization.ads.eligibility import LossReason
from personalization.ads.predict import UNTREATED, tasks_of, told
from personalization.ads.terms import BILLINGS
from personalization.api.ads.explain import explained
from personalization.api.ads.schemas import ScoreRequest
from personalization.bundles.bundle import Bundle


@dataclass(frozen=True)
class Telling:
    """How a decision is told."""

    request: ScoreRequest
    bundle: Bundle
    question: AuctionRequest
    chances: PredictedRates
    columns: Mapping[str, Any]

    def content(self, made: AuctionResult) -> dict[str, Any]:
        question, decision = self.question, made.decision
        policy = question.exploration
        winners = {win.slot: win for win in decision.wins}
        explanations: dict[int, dict[str, Any]] = {}
        if self.request.explain:
            explanations = explained(self.bundle, self.columns, [win.candidate for win in decision.wins])
        slots = []
        for index, slot in enumerate(question.slots):
            told_: dict[str, Any] = {"slot_id": slot.slot_id, "winner": None}
            if index in winners:
                told_["winner"] = self._winner(winners[index], made)
                if winners[index].candidate in explanations:
                    told_["winner"]["explanation"] = explanations[winners[index].candidate]
            if self.request.explain:
                chances = decision.chances.get(index, np.zeros(0))
                told_["propensities"] = {
                    question.candidates.ad_id[row]: round(float(chances[row]), 9) for row in np.flatnonzero(chances)
                }
            slots.append(told_)
        return {
            "decision_id": question.decision_id,
            "objective": self.request.objective,
            "basis": self._basis(),
            "exploration": {
                "mode": policy.mode,
                "epsilon": policy.epsilon,
                "draws": decision.draws,
                "seed": f"{seed_of(question.decision_id):016x}",
            },
            "positions": "known" if question.positions.known else "unknown",
            "slots": slots,
            "losers": self._losers(decision.losses),
            "scores": self._scores(),
        }

    def _basis(self) -> str:
        """By what ads are ranked."""
        if self.request.objective == "own":
            return "uplift" if UNTREATED in tasks_of(self.bundle) else "response"
        return "chance" if unpriced(self.question.candidates) else "money"

    def _scores(self) -> list[dict[str, Any]]:
        """All candidates in their order, each with the first chance that the model knows."""
        first = next(iter(self._told.values()))
        return [{"ad_id": ad_id, "probability": p} for ad_id, p in zip(self.question.candidates.ad_id, first, strict=True)]

    def _winner(self, win: Win, made: AuctionResult) -> dict[str, Any]:
        candidates, row = self.question.candidates, win.candidate
        paid = self.question.worth.paid
        charge = made.charges.get(row)
        return {
            "ad_id": candidates.ad_id[row],
            "campaign_id": candidates.campaigns[candidates.campaign[row]],
            "impression_id": f"{self.question.decision_id}{SEPARATOR}{candidates.ad_id[row]}",
            **self._chances(row),
            "seen": round(win.seen, 6),
            "expected_value": round(win.expected_value, 9),
            "price": win.price,
            "billing": BILLINGS[int(candidates.billing[row])] if paid else None,
            **({"reserved": round(to_money(charge.expected), 9)} if charge else {}),
            "propensity": round(win.propensity, 9),
            "explored": win.explored,
        }

    def _losers(self, losses: Mapping[int, LossReason]) -> list[dict[str, Any]]:
        ids = self.question.candidates.ad_id
        values = np.round(self.question.worth.expected(1.0), 9).tolist()
        out = []
        for row in sorted(losses):
            one: dict[str, Any] = {"ad_id": ids[row], "reason": losses[row].reason, "detail": losses[row].detail}
            one |= self._chances(row)
            if isfinite(values[row]):
                one["expected_value"] = values[row]
            out.append(one)
        return out

    def _chances(self, row: int) -> dict[str, float]:
        return {name: values[row] for name, values in self._told.items() if isfinite(values[row])}

    @cached_property
    def _told(self) -> dict[str, list[float]]:
        return {name: np.round(values, 7).tolist() for name, values in told(self.chances).items()}
