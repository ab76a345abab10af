"""Ad decisions: from a request to a stored decision and its response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from personalization.ads.auction import AuctionRequest, run_auction
from personalization.ads.budgets.accounts import Committed, Repeated
from personalization.ads.budgets.store import Budgets
from personalization.ads.candidates import Candidates
from personalization.ads.delivery import charges_of, commit, load_delivery
from personalization.ads.eligibility import Limits, find_blocked
from personalization.ads.features import AdFeatures, feature_columns
from personalization.ads.pacing import Traffic
from personalization.ads.predict import PredictedRates, predict_rates, predicts_effect
from personalization.ads.valuation import PositionModel, is_unpriced, valuate
from personalization.api.ads.responses import to_response
from personalization.api.ads.schemas import ScoreRequest
from personalization.api.ads.stores import AdStores
from personalization.api.ads.user_context import load_user_context
from personalization.api.json_rows import Columns, canonical_columns, cell_pointer
from personalization.bundles.bundle import Bundle
from personalization.core import cells
from personalization.core.errors import Conflict, Fault, InvalidInput, StateUnavailable, TooLarge
from personalization.core.schema import MAX_CANDIDATES_PER_CALL

Rows = Sequence[Mapping[str, Any]]

_REPEATED: Final = "a decision with this id was made before: nothing was counted again"


@dataclass(frozen=True)
class ScoredAds:
    """The part of a response that the ad routes write themselves."""

    content: dict[str, Any]
    degraded_reason: str = ""
    warnings: tuple[str, ...] = ()


def score(
    request: ScoreRequest, bundle: Bundle, decision_id: str, now_ms: int, stores: AdStores, *, repeatable: bool = False
) -> ScoredAds:
    """Decide which ad wins which slot, and count it.

    decision_id   key of the decision's record and seed of its randomness
    repeatable    the caller chose the id and may repeat the call: a decision that is stored under it is returned unchanged

    Raises `InvalidInput` with pointers into the request, `TooLarge` where the catalog has too many ads, and `Conflict` for a
    repeated decision that was stored without a response.
    """
    if repeatable and not request.preview and (recorded := _recorded(decision_id, stores.budgets)):
        return ScoredAds(_stored_response(recorded), warnings=(_REPEATED,))
    rows, degraded = _ad_rows(request, stores)
    candidates, ads = _parse_ads(rows, bundle)
    user = load_user_context(request, bundle, candidates.ad_id, now_ms, stores)
    columns = feature_columns(
        user.context, ads, np.zeros(len(rows), np.int64), np.arange(len(rows)), user.exposure, bundle.encoder.zone,
        [_placement(request)] * len(rows), [request.channel] * len(rows),
    )  # fmt: skip
    rates, bad_cells = predict_rates(bundle, columns, len(rows))
    auction = AuctionRequest(
        decision_id,
        candidates,
        valuate(request.objective, candidates, rates),
        [slot.slot() for slot in request.slots],
        Limits(now_ms, request.channel, request.exclude),
        positions=PositionModel.from_manifest(bundle.manifest),
        exploration=request.exploration.policy(),
        pricing=request.auction,
        control=None if request.pacing == "off" else request.pacing,
        traffic=Traffic(bundle.manifest.get("traffic") or ()),
        partition=user.partition,
        conversion_days=float(bundle.manifest.get("attribution_window_days", 7.0)),
        zone=bundle.encoder.zone,
        preview=request.preview,
    )
    degraded += [user.degraded_reason] if user.degraded_reason else []
    try:
        content, shown = _decide(request, bundle, auction, rates, columns, stores.budgets)
    except StateUnavailable as error:
        degraded.append(f"ads with a budget or a frequency cap take no part: {error.detail}")
        content, shown = _decide(request, bundle, auction, rates, columns, None)
    if shown is None:
        return ScoredAds(content, "; ".join(degraded), (_REPEATED,))
    if not request.preview:
        _count_exposures(stores, user.partition, shown, now_ms)
    return ScoredAds(content, "; ".join(degraded), tuple(_warnings(request, bundle, auction, len(bad_cells))))


def without_model(request: ScoreRequest, decision_id: str) -> dict[str, Any]:
    """The content of a response while there is no model: every slot stays empty."""
    slots = [{"slot_id": slot.slot_id, "winner": None} for slot in request.slots]
    return {"decision_id": decision_id, "objective": request.objective, "slots": slots, "losers": [], "scores": []}


def _decide(
    request: ScoreRequest,
    bundle: Bundle,
    auction: AuctionRequest,
    rates: PredictedRates,
    columns: Mapping[str, Any],
    budgets: Budgets | None,
) -> tuple[dict[str, Any], list[str] | None]:
    """Run the auction until its result is committed: the response, and the ads shown (`None` for a repeated decision)."""
    delivery = load_delivery(auction, budgets)
    while True:
        blocked = find_blocked(auction.candidates, auction.valuation, delivery.limits)
        result = run_auction(auction, blocked, delivery.paces)
        charges = charges_of(auction, delivery, result)
        content = to_response(request, bundle, auction, rates, columns, result, charges)
        outcome = commit(auction, delivery, result, charges, budgets, content)
        if isinstance(outcome, Repeated):
            return _stored_response(outcome), None
        if isinstance(outcome, Committed):
            return content, [auction.candidates.ad_id[win.candidate] for win in result.wins]
        delivery = delivery.after(outcome)


def _ad_rows(request: ScoreRequest, stores: AdStores) -> tuple[Rows, list[str]]:
    """Rows of the ads that compete, and why they may be outdated."""
    if request.candidates is not None:
        return request.candidates, []
    catalog = stores.catalog.get() if stores.catalog else None
    failure = stores.catalog.failure if stores.catalog else ""
    if catalog is None:
        raise InvalidInput("expected candidates, because no file of ads has been dropped", [Fault("/candidates", "missing")])
    campaigns = None if request.campaigns is None else set(request.campaigns)
    rows = [ad for ad in catalog.ads if campaigns is None or cells.word(ad.get("campaign_id")) in campaigns]
    if len(rows) > MAX_CANDIDATES_PER_CALL:
        raise TooLarge(f"expected at most {MAX_CANDIDATES_PER_CALL} ads, received {len(rows)} of the catalog: select campaigns")
    return rows, [f"the ad catalog could not be refreshed: {failure}"] if failure else []


def _parse_ads(rows: Rows, bundle: Bundle) -> tuple[Candidates, AdFeatures]:
    """The ads as candidates of the auction, and as the model sees them. Raises `InvalidInput` with the column names as sent."""
    columns = canonical_columns(rows)
    columns["campaign_id"] = _campaign_ids(columns, len(rows))
    try:
        candidates = Candidates.from_columns(columns, len(rows), bundle.encoder.zone)
    except InvalidInput as error:
        raise InvalidInput(error.detail, [_fault_as_sent(fault, rows) for fault in error.faults]) from None
    return candidates, AdFeatures.from_table(columns, len(rows), bundle.manifest.get("lists"), bundle.encoder.zone)


def _campaign_ids(columns: Columns, rows: int) -> list[Any]:
    """An ad without a campaign and a budget is a campaign of its own. A budget needs a stated campaign."""
    ad_ids, campaigns, budgets = (columns.get(name, [None] * rows) for name in ("ad_id", "campaign_id", "budget"))
    return [
        (cells.word(ad_id) or "unnamed") if cells.is_missing(campaign) and cells.is_missing(budget) else campaign
        for ad_id, campaign, budget in zip(ad_ids, campaigns, budgets, strict=True)
    ]


def _fault_as_sent(fault: Fault, rows: Rows) -> Fault:
    _, _, row, column = fault.pointer.split("/", 3)
    return Fault(cell_pointer(("candidates", int(row)), rows[int(row)], column), fault.detail)


def _placement(request: ScoreRequest) -> str | None:
    """The placement that all slots share; the rates are predicted once, not by slot."""
    placements = {slot.placement for slot in request.slots}
    return placements.pop() if len(placements) == 1 else None


def _count_exposures(stores: AdStores, partition: str | None, ads: Sequence[str], now_ms: int) -> None:
    """Count the impressions for the model's features. The decision is valid without them."""
    if partition is None or stores.exposures is None:
        return
    try:
        stores.exposures.count_impressions(partition, ads, now_ms)
    except StateUnavailable:
        return


def _recorded(decision_id: str, budgets: Budgets | None) -> Repeated | None:
    try:
        return budgets.recorded(decision_id) if budgets else None
    except StateUnavailable:
        return None  # nothing can be counted then, and so nothing twice


def _stored_response(repeated: Repeated) -> dict[str, Any]:
    if not repeated.response:
        raise Conflict("a decision with this id is stored without a response; use another id")
    return dict(repeated.response)


def _warnings(request: ScoreRequest, bundle: Bundle, auction: AuctionRequest, bad_cells: int) -> list[str]:
    warnings = []
    if bad_cells:
        warnings.append(f"{bad_cells} cells of the ads are not valid for the model's columns and count as missing")
    if request.objective == "own" and not predicts_effect(bundle):
        warnings.append("the model has no impressions held back for comparison: ads are ranked by response, not by effect")
    if request.explain and bundle.background is None:
        warnings.append("explain: the model has no background rows to explain it against")
    if request.objective == "paid" and is_unpriced(auction.candidates):
        warnings.append("no ad states a bid or a value: ads are ranked by their predicted rate, and cost nothing")
    if len({slot.placement for slot in request.slots}) > 1:
        warnings.append("the slots have several placements: the rates are predicted without a placement")
    if not auction.positions.table and any(slot.position for slot in request.slots):
        warnings.append("the model was trained without positions: every slot counts as seen")
    return warnings
