"""A campaign's money, divided into shards so that a popular campaign is not one hot key.

    pk                   sk                attributes
    campaign#<id>        budget[#period]   granted: nanos leased to shards so far, never above the budget;
                                           spent_at, spent_budget: when, and at which budget, a charge was refused
    campaign#<id>#<n>    slice[#period]    owned: leased and not settled; available: owned and not reserved; settled;
                                           free#<ms>: reserved until then

`available` falls below 0 where more is clicked than was expected: those clicks are paid from other reservations.

All charges of a decision are in one shard, chosen by its id. A shard without enough money first takes back its expired
reservations, then leases more from the budget, then takes what other shards have left. Each step is one conditional write. A
process that stops between two of them leaves money unspent; no step raises the total above the budget.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from personalization.ads.budgets.accounts import SPENT_FOR_MS, Account, BudgetStatus, Charge
from personalization.state.dynamodb import Item, StateTable, Update, WriteResult, number

LEASES: Final = 1_000  # a lease is at most this part of a budget, or what one charge needs
_RESERVED: Final = "free#"
_TRIES: Final = 8
_NO_NAMES: Final[Mapping[str, str]] = {}

Balance = Literal["available", "owned"]


@dataclass(frozen=True)
class BudgetShards:
    """The shards of all campaigns. Amounts are nanos; every method raises `StateUnavailable` as `StateTable` does.

    count   shards of a campaign; each takes about a thousand decisions a second
    """

    table: StateTable
    count: int = 8

    def shard_of(self, decision_id: str) -> int:
        """The shard that holds a decision's charges."""
        return int.from_bytes(hashlib.blake2b(decision_id.encode(), digest_size=4).digest(), "big") % self.count

    def budget_key(self, account: Account) -> tuple[str, str]:
        """Key of the item with the account's leases."""
        return f"campaign#{account.campaign_id}", _sort_key("budget", account)

    def status(self, account: Account, item: Item, now_ms: int) -> BudgetStatus:
        """The account's status from its budget item; an empty item is a campaign that was never charged."""
        spent = now_ms < number(item, "spent_at") + SPENT_FOR_MS and number(item, "spent_budget") >= account.budget
        return BudgetStatus(number(item, "granted"), spent)

    def take(self, account: Account, shard: int, charge: Charge, nanos: int, now_ms: int) -> bool:
        """Charge (cpm) or reserve (cpc, cpa) an amount. Returns False, with nothing taken, where the money is not there."""
        owned = "" if charge.reserves else ", owned = owned - :a"
        expression = f"SET available = available - :a, expires_at = :e{owned}, #to = if_not_exists(#to, :zero) + :a"
        values = {":a": nanos, ":e": account.expires_at, ":zero": 0}
        names = {"#to": _reserved(charge.expires_at_ms(now_ms)) if charge.reserves else "settled"}
        for _ in range(_TRIES):
            done = self._update(account, shard, expression, "available >= :a", values, names)
            if done.held:
                return True
            if not self._refill(account, shard, "available", nanos, done.item, now_ms):
                return False
        return False

    def give_back(self, account: Account, shard: int, charge: Charge, nanos: int, taken_ms: int) -> None:
        """Undo a `take` made at `taken_ms`. A reservation that has expired was given back when it expired."""
        if charge.reserves:
            expression, condition = "SET available = available + :a, #to = #to - :a", "attribute_exists(#to)"
            name = _reserved(charge.expires_at_ms(taken_ms))
        else:
            expression = "SET available = available + :a, #to = #to - :a, owned = owned + :a"
            condition, name = "#to >= :a", "settled"
        self._update(account, shard, expression, condition, {":a": nanos}, {"#to": name})

    def settle(self, account: Account, shard: int, price: int, reserved: int, expires_at_ms: int, now_ms: int) -> bool | None:
        """Release a reservation and charge its price: True. False: no money is left. `None`: the reservation has expired."""
        name = _reserved(expires_at_ms)
        expression = (
            "SET available = available + :reserved - :price, owned = owned - :price, #from = #from - :reserved,"
            " settled = if_not_exists(settled, :zero) + :price"
        )
        condition = "attribute_exists(#from) AND owned >= :price"
        values = {":price": price, ":reserved": reserved, ":zero": 0}
        for _ in range(_TRIES):
            done = self._update(account, shard, expression, condition, values, {"#from": name})
            if done.held:
                return True
            if name not in done.item:
                return None
            if not self._refill(account, shard, "owned", price, done.item, now_ms):
                return False
        return False

    def _refill(self, account: Account, shard: int, balance: Balance, nanos: int, item: Item, now_ms: int) -> bool:
        """Bring a shard's balance to `nanos` or more; False where the campaign has no more money."""
        missing = nanos - number(item, balance)
        if balance == "available":
            missing -= self._release_expired(account, shard, item, now_ms)
        if missing > 0:
            missing -= self._lease(account, shard, missing)
        if missing > 0:
            missing -= self._take_from_others(account, shard, balance, missing, now_ms)
        if missing <= 0:
            return True
        pk, sk = self.budget_key(account)
        values = {":now": now_ms, ":budget": account.budget, ":e": account.expires_at}
        self.table.update(Update(pk, sk, "SET spent_at = :now, spent_budget = :budget, expires_at = :e", "", values))
        return False

    def _release_expired(self, account: Account, shard: int, item: Item, now_ms: int) -> int:
        """Make the expired reservations of a shard available again; nanos."""
        expired = {
            name: number(item, name)
            for name in item
            if name.startswith(_RESERVED) and int(name.removeprefix(_RESERVED)) <= now_ms
        }
        if not expired:
            return 0
        names = {f"#f{i}": name for i, name in enumerate(expired)}
        values = {f":f{i}": nanos for i, nanos in enumerate(expired.values())} | {":sum": sum(expired.values())}
        expression = f"SET available = available + :sum REMOVE {', '.join(names)}"
        condition = " AND ".join(f"#f{i} = :f{i}" for i in range(len(expired)))
        return values[":sum"] if self._update(account, shard, expression, condition, values, names).held else 0

    def _lease(self, account: Account, shard: int, missing: int) -> int:
        """Lease a share of the budget, or what is left of it; nanos."""
        amount = min(max(missing, account.budget // LEASES), account.budget)
        pk, sk = self.budget_key(account)
        expression = "SET granted = if_not_exists(granted, :zero) + :w, expires_at = :e"
        for _ in range(_TRIES):
            if amount <= 0:
                return 0
            values = {":zero": 0, ":w": amount, ":most": account.budget - amount, ":e": account.expires_at}
            done = self.table.update(Update(pk, sk, expression, "attribute_not_exists(granted) OR granted <= :most", values))
            if done.held:
                self._add(account, shard, amount)
                return amount
            amount = min(amount, account.budget - number(done.item, "granted"))
        return 0

    def _take_from_others(self, account: Account, shard: int, balance: Balance, missing: int, now_ms: int) -> int:
        """Move what other shards have left into this one, until `missing` is reached; nanos."""
        collected = 0
        items = self.table.get([self._shard_key(account, other) for other in range(self.count)])
        for other in range(self.count):
            item = items.get(self._shard_key(account, other))
            if other == shard or item is None or collected >= missing:
                continue
            released = self._release_expired(account, other, item, now_ms) if balance == "available" else 0
            part = min(number(item, balance) + released, missing - collected)
            if part > 0 and self._add(account, other, -part, balance):
                collected += part
        if collected:
            self._add(account, shard, collected)
        return collected

    def _add(self, account: Account, shard: int, nanos: int, balance: Balance | None = None) -> bool:
        """Add money to a shard. A negative amount is taken from it only while `balance` covers it."""
        expression = (
            "SET available = if_not_exists(available, :zero) + :n, owned = if_not_exists(owned, :zero) + :n, expires_at = :e"
        )
        values = {":n": nanos, ":zero": 0, ":e": account.expires_at}
        if balance is None:
            return self._update(account, shard, expression, "", values).held
        return self._update(account, shard, expression, f"{balance} >= :taken", values | {":taken": -nanos}).held

    def _update(
        self,
        account: Account,
        shard: int,
        expression: str,
        condition: str,
        values: Mapping[str, int],
        names: Mapping[str, str] = _NO_NAMES,
    ) -> WriteResult:
        pk, sk = self._shard_key(account, shard)
        return self.table.update(Update(pk, sk, expression, condition, values, names))

    def _shard_key(self, account: Account, shard: int) -> tuple[str, str]:
        return f"campaign#{account.campaign_id}#{shard}", _sort_key("slice", account)


def _sort_key(word: str, account: Account) -> str:
    return f"{word}#{account.period}" if account.period else word


def _reserved(expires_at_ms: int) -> str:
    return f"{_RESERVED}{expires_at_ms}"
