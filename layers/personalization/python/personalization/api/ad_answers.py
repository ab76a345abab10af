"""From a request to a decision and back: which ad in which slot, at what price, and why not the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from personalization import cells
from personalization.advertising import Candidates, Chances, Limits, PositionModel, Traffic, own_worth, paid_worth, seed_of
from personalization.advertising.catalogue import AdCatalogueStore
from personalization.advertising.describing import Ads, describe
from personalization.advertising.engine import Answer as Decided
from personalization.advertising.engine import Question, answer
from personalization.advertising.names import BILLINGS
from personalization.advertising.scoring import UNTREATED, chances_of, tasks_of, told
from personalization.api.ad_requests import ScoreRequest
from personalization.api.ad_viewers import Known, know
from personalization.api.problems import pointer
from personalization.api.rows import as_sent, canonical_columns
from personalization.budgets import Budgets, Repeated, to_money
from personalization.budgets.exposures import Exposures
from personalization.bundle import Bundle
from personalization.encoder import BadCell
from personalization.errors import Conflict, Fault, InvalidInput, StateUnavailable, TooLarge
from personalization.schema import MAX_CANDIDATES_PER_CALL
from personalization.state import StateStore

IMPRESSION: Final = "#"  # between a decision's id and an ad's: what a click or an order brings back as its decision_id
_REPEATED: Final = "this decision stands already: nothing was counted again"


@dataclass(frozen=True)
class House:
    """What decisions stand on besides the model. Each may be missing: then it is as if nothing were stored there."""

    users: StateStore | None = None
    budgets: Budgets | None = None
    exposures: Exposures | None = None
    catalogue: AdCatalogueStore | None = None


@dataclass(frozen=True)
class Scored:
    """An answer's own part of the body, why it is less than it should be, and what the caller may want to know."""

    content: dict[str, Any]
    because: str = ""
    warnings: tuple[str, ...] = ()


def score(
    request: ScoreRequest, bundle: Bundle, decision_id: str, now_ms: int, house: House, *, repeatable: bool = False
) -> Scored:
    """Decide, count, tell. Raises `InvalidInput` with pointers.

    repeatable   the caller chose the id, and may have sent it before: then that decision stands, whatever has changed since
    """
    stands = _recorded(decision_id, house) if repeatable and not request.preview else None
    if stands is not None:
        return Scored(_repeated(stands), warnings=(_REPEATED,))
    sent, failure = _ads_of(request, house)
    candidates, ads = _understood(sent, bundle)
    known = know(request, bundle, candidates.ad_id, now_ms, house.users, house.exposures)
    chances, bad = _chances(bundle, known, ads, len(candidates), request)
    worth = own_worth(candidates, chances) if request.objective == "own" else paid_worth(candidates, chances)
    question = Question(
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
    telling = _Telling(request, bundle, question, chances)
    because = [part for part in (failure, known.because) if part]
    try:
        made = answer(question, house.budgets, lambda one: orjson.dumps(telling.content(one)))
    except StateUnavailable as error:
        because.append(f"nothing that is counted takes part: {error.detail}")
        made = answer(question, None)
    if isinstance(made, Repeated):
        return Scored(
            orjson.loads(made.answer), "; ".join(because), ("this decision stands already: nothing was counted again",)
        )
    _count(request, made, question, house, now_ms)
    return Scored(telling.content(made), "; ".join(because), tuple(_warnings(sent, bad, telling)))


def _ads_of(request: ScoreRequest, house: House) -> tuple[Sequence[Mapping[str, Any]], str]:
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
    return found, f"ads as they were: {failure}" if failure else ""


def _understood(sent: Sequence[Mapping[str, Any]], bundle: Bundle) -> tuple[Candidates, Ads]:
    """The ads as they compete, and as the model sees them. Raises `InvalidInput` with the names that were sent."""
    columns = canonical_columns(sent)
    rows = [{name: content[n] for name, content in columns.items()} for n in range(len(sent))]
    try:
        candidates = Candidates.from_rows(rows, bundle.encoder.zone)
    except InvalidInput as error:
        raise InvalidInput(error.detail, [_placed(fault, sent) for fault in error.faults]) from None
    return candidates, Ads.from_table(columns, len(sent), bundle.manifest.get("lists"), bundle.encoder.zone)


def _placed(fault: Fault, sent: Sequence[Mapping[str, Any]]) -> Fault:
    _, _, row, column = fault.pointer.split("/", 3)
    return Fault(pointer("candidates", int(row), as_sent(sent[int(row)], column)), fault.detail)


def _chances(bundle: Bundle, known: Known, ads: Ads, rows: int, request: ScoreRequest) -> tuple[Chances, list[BadCell]]:
    columns = describe(
        known.views,
        ads,
        np.zeros(rows, np.int64),
        np.arange(rows),
        known.exposure,
        bundle.encoder.zone,
        [_placement(request)] * rows,
        [request.channel] * rows,
    )
    return chances_of(bundle, columns, rows)


def _placement(request: ScoreRequest) -> str | None:
    """The placement of the slots, where they share one."""
    placements = {slot.placement for slot in request.slots}
    return placements.pop() if len(placements) == 1 else None


def _count(request: ScoreRequest, made: Decided, question: Question, house: House, now_ms: int) -> None:
    """The viewer has seen these ads. The answer does not depend on it: where it cannot be counted, it is not."""
    if request.preview or question.partition is None or house.exposures is None:
        return
    try:
        house.exposures.seen(
            question.partition, [question.candidates.ad_id[win.candidate] for win in made.decision.wins], now_ms
        )
    except StateUnavailable:
        return


def _recorded(decision_id: str, house: House) -> Repeated | None:
    try:
        return house.budgets.recorded(decision_id) if house.budgets else None
    except StateUnavailable:
        return None  # then nothing can be counted either, and so not twice


def _repeated(made: Repeated) -> dict[str, Any]:
    if not made.answer:
        raise Conflict("a decision with this id was made without an answer to repeat; use another id")
    content: dict[str, Any] = orjson.loads(made.answer)
    return content


@dataclass(frozen=True)
class _Telling:
    """How a decision is told."""

    request: ScoreRequest
    bundle: Bundle
    question: Question
    chances: Chances

    def content(self, made: Decided) -> dict[str, Any]:
        question, decision = self.question, made.decision
        policy = question.exploration
        winners = {win.slot: win for win in decision.wins}
        slots = []
        for index, slot in enumerate(question.slots):
            told_: dict[str, Any] = {"slot_id": slot.slot_id, "winner": None}
            if index in winners:
                told_["winner"] = self._winner(winners[index], made)
            if self.request.explain:
                chances = decision.chances.get(index, np.zeros(0))
                told_["propensities"] = {
                    question.candidates.ad_id[row]: round(float(chances[row]), 9) for row in np.flatnonzero(chances)
                }
            slots.append(told_)
        basis = None
        if self.request.objective == "own":
            basis = "uplift" if UNTREATED in tasks_of(self.bundle) else "response"
        return {
            "decision_id": question.decision_id,
            "objective": self.request.objective,
            **({"basis": basis} if basis else {}),
            "exploration": {
                "mode": policy.mode,
                "epsilon": policy.epsilon,
                "draws": decision.draws,
                "seed": f"{seed_of(question.decision_id):016x}",
            },
            "positions": "known" if question.positions.known else "unknown",
            "slots": slots,
            "losers": [self._loser(row, refusal) for row, refusal in sorted(decision.losses.items())],
        }

    def _winner(self, win: Any, made: Decided) -> dict[str, Any]:
        candidates, row = self.question.candidates, win.candidate
        paid = self.question.worth.paid
        charge = made.charges.get(row)
        return {
            "ad_id": candidates.ad_id[row],
            "campaign_id": candidates.campaigns[candidates.campaign[row]],
            "impression_id": f"{self.question.decision_id}{IMPRESSION}{candidates.ad_id[row]}",
            **self._chances(row),
            "seen": round(win.seen, 6),
            "expected_value": round(win.expected_value, 9),
            "price": win.price,
            "billing": BILLINGS[int(candidates.billing[row])] if paid else None,
            **({"reserved": round(to_money(charge.expected), 9)} if charge else {}),
            "propensity": round(win.propensity, 9),
            "explored": win.explored,
        }

    def _loser(self, row: int, refusal: Any) -> dict[str, Any]:
        candidates = self.question.candidates
        value = float(self.question.worth.expected(1.0)[row])
        worth = {"expected_value": round(value, 9)} if np.isfinite(value) else {}
        return {
            "ad_id": candidates.ad_id[row], "reason": refusal.reason, "detail": refusal.detail, **self._chances(row), **worth
        }  # fmt: skip

    def _chances(self, row: int) -> dict[str, float]:
        return {name: round(float(values[row]), 7) for name, values in told(self.chances).items() if np.isfinite(values[row])}


def _warnings(sent: Sequence[Mapping[str, Any]], bad: Sequence[BadCell], telling: _Telling) -> list[str]:
    out = [f"{len(bad)} cells of the ads are not what the model knows there: they count as missing"] if bad else []
    if telling.request.objective == "own" and UNTREATED not in tasks_of(telling.bundle):
        out.append("the model knows no impressions that were held back: ads are ranked by response, not by what they change")
    if len({slot.placement for slot in telling.request.slots}) > 1:
        out.append("the slots have several placements: what a placement changes is left out of the chances")
    if not telling.question.positions.known and any(slot.position for slot in telling.request.slots):
        out.append("the model was trained without positions: every slot counts as seen")
    return out
