"""What became of ads: the clicks and orders among a shop's events that say which impression they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from personalization.ads.budgets.accounts import Settlement
from personalization.ads.budgets.exposure_store import ExposureStore, Happened
from personalization.ads.budgets.store import Budgets
from personalization.ads.terms import CPA, CPC, Billing
from personalization.core.parallel import map_parallel
from personalization.core.schema import EVENT_CODE, PURCHASE, VIEW

_WORKERS: Final = 16
SEPARATOR: Final = "#"  # between a decision's id and an ad's, in the `impression_id` of an answer
_MEANS: Final[dict[int, tuple[Billing, Happened]]] = {
    EVENT_CODE[VIEW]: (CPC, "clicked"),
    EVENT_CODE[PURCHASE]: (CPA, "converted"),
}


@dataclass(frozen=True, slots=True)
class AdOutcome:
    """A click or a conversion: of which event, decision and ad, and how it is billed."""

    event: int
    decision_id: str
    ad_id: str
    billing: Billing
    happened: Happened


def ad_outcomes(impression_ids: Sequence[str | None], event_types: Sequence[int]) -> list[AdOutcome]:
    """The outcomes among events, from their `decision_id` cells and codes of their types.

    A cell is the `impression_id` of an answer's winner, the decision's id and the ad's. Several lines of one order are one
    conversion; events that say nothing of an ad are passed over.
    """
    found: dict[tuple[str, str, Billing], AdOutcome] = {}
    for event, (cell, code) in enumerate(zip(impression_ids, event_types, strict=True)):
        decision_id, separator, ad_id = (cell or "").partition(SEPARATOR)
        if code in _MEANS and separator and decision_id and ad_id:
            billing, happened = _MEANS[code]
            found.setdefault((decision_id, ad_id, billing), AdOutcome(event, decision_id, ad_id, billing, happened))
    return list(found.values())


def settle(
    told: Sequence[AdOutcome], partitions: Sequence[str], now_ms: int, budgets: Budgets, exposures: ExposureStore | None = None
) -> list[Settlement]:
    """Charge each outcome to its campaign, and remember it of its user; each once, however often it is told.
    In no particular order.

    partitions   key of the user's or session's state of each event, as `Outcome.event` counts them

    An impression of a campaign without a budget is not recorded: its outcomes are ``unknown`` here, and may be remembered
    twice where they are told twice. Raises `StateUnavailable`; what was settled before that stays settled.
    """

    def one(outcome: AdOutcome) -> Settlement:
        settlement = budgets.settle(outcome.decision_id, outcome.ad_id, outcome.billing)
        if exposures is not None and not settlement.repeated:
            exposures.happened(partitions[outcome.event], outcome.ad_id, outcome.happened, now_ms)
        return settlement

    return list(map_parallel(one, told, _WORKERS))
