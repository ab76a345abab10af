"""Budgets in this process' memory: for simulations, and as what the ones in DynamoDB must equal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from personalization.ads.budgets.accounts import (
    SPENT_FOR_MS,
    Account,
    BudgetStatus,
    CappedUser,
    Charge,
    Committed,
    Outcome,
    Refused,
    Repeated,
    Settlement,
)
from personalization.ads.terms import Billing
from personalization.core.time import DAY_MS

Key = tuple[str, str]


@dataclass
class _Counter:
    settled: int = 0
    reserved: dict[int, int] = field(default_factory=lambda: defaultdict(int))  # nanos by when they are free again
    spent_at: int | None = None

    def release(self, now_ms: int) -> None:
        for moment in [moment for moment in self.reserved if moment <= now_ms]:
            del self.reserved[moment]

    @property
    def committed(self) -> int:
        return self.settled + sum(self.reserved.values())


@dataclass
class _Record:
    charges: dict[str, tuple[Charge, int]]
    answer: bytes
    settled: dict[str, Settlement] = field(default_factory=dict)


class MemoryBudgets:
    """The rules of `accounts`, without a store.

    clock            unix seconds
    frequency_days   days, the current one included, over which impressions count for frequency caps
    """

    def __init__(self, clock: Callable[[], float], frequency_days: int = 7) -> None:
        self._clock, self._days = clock, frequency_days
        self._counters: dict[Key, _Counter] = defaultdict(_Counter)
        self._records: dict[str, _Record] = {}
        self._shown: dict[tuple[str, str, int], int] = defaultdict(int)

    def standings(self, accounts: Iterable[Account]) -> dict[Key, BudgetStatus]:
        """How the accounts stand now."""
        now, out = self._now(), {}
        for account in accounts:
            counter = self._counters[account.key]
            counter.release(now)
            spent = counter.spent_at is not None and now < counter.spent_at + SPENT_FOR_MS
            out[account.key] = BudgetStatus(counter.committed, spent or counter.committed >= account.budget)
        return out

    def shown(self, partition: str) -> dict[str, int]:
        """Impressions of each ad within the frequency window."""
        today = self._now() // DAY_MS
        out: dict[str, int] = defaultdict(int)
        for (viewer, ad_id, day), count in self._shown.items():
            if viewer == partition and today - self._days < day <= today:
                out[ad_id] += count
        return dict(out)

    def commit(
        self, decision_id: str, charges: Sequence[Charge], viewer: CappedUser | None = None, shown: Sequence[str] = (),
        answer: bytes = b"",
    ) -> Outcome:  # fmt: skip
        """Count a decision: `charges` on their accounts, the ads `shown` on the viewer. All of it or nothing."""
        if decision_id in self._records:
            return Repeated(self._records[decision_id].answer)
        now = self._now()
        wanted: dict[Key, int] = defaultdict(int)
        for charge in charges:
            wanted[charge.account.key] += charge.expected
        spent = []
        for charge in {charge.account.key: charge for charge in charges}.values():
            counter = self._counters[charge.account.key]
            counter.release(now)
            if counter.committed + wanted[charge.account.key] > charge.account.budget:
                counter.spent_at = now
                spent.append(charge.account.key)
        seen = self.shown(viewer.partition) if viewer else {}
        capped = [ad for ad in shown if viewer and ad in viewer.caps and seen.get(ad, 0) >= viewer.caps[ad]]
        if spent or capped:
            return Refused(tuple(spent), tuple(capped))
        for charge in charges:
            counter = self._counters[charge.account.key]
            if charge.reserves:
                counter.reserved[charge.free_at(now)] += charge.expected
            else:
                counter.settled += charge.expected
        for ad_id in shown if viewer else ():
            self._shown[viewer.partition if viewer else "", ad_id, now // DAY_MS] += 1
        self._records[decision_id] = _Record({c.ad_id: (c, c.free_at(now)) for c in charges}, answer)
        return Committed()

    def settle(self, decision_id: str, ad_id: str, billing: Billing) -> Settlement:
        """A click (cpc) or conversion (cpa) on a decision's ad: charge it, once."""
        record = self._records.get(decision_id)
        if record is None or ad_id not in record.charges:
            return Settlement(0, "unknown")
        charge, free_at = record.charges[ad_id]
        if charge.billing != billing:
            return Settlement(0, "other_billing")
        if ad_id in record.settled:
            before = record.settled[ad_id]
            return Settlement(before.billed, before.unbilled_reason, repeated=True)
        now = self._now()
        counter = self._counters[charge.account.key]
        counter.release(now)
        settlement = Settlement(charge.price)
        if now >= free_at:
            settlement = Settlement(0, "late")
        elif counter.settled + charge.price > charge.account.budget:
            settlement = Settlement(0, "no_money")
        else:
            counter.reserved[free_at] -= charge.expected
            counter.settled += charge.price
        record.settled[ad_id] = settlement
        return settlement

    def _now(self) -> int:
        return int(self._clock() * 1000)
