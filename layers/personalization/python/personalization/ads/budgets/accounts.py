"""Accounts of campaigns, what an impression charges them, and the results of counting it.

Money is stored in whole nanos: 1e-9 of a unit of the shop's currency. Integers add up exactly, also for CPM, where an
impression costs a thousandth of a price that is a multiple of 1e-6.

* CPM: the price is charged when the ad wins.
* CPC and CPA: the expected charge, P(click or conversion) × price, is reserved when the ad wins, if settled + reserved stays
  within
  the budget. A click or conversion releases its reservation and charges its price (see `settlement`).
* A reservation expires after the billing window (`WINDOW_MS`). A click after that is not billed, nor is one whose price would
  bring the settled money above the budget.
* Therefore settled ≤ budget after every single write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from personalization.ads.candidates import CPA, CPC, CPM, Billing
from personalization.core.time import DAY_MS, MINUTE_MS

NANOS: Final = 1_000_000_000  # of one unit of currency

# How long a reservation is kept for its click or conversion. A bundle's attribution window replaces the one of conversions.
WINDOW_MS: Final[Mapping[Billing, int]] = {CPC: 30 * MINUTE_MS, CPA: 7 * DAY_MS}
# Expiry times of reservations are rounded up to this many steps a window, so that few sums are stored.
EXPIRY_BUCKETS: Final = 6
# A campaign that had no money left is not tried again for this long; reservations may have expired by then.
SPENT_FOR_MS: Final = MINUTE_MS

UnbilledReason = Literal["", "late", "no_money", "unknown", "other_billing"]


def to_nanos(money: float) -> int:
    return round(money * NANOS)


def to_money(nanos: int) -> float:
    """Nanos (1e-9 of a currency unit) as currency units."""
    return nanos / NANOS


@dataclass(frozen=True, slots=True)
class Account:
    """A campaign's budget for one period.

    campaign_id   id in the ads table
    budget        nanos that may be spent in the period
    expires_at    unix seconds after which the counters may be deleted
    period        separates the counters of one day from those of the next; empty for the whole flight
    span          first and last millisecond between which the budget is paced; `None` without an end
    """

    campaign_id: str
    budget: int
    expires_at: int
    period: str = ""
    span: tuple[int, int] | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.campaign_id, self.period


@dataclass(frozen=True, slots=True)
class Charge:
    """What one winner of a decision costs its campaign.

    price       nanos per billed unit: 1,000 impressions (cpm), a click (cpc), a conversion (cpa)
    expected    nanos to charge now (cpm) or to reserve now (cpc, cpa)
    window_ms   how long the reservation is kept; 0 takes `WINDOW_MS`
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

    def expires_at_ms(self, now_ms: int) -> int:
        """Milliseconds at which a reservation made now expires, rounded up to an expiry bucket."""
        window = self.window_ms or WINDOW_MS.get(self.billing, 0)
        step = max(window // EXPIRY_BUCKETS, 1)
        return -(-(now_ms + window) // step) * step


@dataclass(frozen=True, slots=True)
class CappedUser:
    """The user whose impressions are counted for frequency caps.

    partition   partition key of the user's or session's state
    caps        impressions allowed within the frequency window, by ad id; ads without a cap are absent
    """

    partition: str
    caps: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """committed   nanos leased to the campaign's shards: settled, reserved, and a small unused rest
    spent       a charge was refused for lack of money within the last `SPENT_FOR_MS`
    """

    committed: int = 0
    spent: bool = False


@dataclass(frozen=True, slots=True)
class Committed:
    """The decision and its charges are stored."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was stored: the decision must be made again without these.

    spent    keys of accounts without enough money
    capped   ids of ads whose frequency cap is reached
    """

    spent: tuple[tuple[str, str], ...] = ()
    capped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Repeated:
    """A decision with this id was stored earlier; nothing was counted again.

    response   the response that was stored with it; empty where there was none
    """

    response: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Settlement:
    """billed            nanos charged for a click or conversion; 0 where it is not billed
    unbilled_reason   why it is not billed
    repeated          the same click or conversion was settled earlier
    """

    billed: int
    unbilled_reason: UnbilledReason = ""
    repeated: bool = False


CommitOutcome = Committed | Refused | Repeated
