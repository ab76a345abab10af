"""The response of an ad decision: slots with their winners, losers with their reasons, and the explanations of winners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Final

import numpy as np

from personalization import features
from personalization.ads.auction import AuctionRequest, AuctionResult, Win
from personalization.ads.budgets.accounts import Charge, to_money
from personalization.ads.budgets.settlement import impression_id
from personalization.ads.candidates import BILLINGS
from personalization.ads.exploration import seed_of
from personalization.ads.features import CONTEXT_FEATURES, USER_AD_CROSS_FEATURES
from personalization.ads.predict import PredictedRates, predicts_effect, tasks_of
from personalization.ads.valuation import Objective, is_unpriced
from personalization.api.ads.schemas import ScoreRequest
from personalization.bundles.bundle import Bundle
from personalization.tabular.explain import Explainer

EXPLANATION_SECONDS: Final = 0.25  # for one ad
_READABLE_NAMES: Final = {
    **features.FEATURES, **features.TEXT_FEATURES, **CONTEXT_FEATURES, **USER_AD_CROSS_FEATURES
}  # fmt: skip

Rates = Mapping[str, Sequence[float]]


def to_response(
    request: ScoreRequest,
    bundle: Bundle,
    auction: AuctionRequest,
    predicted: PredictedRates,
    columns: Mapping[str, Any],
    result: AuctionResult,
    charges: Mapping[int, Charge],
) -> dict[str, Any]:
    """The content of a response.

    columns   feature columns of the N candidates
    charges   by candidate, of winners whose campaign has a budget
    """
    ad_ids, policy = auction.candidates.ad_id, auction.exploration
    rates = {name: np.round(values, 7).tolist() for name, values in predicted.by_name().items()}
    wins = {win.slot: win for win in result.wins}
    explanations = _explain(bundle, columns, [win.candidate for win in result.wins]) if request.explain else {}
    slots = []
    for index, slot in enumerate(auction.slots):
        content: dict[str, Any] = {"slot_id": slot.slot_id, "winner": None}
        if index in wins:
            candidate = wins[index].candidate
            content["winner"] = _winner(auction, wins[index], rates, charges.get(candidate))
            if candidate in explanations:
                content["winner"]["explanation"] = explanations[candidate]
        if request.explain:
            probabilities = result.probabilities.get(index, np.zeros(0))
            content["propensities"] = {
                ad_ids[row]: round(float(probabilities[row]), 9) for row in np.flatnonzero(probabilities)
            }
        slots.append(content)
    primary = next(iter(rates.values()))
    return {
        "decision_id": auction.decision_id,
        "objective": request.objective,
        "basis": ranking_basis(request.objective, bundle, unpriced=is_unpriced(auction.candidates)),
        "exploration": {
            "mode": policy.mode,
            "epsilon": policy.epsilon,
            "draws": result.draws,
            "seed": f"{seed_of(auction.decision_id):016x}",
        },
        "positions": "known" if auction.positions.table else "unknown",
        "slots": slots,
        "losers": _losers(auction, result, rates),
        "scores": [{"ad_id": ad_id, "probability": rate} for ad_id, rate in zip(ad_ids, primary, strict=True)],
    }


def ranking_basis(objective: Objective, bundle: Bundle, *, unpriced: bool = False) -> str:
    """What ads are ranked by: money, predicted_rate, uplift or response."""
    if objective == "own":
        return "uplift" if predicts_effect(bundle) else "response"
    return "predicted_rate" if unpriced else "money"


def _winner(auction: AuctionRequest, win: Win, rates: Rates, charge: Charge | None) -> dict[str, Any]:
    candidates, row = auction.candidates, win.candidate
    return {
        "ad_id": candidates.ad_id[row],
        "campaign_id": candidates.campaign_of(row),
        "impression_id": impression_id(auction.decision_id, candidates.ad_id[row]),
        **_rates_of(rates, row),
        "seen": round(win.p_seen, 6),
        "expected_value": round(win.expected_value, 9),
        "price": win.price,
        "billing": BILLINGS[int(candidates.billing[row])] if auction.valuation.paid else None,
        **({"reserved": round(to_money(charge.expected), 9)} if charge else {}),
        "propensity": round(win.propensity, 9),
        "explored": win.explored,
    }


def _losers(auction: AuctionRequest, result: AuctionResult, rates: Rates) -> list[dict[str, Any]]:
    expected = np.round(auction.valuation.expected(1.0), 9).tolist()
    losers = []
    for row, loss in sorted(result.losses.items()):
        loser: dict[str, Any] = {"ad_id": auction.candidates.ad_id[row], "reason": loss.reason, "detail": loss.detail}
        loser |= _rates_of(rates, row)
        if isfinite(expected[row]):
            loser["expected_value"] = expected[row]
        losers.append(loser)
    return losers


def _rates_of(rates: Rates, row: int) -> dict[str, float]:
    return {name: values[row] for name, values in rates.items() if isfinite(values[row])}


def _explain(bundle: Bundle, columns: Mapping[str, Any], rows: Sequence[int]) -> dict[int, dict[str, Any]]:
    """By row, what each column adds to the logit of the bundle's first task; empty where the bundle has no background rows."""
    if not bundle.background:
        return {}
    task = tasks_of(bundle)[0]
    explainer = Explainer(
        bundle, bundle.background, task, lambda outputs: outputs[task], lambda name: _READABLE_NAMES.get(name, name),
        budget_seconds=EXPLANATION_SECONDS,
    )  # fmt: skip
    chosen = {name: [content[row] for row in rows] for name, content in columns.items()}
    encoded = bundle.encoder.encode(chosen, len(rows)).inputs
    return {row: explainer.explain(encoded, place, chosen) for place, row in enumerate(rows)}
