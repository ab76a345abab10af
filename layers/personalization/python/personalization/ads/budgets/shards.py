"""A campaign's money in slices, so that a popular campaign is not one hot key.

    pk                   sk                holds
    campaign#<id>        budget[#period]   granted: nanos leased to slices so far, never more than the budget
    campaign#<id>#<n>    slice[#period]    owned: leased and not settled; available: of that, not reserved; settled;
                                           free#<ms>: reserved until then

`available` falls below 0 where clicks come thicker than they were expected: they are paid from what others reserved.

A decision's money is in one slice, chosen by its id, and stays there. A slice that runs short takes back what is free again,
then leases a little more from the budget, then takes what other slices have left. Between two steps of that, money may be in
nobody's hands; if the process dies there it stays unspent. No step brings a budget more money than it has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from personalization.ads.budgets.accounts import SPENT_FOR_MS, Account, BudgetStatus, Charge
from personalization.ads.budgets.counters import CounterTable, Item, Update, number

FREE: Final = "free#"
LEASES: Final = 1_000  # a lease is at most this part of a budget
_TRIES: Final = 8
_NO: Final[Mapping[str, int]] = {}

Money = Literal["available", "owned"]


@dataclass(frozen=True)
class BudgetShards:
    """The slices of all campaigns.

    count   slices of a campaign; each takes about a thousand decisions a second
    """

    table: CounterTable
    count: int = 8

    def of(self, decision_id: str) -> int:
        """The slice that holds a decision's money."""
        return int.from_bytes(hashlib.blake2b(decision_id.encode(), digest_size=4).digest(), "big") % self.count

    def take(self, account: Account, slice_id: int, charge: Charge, nanos: int, now_ms: int) -> bool:
        """Charge (cpm) or reserve (cpc, cpa) an amount; whether the money was there. Nothing is taken otherwise."""
        for _ in range(_TRIES):
            sets = "SET available = available - :a, expires_at = :e"
            if charge.reserves:
                sets += ", #n = if_not_exists(#n, :zero) + :a"
            else:
                sets += ", owned = owned - :a, #n = if_not_exists(#n, :zero) + :a"
            values = {":a": nanos, ":e": account.expires_at, ":zero": 0}
            names = {"#n": f"{FREE}{charge.free_at(now_ms)}" if charge.reserves else "settled"}
            done = self.table.update(
                Update(self._pk(account, slice_id), _sk("slice", account), sets, "available >= :a", values, names)
            )
            if done.held:
                return True
            if not self._provide(account, slice_id, "available", nanos, done.item, now_ms):
                return False
        return False

    def give_back(self, account: Account, slice_id: int, charge: Charge, nanos: int, taken_ms: int) -> None:
        """Undo a `take`. A reservation that is free again already was given back by then."""
        free = f"{FREE}{charge.free_at(taken_ms)}"
        name, held = (free, "attribute_exists(#n)") if charge.reserves else ("settled", "#n >= :a")
        sets = "SET available = available + :a, #n = #n - :a" + ("" if charge.reserves else ", owned = owned + :a")
        self.table.update(Update(self._pk(account, slice_id), _sk("slice", account), sets, held, {":a": nanos}, {"#n": name}))

    def settle(self, account: Account, slice_id: int, price: int, reserved: int, free_at: int, now_ms: int) -> bool | None:
        """Turn a reservation into a charge: True; False where the money is not there, None where the reservation is gone."""
        name = f"{FREE}{free_at}"
        values = {":price": price, ":reserved": reserved, ":zero": 0}
        for _ in range(_TRIES):
            sets = (
                "SET available = available + :reserved - :price, owned = owned - :price, #free = #free - :reserved,"
                " settled = if_not_exists(settled, :zero) + :price"
            )
            condition = "attribute_exists(#free) AND owned >= :price"
            sk = _sk("slice", account)
            done = self.table.update(Update(self._pk(account, slice_id), sk, sets, condition, values, {"#free": name}))
            if done.held:
                return True
            if name not in done.item:
                return None
            if not self._provide(account, slice_id, "owned", price, done.item, now_ms):
                return False
        return False

    def standing(self, account: Account, item: Item, now_ms: int) -> BudgetStatus:
        """How an account stands, from its budget item."""
        granted, spent_at = number(item, "granted"), number(item, "spent_at")
        spent = now_ms < spent_at + SPENT_FOR_MS and number(item, "spent_budget") >= account.budget
        return BudgetStatus(granted, spent)

    def budget_key(self, account: Account) -> tuple[str, str]:
        return f"campaign#{account.campaign_id}", _sk("budget", account)

    def slice_keys(self, account: Account) -> list[tuple[str, str]]:
        return [(self._pk(account, n), _sk("slice", account)) for n in range(self.count)]

    def _provide(self, account: Account, slice_id: int, kind: Money, nanos: int, item: Item, now_ms: int) -> bool:
        """Bring a slice's `available` or `owned` to `nanos` or more; whether that can be had."""
        missing = nanos - number(item, kind)
        if kind == "available":
            missing -= self._release(account, slice_id, item, now_ms)
        if missing > 0:
            missing -= self._lease(account, slice_id, missing)
        if missing > 0:
            missing -= self._collect(account, slice_id, kind, missing, now_ms)
        if missing <= 0:
            return True
        pk, sk = self.budget_key(account)
        values = {":now": now_ms, ":budget": account.budget, ":e": account.expires_at}
        self.table.update(Update(pk, sk, "SET spent_at = :now, spent_budget = :budget, expires_at = :e", "", values))
        return False

    def _release(self, account: Account, slice_id: int, item: Item, now_ms: int) -> int:
        """Give the reservations of a slice that are free again back to it; nanos."""
        due = {name: number(item, name) for name in item if name.startswith(FREE) and int(name[len(FREE) :]) <= now_ms}
        if not due:
            return 0
        names = {f"#f{i}": name for i, name in enumerate(due)}
        values = {f":f{i}": nanos for i, nanos in enumerate(due.values())} | {":sum": sum(due.values())}
        done = self.table.update(
            Update(
                self._pk(account, slice_id),
                _sk("slice", account),
                f"SET available = available + :sum REMOVE {', '.join(names)}",
                " AND ".join(f"#f{i} = :f{i}" for i in range(len(due))),
                values,
                names,
            )
        )
        return values[":sum"] if done.held else 0

    def _lease(self, account: Account, slice_id: int, missing: int) -> int:
        """Lease more from the budget: a lease's size where it has that much, else what it has; nanos."""
        wanted = min(max(missing, account.budget // LEASES), account.budget)
        pk, sk = self.budget_key(account)
        sets = "SET granted = if_not_exists(granted, :zero) + :w, expires_at = :e"
        for _ in range(_TRIES):
            if wanted <= 0:
                return 0
            values = {":zero": 0, ":w": wanted, ":most": account.budget - wanted, ":e": account.expires_at}
            done = self.table.update(Update(pk, sk, sets, "attribute_not_exists(granted) OR granted <= :most", values))
            if done.held:
                self._move(account, slice_id, wanted)
                return wanted
            wanted = min(wanted, account.budget - number(done.item, "granted"))
        return 0

    def _collect(self, account: Account, slice_id: int, kind: Money, missing: int, now_ms: int) -> int:
        """Take what other slices have left, until enough is there; nanos."""
        collected = 0
        items = self.table.get(self.slice_keys(account))
        for n in range(self.count):
            item = items.get((self._pk(account, n), _sk("slice", account)))
            if n == slice_id or item is None or collected >= missing:
                continue
            has = number(item, kind) + (self._release(account, n, item, now_ms) if kind == "available" else 0)
            part = min(has, missing - collected)
            if part > 0 and self._move(account, n, -part, f"{kind} >= :p", {":p": part}):
                collected += part
        if collected:
            self._move(account, slice_id, collected)
        return collected

    def _move(self, account: Account, slice_id: int, nanos: int, condition: str = "", values: Mapping[str, int] = _NO) -> bool:
        """Bring money into a slice, or take it away (negative)."""
        sets = "SET available = if_not_exists(available, :zero) + :n, owned = if_not_exists(owned, :zero) + :n, expires_at = :e"
        every = {":n": nanos, ":zero": 0, ":e": account.expires_at, **values}
        return self.table.update(Update(self._pk(account, slice_id), _sk("slice", account), sets, condition, every)).held

    def _pk(self, account: Account, slice_id: int) -> str:
        return f"campaign#{account.campaign_id}#{slice_id}"


def _sk(word: str, account: Account) -> str:
    return f"{word}#{account.period}" if account.period else word
