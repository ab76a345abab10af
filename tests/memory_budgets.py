"""The rules of `budgets.accounts` in memory: a reference for those in DynamoDB, and counters for simulations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from personalization.ads.budgets.accounts import (
    SPENT_FOR_MS,
    Account,
    BudgetStatus,
    CappedUser,
    Charge,
    CommitOutcome,
    Committed,
    Refused,
    Repeated,
    Settlement,
)
from personalization.ads.candidates import Billing
from personalization.core.time import DAY_MS

Key = tuple[str, str]


@dataclass
class _Counter:
    settled: int = 0
    reserved: dict[int, int] = field(default_factory=lambda: defaultdict(int))  # nanos by expiry
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
    response: Mapping[str, Any]
    settled: dict[str, Settlement] = field(default_factory=dict)


class MemoryBudgets:
    """clock            unix seconds
    frequency_days   length of the frequency window, the current day included
    """

    def __init__(self, clock: Callable[[], float], frequency_days: int = 7) -> None:
        self._clock, self._days = clock, frequency_days
        self._counters: dict[Key, _Counter] = defaultdict(_Counter)
        self._records: dict[str, _Record] = {}
        self._impressions: dict[tuple[str, str, int], int] = defaultdict(int)

    def statuses(self, accounts: Iterable[Account]) -> dict[Key, BudgetStatus]:
        now, out = self._now(), {}
        for account in accounts:
            counter = self._counters[account.key]
            counter.release(now)
            spent = counter.spent_at is not None and now < counter.spent_at + SPENT_FOR_MS
            out[account.key] = BudgetStatus(counter.committed, spent or counter.committed >= account.budget)
        return out

    def impressions(self, partition: str) -> dict[str, int]:
        today = self._now() // DAY_MS
        out: dict[str, int] = defaultdict(int)
        for (user, ad_id, day), count in self._impressions.items():
            if user == partition and today - self._days < day <= today:
                out[ad_id] += count
        return dict(out)

    def commit(
        self,
        decision_id: str,
        charges: Sequence[Charge],
        user: CappedUser | None = None,
        ads: Sequence[str] = (),
        response: Mapping[str, Any] | None = None,
    ) -> CommitOutcome:
        if decision_id in self._records:
            return Repeated(self._records[decision_id].response)
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
        impressions = self.impressions(user.partition) if user else {}
        capped = [ad for ad in ads if user and ad in user.caps and impressions.get(ad, 0) >= user.caps[ad]]
        if spent or capped:
            return Refused(tuple(spent), tuple(capped))
        for charge in charges:
            counter = self._counters[charge.account.key]
            if charge.reserves:
                counter.reserved[charge.expires_at_ms(now)] += charge.expected
            else:
                counter.settled += charge.expected
        for ad_id in ads if user else ():
            self._impressions[user.partition if user else "", ad_id, now // DAY_MS] += 1
        self._records[decision_id] = _Record({c.ad_id: (c, c.expires_at_ms(now)) for c in charges}, response or {})
        return Committed()

    def settle(self, decision_id: str, ad_id: str, billing: Billing) -> Settlement:
        record = self._records.get(decision_id)
        if record is None or ad_id not in record.charges:
            return Settlement(0, "unknown")
        charge, expires_at_ms = record.charges[ad_id]
        if charge.billing != billing:
            return Settlement(0, "other_billing")
        if ad_id in record.settled:
            before = record.settled[ad_id]
            return Settlement(before.billed, before.unbilled_reason, repeated=True)
        now = self._now()
        counter = self._counters[charge.account.key]
        counter.release(now)
        settlement = Settlement(charge.price)
        if now >= expires_at_ms:
            settlement = Settlement(0, "late")
        elif counter.settled + charge.price > charge.account.budget:
            settlement = Settlement(0, "no_money")
        else:
            counter.reserved[expires_at_ms] -= charge.expected
            counter.settled += charge.price
        record.settled[ad_id] = settlement
        return settlement

    def _now(self) -> int:
        return int(self._clock() * 1000)
