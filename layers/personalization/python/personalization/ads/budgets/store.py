"""Budgets and frequency caps in the state table: what an ad decision uses up, counted once.

A decision is committed in this order: its money, slice by slice; the viewer's frequency caps; its record

    pk               sk         holds
    decision#<id>    decision   each charge with its slice, for the click or conversion to come; no user id

What is refused on the way is undone, and the caller decides again without it. The record's existence makes the call
idempotent: who finds one there gives back what he took. A process that dies on the way, or a write that is repeated because
its answer was lost, leaves money that nobody spends: a budget may end a little short of its last cent, but is never exceeded.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from personalization.ads.budgets.accounts import (
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
from personalization.ads.budgets.counters import CounterTable, Item, Update, attribute, number
from personalization.ads.budgets.frequency_caps import FrequencyCaps
from personalization.ads.budgets.shards import BudgetShards
from personalization.ads.terms import Billing
from personalization.core.time import DAY_MS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_RECORD: Final = "decision"


class Budgets:
    """Every method raises `StateUnavailable` where the table does not answer in time.

    client           with short timeouts and bounded retries
    clock            unix seconds
    frequency_days   days, the current one included, over which impressions count for frequency caps
    slices           of a campaign's money
    believed_ms      how long a campaign's standing is believed without asking again
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        *,
        clock: Callable[[], float] = time.time,
        frequency_days: int = 7,
        slices: int = 8,
        believed_ms: int = 2_000,
    ) -> None:
        self._table, self._clock, self._believed = CounterTable(client, table), clock, believed_ms
        self._slices = BudgetShards(self._table, slices)
        self._frequency = FrequencyCaps(self._table, frequency_days)
        self._standings: dict[tuple[tuple[str, str], int], tuple[int, BudgetStatus]] = {}

    def standings(self, accounts: Iterable[Account]) -> dict[tuple[str, str], BudgetStatus]:
        """How the accounts stand, by account key. A hint: only `commit` knows."""
        now, out = self._now(), {}
        unknown = []
        for account in {account.key: account for account in accounts}.values():
            asked, standing = self._standings.get((account.key, account.budget), (None, BudgetStatus()))
            if asked is not None and now < asked + self._believed:
                out[account.key] = standing
            else:
                unknown.append(account)
        items = self._table.get([self._slices.budget_key(account) for account in unknown], consistent=False)
        for account in unknown:
            standing = self._slices.standing(account, items.get(self._slices.budget_key(account), {}), now)
            out[account.key] = standing
            self._standings[account.key, account.budget] = (now, standing)
        return out

    def shown(self, partition: str) -> dict[str, int]:
        """Impressions of each ad within the frequency window, for a user's or session's partition key."""
        return self._frequency.shown(partition, self._now())

    def commit(
        self, decision_id: str, charges: Sequence[Charge], viewer: CappedUser | None = None, shown: Sequence[str] = (),
        answer: bytes = b"",
    ) -> Outcome:  # fmt: skip
        """Count a decision: `charges` on their accounts, the ads `shown` on the viewer. All of it or nothing.

        answer   is given back when the same decision is committed again
        """
        now, slice_id = self._now(), self._slices.of(decision_id)
        taken: list[tuple[Charge, int]] = []
        spent = []
        for account, kind, nanos in _sums(charges):
            if self._slices.take(account, slice_id, kind, nanos, now):
                taken.append((kind, nanos))
            else:
                spent.append(account.key)
                self._standings.pop((account.key, account.budget), None)
        capped: tuple[str, ...] | None = None
        if not spent and viewer is not None and shown:
            capped = self._frequency.count(decision_id, viewer, shown, now)
        if not spent and capped is None:
            nonce = uuid4().hex
            done = self._table.put_new(_record(decision_id, nonce, charges, slice_id, now, answer))
            # A retry of the put by the client meets the record that it wrote itself.
            if done.held or done.item.get("nonce", {}).get("S") == nonce:
                return Committed()
        for kind, nanos in taken:
            self._slices.give_back(kind.account, slice_id, kind, nanos, now)
        if spent or capped is not None:
            stands = self.recorded(decision_id)  # a repeat finds no money where the first time took the last
            return stands or Refused(tuple(dict.fromkeys(spent)), capped or ())
        return Repeated(done.item.get("answer", {}).get("B", b""))

    def recorded(self, decision_id: str) -> Repeated | None:
        """The answer of a decision that stands already."""
        item = self._table.get([_record_key(decision_id)]).get(_record_key(decision_id))
        return None if item is None else Repeated(item.get("answer", {}).get("B", b""))

    def settle(self, decision_id: str, ad_id: str, billing: Billing) -> Settlement:
        """A click (cpc) or conversion (cpa) on a decision's ad: charge it, once."""
        now = self._now()
        pk, sk = _record_key(decision_id)
        names = {"#c": "charges", "#ad": ad_id}
        marked = self._table.update(
            Update(
                pk,
                sk,
                "SET #c.#ad.told_at = :now",
                "#c.#ad.billing = :billing AND attribute_not_exists(#c.#ad.told_at)",
                {":now": now, ":billing": billing},
                names,
            )
        )
        charge: Item = marked.item.get("charges", {}).get("M", {}).get(ad_id, {}).get("M", {})
        if not charge:
            return Settlement(0, "unknown")
        if charge["billing"]["S"] != billing:
            return Settlement(0, "other_billing")
        if not marked.held:
            unbilled_reason: Any = charge.get("because", {"S": ""})["S"]
            return Settlement(number(charge, "billed"), unbilled_reason, repeated=True)
        settlement = self._settled(charge, now)
        values: dict[str, int | str | bytes | frozenset[str]] = {":n": settlement.billed, ":why": settlement.unbilled_reason}
        self._table.update(Update(pk, sk, "SET #c.#ad.billed = :n, #c.#ad.because = :why", "", values, names))
        return settlement

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _settled(self, charge: Item, now: int) -> Settlement:
        free_at, price = number(charge, "free_at"), number(charge, "price")
        if now >= free_at:
            return Settlement(0, "late")
        account = Account(
            charge["campaign"]["S"], number(charge, "budget"), number(charge, "expires_at"), charge["period"]["S"]
        )
        held = self._slices.settle(account, number(charge, "slice"), price, number(charge, "reserved"), free_at, now)
        if held is None:
            return Settlement(0, "late")
        return Settlement(price) if held else Settlement(0, "no_money")


def _sums(charges: Sequence[Charge]) -> list[tuple[Account, Charge, int]]:
    """One amount for each account and time at which it is free again; one charge stands for those that share it."""
    sums: dict[tuple[tuple[str, str], Billing, int], int] = defaultdict(int)
    first: dict[tuple[tuple[str, str], Billing, int], Charge] = {}
    for charge in charges:
        key = (charge.account.key, charge.billing, charge.window_ms)
        sums[key] += charge.expected
        first.setdefault(key, charge)
    return [(first[key].account, first[key], nanos) for key, nanos in sums.items()]


def _record_key(decision_id: str) -> tuple[str, str]:
    return f"decision#{decision_id}", _RECORD


def _record(
    decision_id: str, nonce: str, charges: Sequence[Charge], slice_id: int, now_ms: int, answer: bytes
) -> dict[str, Any]:
    pk, sk = _record_key(decision_id)
    kept = {charge.ad_id: {"M": _kept(charge, slice_id, now_ms)} for charge in charges}
    latest = max((charge.free_at(now_ms) for charge in charges), default=now_ms)
    item: Item = {
        "pk": {"S": pk},
        "sk": {"S": sk},
        "nonce": {"S": nonce},
        "charges": {"M": kept},
        "expires_at": {"N": str((latest + DAY_MS) // 1000)},
    }
    if answer:
        item["answer"] = {"B": answer}
    return item


def _kept(charge: Charge, slice_id: int, now_ms: int) -> Item:
    words = {"campaign": charge.account.campaign_id, "period": charge.account.period, "billing": charge.billing}
    numbers = {
        "budget": charge.account.budget,
        "expires_at": charge.account.expires_at,
        "price": charge.price,
        "reserved": charge.expected,
        "free_at": charge.free_at(now_ms),
        "slice": slice_id,
    }
    return {name: attribute(value) for name, value in words.items()} | {
        name: attribute(value) for name, value in numbers.items()
    }
