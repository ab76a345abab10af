"""Settlement of clicks and conversions: which impression an event belongs to, and how it is billed.

The response of a decision gives each winner an `impression_id`. A shop sends it back as `decision_id` of the click or order
that followed. The decision's record holds the charge: its price and reservation, and the shard that holds the money.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from personalization.ads.budgets.accounts import Account, Settlement
from personalization.ads.budgets.store import Budgets, record_key
from personalization.ads.candidates import CPA, CPC, Billing
from personalization.ads.exposure import ExposureStore, Outcome
from personalization.core.parallel import map_parallel
from personalization.core.schema import EVENT_CODE, PURCHASE, VIEW
from personalization.state.dynamodb import Item, Update, Value, number

_WORKERS: Final = 16
_SEPARATOR: Final = "#"
_BILLED_EVENTS: Final[dict[int, tuple[Billing, Outcome]]] = {
    EVENT_CODE[VIEW]: (CPC, "clicked"),
    EVENT_CODE[PURCHASE]: (CPA, "converted"),
}


@dataclass(frozen=True, slots=True)
class AdOutcome:
    """A click or conversion of an impression.

    event      index of the event that reported it
    billing    which charges it settles: cpc for a click, cpa for a conversion
    outcome    which of the user's counts it raises
    """

    event: int
    decision_id: str
    ad_id: str
    billing: Billing
    outcome: Outcome


def impression_id(decision_id: str, ad_id: str) -> str:
    """The id by which a shop reports what followed from an impression."""
    return f"{decision_id}{_SEPARATOR}{ad_id}"


def find_ad_outcomes(impression_ids: Sequence[str | None], event_types: Sequence[int]) -> list[AdOutcome]:
    """Clicks and conversions among N events.

    impression_ids   (N,) cells of `decision_id`; events whose cell is not an impression id are skipped
    event_types      (N,) codes of `EVENT_CODE`

    Several lines of one order are one conversion: the first event of an impression and billing counts.
    """
    outcomes: dict[tuple[str, str, Billing], AdOutcome] = {}
    for event, (cell, code) in enumerate(zip(impression_ids, event_types, strict=True)):
        decision_id, separator, ad_id = (cell or "").partition(_SEPARATOR)
        if code in _BILLED_EVENTS and separator and decision_id and ad_id:
            billing, outcome = _BILLED_EVENTS[code]
            outcomes.setdefault((decision_id, ad_id, billing), AdOutcome(event, decision_id, ad_id, billing, outcome))
    return list(outcomes.values())


def settle_outcomes(
    outcomes: Sequence[AdOutcome],
    partitions: Sequence[str],
    now_ms: int,
    budgets: Budgets,
    exposures: ExposureStore | None = None,
) -> list[Settlement]:
    """Charge each outcome to its campaign and count it for its user, once. The results are in no particular order.

    partitions   partition key of the user's or session's state of each event, indexed by `AdOutcome.event`

    Only impressions of campaigns with a budget are recorded. Outcomes of others are ``unknown`` here, and are counted for the
    user each time they are reported. Raises `StateUnavailable`; what was settled before that stays settled.
    """

    def settle(outcome: AdOutcome) -> Settlement:
        settlement = settle_charge(budgets, outcome.decision_id, outcome.ad_id, outcome.billing)
        if exposures is not None and not settlement.repeated:
            exposures.count_outcome(partitions[outcome.event], outcome.ad_id, outcome.outcome, now_ms)
        return settlement

    return list(map_parallel(settle, outcomes, _WORKERS))


def settle_charge(budgets: Budgets, decision_id: str, ad_id: str, billing: Billing) -> Settlement:
    """Bill a click (cpc) or conversion (cpa) of a decision's ad, once.

    It is not billed where the decision or ad is unknown, the ad is billed otherwise, its reservation has expired (late) or
    the budget has no money left. Raises `StateUnavailable`.
    """
    now = budgets.now_ms()
    pk, sk = record_key(decision_id)
    names = {"#c": "charges", "#ad": ad_id}
    recorded = budgets.table.update(
        Update(
            pk,
            sk,
            "SET #c.#ad.told_at = :now",
            "#c.#ad.billing = :billing AND attribute_not_exists(#c.#ad.told_at)",
            {":now": now, ":billing": billing},
            names,
        )
    )
    charge: Item = recorded.item.get("charges", {}).get("M", {}).get(ad_id, {}).get("M", {})
    if not charge:
        return Settlement(0, "unknown")
    if charge["billing"]["S"] != billing:
        return Settlement(0, "other_billing")
    if not recorded.held:
        reason: Any = charge.get("because", {"S": ""})["S"]
        return Settlement(number(charge, "billed"), reason, repeated=True)
    settlement = _bill(budgets, charge, now)
    values: dict[str, Value] = {":n": settlement.billed, ":why": settlement.unbilled_reason}
    budgets.table.update(Update(pk, sk, "SET #c.#ad.billed = :n, #c.#ad.because = :why", "", values, names))
    return settlement


def _bill(budgets: Budgets, charge: Item, now_ms: int) -> Settlement:
    """Turn the reservation of a recorded charge into its price."""
    expires_at_ms, price = number(charge, "free_at"), number(charge, "price")
    if now_ms >= expires_at_ms:
        return Settlement(0, "late")
    account = Account(charge["campaign"]["S"], number(charge, "budget"), number(charge, "expires_at"), charge["period"]["S"])
    billed = budgets.shards.settle(account, number(charge, "slice"), price, number(charge, "reserved"), expires_at_ms, now_ms)
    if billed is None:
        return Settlement(0, "late")
    return Settlement(price) if billed else Settlement(0, "no_money")
