"""From a request to a decision and back: which ad in which slot, at what price, and why not the others."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from personalization.ads import Candidates, Limits, PositionModel, Traffic, unpriced, valuate
from personalization.ads.ad_catalog import AdCatalogReader
from personalization.ads.budgets import Budgets, Repeated
from personalization.ads.budgets.counters import CounterTable
from personalization.ads.budgets.exposure_store import ExposureStore
from personalization.ads.decision import AuctionRequest, run_auction
from personalization.ads.decision import AuctionResult as Decided
from personalization.ads.features import Ads, describe
from personalization.ads.predict import UNTREATED, chances_of, tasks_of
from personalization.api.ads.responses import Telling
from personalization.api.ads.schemas import ScoreRequest
from personalization.api.ads.user_context import UserContext, load_user_context
from personalization.api.json_rows import canonical_columns, cell_pointer
from personalization.api.services import Services
from personalization.bundles.bundle import Bundle
from personalization.core import cells
from personalization.core.errors import Conflict, Fault, InvalidInput, RowFault, StateUnavailable, TooLarge
from personalization.core.schema import MAX_CANDIDATES_PER_CALL
from personalization.state import StateStore

_REPEATED: Final = "this decision stands already: nothing was counted again"


@dataclass(frozen=True)
class AdStores:
    """What decisions stand on besides the model. Each may be missing: then it is as if nothing were stored there."""

    users: StateStore | None = None
    budgets: Budgets | None = None
    exposures: ExposureStore | None = None
    catalogue: AdCatalogReader | None = None

    @classmethod
    def of(cls, services: Services) -> AdStores:
        """What a function's dependencies hold; nobody is asked yet."""
        settings, clock = services.settings, services.clock
        catalogue = AdCatalogReader(services.s3, settings.data_bucket, clock=clock)
        if services.dynamodb is None:
            return cls(services.state, catalogue=catalogue)
        table = CounterTable(services.dynamodb, settings.state_table)
        budgets = Budgets(services.dynamodb, settings.state_table, clock=clock)
        return cls(services.state, budgets, ExposureStore(table, settings.state_ttl_days), catalogue)


@dataclass(frozen=True)
class ScoredAds:
    """An answer's own part of the body, why it is less than it should be, and what the caller may want to know."""

    content: dict[str, Any]
    degraded_reason: str = ""
    warnings: tuple[str, ...] = ()


def score(
    request: ScoreRequest, bundle: Bundle, decision_id: str, now_ms: int, house: AdStores, *, repeatable: bool = False
) -> ScoredAds:
    """Decide, count, tell. Raises `InvalidInput` with pointers.

    repeatable   the caller chose the id, and may have sent it before: then that decision stands, whatever has changed since
    """
    stands = _recorded(decision_id, house) if repeatable and not request.preview else None
    if stands is not None:
        return ScoredAds(_repeated(stands), warnings=(_REPEATED,))
    sent, failure = _ads_of(request, house)
    candidates, ads = _understood(sent, bundle)
    known = load_user_context(request, bundle, candidates.ad_id, now_ms, house.users, house.exposures)
    columns = _described(bundle, known, ads, len(candidates), request)
    chances, bad = chances_of(bundle, columns, len(candidates))
    worth = valuate(request.objective, candidates, chances)
    question = AuctionRequest(
        decision_id,
        candidates,
        worth,
        [slot.slot() for slot in request.slots],
        Limits(now_ms, request.channel, request.exclude),
        positions=PositionModel.from_manifest(bundle.manifest),
        exploration=request.exploration.policy(),
        auction=request.auction,
        control=None if request.pacing == "off" else request.pacing,
        traffic=Traffic(bundle.manifest.get("traffic") or ()),
        partition=known.partition,
        conversion_days=float(bundle.manifest.get("attribution_window_days", 7.0)),
        zone=bundle.encoder.zone,
        preview=request.preview,
    )
    telling = Telling(request, bundle, question, chances, columns)
    degraded_reason = [part for part in (failure, known.degraded_reason) if part]
    contents: dict[int, dict[str, Any]] = {}  # by what was decided; a decision that is refused is made anew

    def record(one: Decided) -> bytes:
        contents[id(one.decision)] = telling.content(one)
        return _packed(contents[id(one.decision)])

    try:
        made = run_auction(question, house.budgets, record)
    except StateUnavailable as error:
        degraded_reason.append(f"nothing that is counted takes part: {error.detail}")
        made = run_auction(question, None)
    if isinstance(made, Repeated):
        return ScoredAds(_repeated(made), "; ".join(degraded_reason), (_REPEATED,))
    _count(request, made, question, house, now_ms)
    content = contents.get(id(made.decision)) or telling.content(made)
    return ScoredAds(content, "; ".join(degraded_reason), tuple(_warnings(sent, bad, telling)))


def without_model(request: ScoreRequest, decision_id: str) -> dict[str, Any]:
    """The content of an answer that nothing can be said in."""
    slots = [{"slot_id": slot.slot_id, "winner": None} for slot in request.slots]
    return {"decision_id": decision_id, "objective": request.objective, "slots": slots, "losers": [], "scores": []}


def _ads_of(request: ScoreRequest, house: AdStores) -> tuple[Sequence[Mapping[str, Any]], str]:
    """Rows of the ads that compete, and why they are not what they should be."""
    if request.candidates is not None:
        return request.candidates, ""
    catalogue = house.catalogue.get() if house.catalogue else None
    failure = house.catalogue.failure if house.catalogue else ""
    if catalogue is None:
        raise InvalidInput("expected candidates: no file of ads was dropped yet", [Fault("/candidates", "missing")])
    wanted = None if request.campaigns is None else set(request.campaigns)
    found = [ad for ad in catalogue.ads if wanted is None or cells.word(ad.get("campaign_id")) in wanted]
    if len(found) > MAX_CANDIDATES_PER_CALL:
        raise TooLarge(f"expected at most {MAX_CANDIDATES_PER_CALL} ads, the catalogue has {len(found)}: name campaigns")
    return found, f"the ad catalog could not be refreshed: {failure}" if failure else ""


def _understood(sent: Sequence[Mapping[str, Any]], bundle: Bundle) -> tuple[Candidates, Ads]:
    """The ads as they compete, and as the model sees them. Raises `InvalidInput` with the names that were sent."""
    columns = canonical_columns(sent)
    columns["campaign_id"] = _campaigns(columns, len(sent))
    try:
        candidates = Candidates.from_columns(columns, len(sent), bundle.encoder.zone)
    except InvalidInput as error:
        raise InvalidInput(error.detail, [_placed(fault, sent) for fault in error.faults]) from None
    return candidates, Ads.from_table(columns, len(sent), bundle.manifest.get("lists"), bundle.encoder.zone)


def _campaigns(columns: Mapping[str, Sequence[Any]], rows: int) -> list[Any]:
    """An ad that states no campaign is one of its own; but a budget must say whose it is."""
    ads, campaigns, budgets = (columns.get(name, [None] * rows) for name in ("ad_id", "campaign_id", "budget"))
    return [
        (cells.word(ad_id) or "nameless") if cells.is_missing(campaign) and cells.is_missing(budget) else campaign
        for ad_id, campaign, budget in zip(ads, campaigns, budgets, strict=True)
    ]


def _placed(fault: Fault, sent: Sequence[Mapping[str, Any]]) -> Fault:
    _, _, row, column = fault.pointer.split("/", 3)
    return Fault(cell_pointer(("candidates", int(row)), sent[int(row)], column), fault.detail)


def _described(bundle: Bundle, known: UserContext, ads: Ads, rows: int, request: ScoreRequest) -> dict[str, Any]:
    viewer, every, zone = np.zeros(rows, np.int64), np.arange(rows), bundle.encoder.zone
    place = [_placement(request)] * rows, [request.channel] * rows
    return describe(known.views, ads, viewer, every, known.exposure, zone, *place)


def _placement(request: ScoreRequest) -> str | None:
    """The placement of the slots, where they share one."""
    placements = {slot.placement for slot in request.slots}
    return placements.pop() if len(placements) == 1 else None


def _count(request: ScoreRequest, made: Decided, question: AuctionRequest, house: AdStores, now_ms: int) -> None:
    """The viewer has seen these ads. The answer does not depend on it: where it cannot be counted, it is not."""
    if request.preview or question.partition is None or house.exposures is None:
        return
    try:
        house.exposures.seen(
            question.partition, [question.candidates.ad_id[win.candidate] for win in made.decision.wins], now_ms
        )
    except StateUnavailable:
        return


def _recorded(decision_id: str, house: AdStores) -> Repeated | None:
    try:
        return house.budgets.recorded(decision_id) if house.budgets else None
    except StateUnavailable:
        return None  # then nothing can be counted either, and so not twice


def _repeated(made: Repeated) -> dict[str, Any]:
    if not made.answer:
        raise Conflict("a decision with this id was made without an answer to repeat; use another id")
    content: dict[str, Any] = orjson.loads(zlib.decompress(made.answer))
    return content


def _packed(content: Mapping[str, Any]) -> bytes:
    """An answer as it is kept: 500 losers are repetitive, an item is billed by size and holds 400 KB at most."""
    return zlib.compress(orjson.dumps(content), 1)


def _warnings(sent: Sequence[Mapping[str, Any]], bad: Sequence[RowFault], telling: Telling) -> list[str]:
    out = [f"{len(bad)} cells of the ads are not what the model knows there: they count as missing"] if bad else []
    if telling.request.objective == "own" and UNTREATED not in tasks_of(telling.bundle):
        out.append("the model knows no impressions that were held back: ads are ranked by response, not by what they change")
    if telling.request.explain and telling.bundle.background is None:
        out.append("explain: the model was written without the rows that it would be explained against")
    if telling.request.objective == "paid" and unpriced(telling.question.candidates):
        out.append("no ad states a bid or a value: they are ranked by their chance, and cost nothing")
    if len({slot.placement for slot in telling.request.slots}) > 1:
        out.append("the slots have several placements: what a placement changes is left out of the chances")
    if not telling.question.positions.known and any(slot.position for slot in telling.request.slots):
        out.append("the model was trained without positions: every slot counts as seen")
    return out
