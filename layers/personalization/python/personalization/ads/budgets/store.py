"""Commits of ad decisions: each is stored once, with its charges and impressions, or not at all.

A decision is committed in this order: its charges, shard by shard; the impressions of ads with a frequency cap; its record

    pk               sk         attributes
    decision#<id>    decision   charges: each with its shard, for the click or conversion to come;
                                answer: the compressed response; no user id

What was taken before a refusal is given back, and the caller decides again without the refused ads. The record makes the call
idempotent: a commit that finds one gives back what it took. A process that stops on the way, or a write that the client repeats
because its response was lost, leaves money unspent. A budget may end a little below its last cent; it is never exceeded.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import orjson

from personalization.ads.budgets.accounts import (
    Account,
    BudgetStatus,
    CappedUser,
    Charge,
    CommitOutcome,
    Committed,
    Refused,
    Repeated,
)
from personalization.ads.budgets.frequency_caps import FrequencyCaps
from personalization.ads.budgets.shards import BudgetShards
from personalization.core.time import DAY_MS
from personalization.state.dynamodb import Item, Put, StateTable, attribute

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_NO_RESPONSE: Final[Mapping[str, Any]] = {}


class Budgets:
    """Budgets and frequency caps in the state table. Every method raises `StateUnavailable` where it does not answer in time.

    client           with short timeouts and bounded retries
    clock            unix seconds
    frequency_days   length of the frequency window, the current day included
    shards           of a campaign's money
    cache_ttl_ms     how long a budget's status is used without reading it again
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        *,
        clock: Callable[[], float] = time.time,
        frequency_days: int = 7,
        shards: int = 8,
        cache_ttl_ms: int = 2_000,
    ) -> None:
        self.table = StateTable(client, table)
        self.shards = BudgetShards(self.table, shards)
        self._frequency = FrequencyCaps(self.table, frequency_days)
        self._clock, self._cache_ttl_ms = clock, cache_ttl_ms
        self._status_cache: dict[tuple[tuple[str, str], int], tuple[int, BudgetStatus]] = {}

    def now_ms(self) -> int:
        return int(self._clock() * 1000)

    def statuses(self, accounts: Iterable[Account]) -> dict[tuple[str, str], BudgetStatus]:
        """Status of each account, by account key. It may be `cache_ttl_ms` old; only `commit` is exact."""
        now, statuses, expired = self.now_ms(), {}, []
        for account in {account.key: account for account in accounts}.values():
            read_at, status = self._status_cache.get((account.key, account.budget), (None, BudgetStatus()))
            if read_at is not None and now < read_at + self._cache_ttl_ms:
                statuses[account.key] = status
            else:
                expired.append(account)
        items = self.table.get([self.shards.budget_key(account) for account in expired], consistent=False)
        for account in expired:
            status = self.shards.status(account, items.get(self.shards.budget_key(account), {}), now)
            statuses[account.key] = status
            self._status_cache[account.key, account.budget] = (now, status)
        return statuses

    def impressions(self, partition: str) -> dict[str, int]:
        """Impressions of each ad within the frequency window, for a user's or session's partition key."""
        return self._frequency.impressions(partition, self.now_ms())

    def commit(
        self,
        decision_id: str,
        charges: Sequence[Charge],
        user: CappedUser | None = None,
        ads: Sequence[str] = (),
        response: Mapping[str, Any] = _NO_RESPONSE,
    ) -> CommitOutcome:
        """Store a decision: `charges` to their accounts, one impression of each of `ads` to the user. All of it or nothing.

        response   returned when a decision with this id is committed again
        """
        now, shard = self.now_ms(), self.shards.shard_of(decision_id)
        taken: list[tuple[Charge, int]] = []
        spent: list[tuple[str, str]] = []
        for charge, nanos in _summed(charges):
            if self.shards.take(charge.account, shard, charge, nanos, now):
                taken.append((charge, nanos))
            else:
                spent.append(charge.account.key)
                self._status_cache.pop((charge.account.key, charge.account.budget), None)
        capped: tuple[str, ...] = ()
        if not spent and user is not None and ads:
            capped = self._frequency.count(decision_id, user, ads, now)
        earlier: Item | None = None
        if not spent and not capped:
            nonce = uuid4().hex
            done = self.table.put(Put(_record(decision_id, nonce, charges, shard, now, response), "attribute_not_exists(pk)"))
            # A put that the client repeated finds the record that it wrote itself.
            if done.held or done.item.get("nonce", {}).get("S") == nonce:
                return Committed()
            earlier = done.item
        for charge, nanos in taken:
            self.shards.give_back(charge.account, shard, charge, nanos, now)
        if earlier is not None:
            return _repeated(earlier)
        # A repeated decision finds no money where the first call took the last.
        return self.recorded(decision_id) or Refused(tuple(dict.fromkeys(spent)), capped)

    def recorded(self, decision_id: str) -> Repeated | None:
        """The decision with this id, `None` where none was stored."""
        key = record_key(decision_id)
        item = self.table.get([key]).get(key)
        return None if item is None else _repeated(item)


def record_key(decision_id: str) -> tuple[str, str]:
    """Key of a decision's record."""
    return f"decision#{decision_id}", "decision"


def _summed(charges: Sequence[Charge]) -> list[tuple[Charge, int]]:
    """One charge and the sum in nanos for each account, billing and window."""
    sums: dict[tuple[object, ...], tuple[Charge, int]] = {}
    for charge in charges:
        key = (charge.account.key, charge.billing, charge.window_ms)
        first, nanos = sums.get(key, (charge, 0))
        sums[key] = (first, nanos + charge.expected)
    return list(sums.values())


def _record(
    decision_id: str, nonce: str, charges: Sequence[Charge], shard: int, now_ms: int, response: Mapping[str, Any]
) -> Item:
    """The item of a decision. The response is compressed: an item holds 400 KB at most and is billed by size."""
    pk, sk = record_key(decision_id)
    latest = max((charge.expires_at_ms(now_ms) for charge in charges), default=now_ms)
    item: Item = {
        "pk": {"S": pk},
        "sk": {"S": sk},
        "nonce": {"S": nonce},
        "charges": {"M": {charge.ad_id: {"M": _charge_item(charge, shard, now_ms)} for charge in charges}},
        "expires_at": {"N": str((latest + DAY_MS) // 1000)},
    }
    if response:
        item["answer"] = {"B": zlib.compress(orjson.dumps(response), 1)}
    return item


def _charge_item(charge: Charge, shard: int, now_ms: int) -> Item:
    values: dict[str, int | str] = {
        "campaign": charge.account.campaign_id,
        "period": charge.account.period,
        "billing": charge.billing,
        "budget": charge.account.budget,
        "expires_at": charge.account.expires_at,
        "price": charge.price,
        "reserved": charge.expected,
        "free_at": charge.expires_at_ms(now_ms),
        "slice": shard,
    }
    return {name: attribute(value) for name, value in values.items()}


def _repeated(item: Item) -> Repeated:
    packed = item.get("answer", {}).get("B")
    return Repeated(orjson.loads(zlib.decompress(packed)) if packed else {})
