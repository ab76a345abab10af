"""What is counted, and the rules that hold wherever it is counted.

Money is whole billionths of the shop's currency (`nanos`): an impression of a CPM campaign is a thousandth of a price that is
itself in millionths, and integers add up exactly.

* CPM is charged at the decision.
* CPC and CPA reserve the expected charge at the decision, P(click or conversion) × price, and nothing is begun that would bring
  settled + reserved above the budget. The click or conversion gives the reservation back and is charged its price.
* What was reserved for a click that does not come is free again after a while. A click that comes later than that is not
  billed, nor is one that would bring what is settled above the budget.
* So settled ≤ budget holds after every single step, whatever comes in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from personalization.ads.terms import CPA, CPC, CPM, Billing
from personalization.core.time import DAY_MS, MINUTE_MS

NANO: Final = 1_000_000_000

# How long a click or conversion is waited for; the bundle's attribution window may say otherwise for conversions.
WINDOW_MS: Final[Mapping[Billing, int]] = {CPC: 30 * MINUTE_MS, CPA: 7 * DAY_MS}
# Reservations of a window are kept in this many heaps, by the time at which they are free again.
EXPIRY_BUCKETS: Final = 6
# A campaign that was found without money is not tried again for as long: reservations may have become free by then.
SPENT_FOR_MS: Final = MINUTE_MS

UnbilledReason = Literal["", "late", "no_money", "unknown", "other_billing"]


def to_nanos(money: float) -> int:
    return round(money * NANO)


def to_money(nanos: int) -> float:
    return nanos / NANO


@dataclass(frozen=True, slots=True)
class Account:
    """A campaign's budget.

    campaign_id
    budget        nanos that it may spend in the period
    period        word that tells one period's counters from the next one's (a day); empty for the whole flight
    expires_at    unix seconds after which nobody asks for it any more
    """

    campaign_id: str
    budget: int
    expires_at: int
    period: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.campaign_id, self.period


@dataclass(frozen=True, slots=True)
class Charge:
    """What one winner of a decision costs its campaign.

    price      nanos of a billed unit: of a thousand impressions, of a click, of a conversion
    expected   nanos to reserve now (cpc, cpa) or to charge now (cpm)
    """

    ad_id: str
    account: Account
    billing: Billing
    price: int
    expected: int
    window_ms: int = 0

    @property
    def reserves(self) -> bool:
        return self.billing != CPM

    def free_at(self, now_ms: int) -> int:
        """Milliseconds at which a reservation made now is free again, in steps of a heap."""
        window = self.window_ms or WINDOW_MS.get(self.billing, 0)
        step = max(window // EXPIRY_BUCKETS, 1)
        return -(-(now_ms + window) // step) * step


@dataclass(frozen=True, slots=True)
class CappedUser:
    """Who sees the ads, for frequency caps.

    partition   key of the user's or session's state
    caps        impressions within the frequency window that each capped ad may have
    """

    partition: str
    caps: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """committed   nanos leased to the campaign's counters: what is settled and reserved, and a little that is not yet
    spent       found without money a short while ago
    """

    committed: int = 0
    spent: bool = False


@dataclass(frozen=True, slots=True)
class Committed:
    """The decision stands; its charges are counted."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing is counted: decide again without these.

    spent    keys of accounts without enough money
    capped   ads that the viewer has seen as often as allowed
    """

    spent: tuple[tuple[str, str], ...] = ()
    capped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Repeated:
    """A decision with this id stands already; nothing is counted again. `answer` is what was stored with it."""

    answer: bytes


@dataclass(frozen=True, slots=True)
class Settlement:
    """billed    nanos charged for a click or conversion; 0 where it is not billed
    unbilled_reason   why it is not billed
    repeated  whether this was told before
    """

    billed: int
    unbilled_reason: UnbilledReason = ""
    repeated: bool = False


Outcome = Committed | Refused | Repeated
