"""Budgets and frequency caps: the rules, held against both implementations, and what only the shared table can go wrong in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personalization.ads.budgets.accounts import (
    Account,
    CappedUser,
    Charge,
    Committed,
    Refused,
    Repeated,
    Settlement,
    to_nanos,
)
from personalization.ads.budgets.settlement import settle_charge
from personalization.ads.budgets.store import Budgets
from personalization.ads.candidates import CPA, CPC, CPM, Billing
from personalization.core.errors import StateUnavailable
from tests.memory_budgets import MemoryBudgets
from tests.support import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TABLE = "test-state"
BOTH = pytest.mark.parametrize("kind", ["dynamodb", "memory"])
Make = Callable[[str], Any]


class TableBudgets(Budgets):
    """With the settlement as a method, as `MemoryBudgets` has it."""

    settle = settle_charge


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(request: pytest.FixtureRequest, clock: Clock) -> Make:
    def budgets(kind: str) -> Any:
        if kind == "memory":
            return MemoryBudgets(clock)
        return TableBudgets(request.getfixturevalue("dynamodb"), TABLE, clock=clock, shards=3, cache_ttl_ms=0)

    return budgets


def account(budget: int, campaign: str = "spring", period: str = "") -> Account:
    return Account(campaign, budget, 2_000_000_000, period)


def charge(
    expected: int, budget: int, billing: Billing = CPM, price: int = 0, ad: str = "ad", campaign: str = "spring"
) -> Charge:
    return Charge(ad, account(budget, campaign), billing, price or expected * 1000, expected)


def spend(budgets: Any, charges: list[Charge], start: int = 0) -> list[bool]:
    """Commit a decision for each charge; which of them stood."""
    return [isinstance(budgets.commit(f"d{start + n}", [one]), Committed) for n, one in enumerate(charges)]


@BOTH
def test_a_cpm_budget_is_spent_to_its_end_and_not_beyond(make: Make, kind: str) -> None:
    budgets = make(kind)
    # 100 nanos: thirty-three times 3, and 1 that no impression fits into. Shards take what others have left.
    stood = spend(budgets, [charge(3, 100)] * 40)
    assert stood == [True] * 33 + [False] * 7
    assert budgets.statuses([account(100)])["spring", ""].spent


@BOTH
def test_a_raised_budget_goes_on(make: Make, kind: str) -> None:
    budgets = make(kind)
    assert spend(budgets, [charge(5, 10)] * 3) == [True, True, False]
    assert spend(budgets, [charge(5, 20)] * 3, start=3) == [True, True, False]


@BOTH
def test_a_decision_counts_once(make: Make, kind: str) -> None:
    budgets = make(kind)
    assert budgets.commit("d", [charge(6, 10)], response={"slots": 1}) == Committed()
    assert budgets.commit("d", [charge(6, 10)], response={"slots": 2}) == Repeated({"slots": 1})
    # Had the repeat kept its money, 4 would be missing.
    assert budgets.commit("e", [charge(4, 10)]) == Committed()


@BOTH
def test_a_slate_is_counted_whole_or_not_at_all(make: Make, kind: str) -> None:
    budgets = make(kind)
    rich, poor = charge(5, 100, ad="a", campaign="rich"), charge(5, 4, ad="b", campaign="poor")
    assert budgets.commit("d", [rich, poor]) == Refused(spent=(("poor", ""),))
    assert spend(budgets, [rich] * 21, start=1) == [True] * 20 + [False]


@BOTH
def test_two_ads_of_one_campaign_are_charged_together(make: Make, kind: str) -> None:
    budgets = make(kind)
    pair = [charge(6, 11, ad="a"), charge(6, 11, ad="b")]
    assert budgets.commit("d", pair) == Refused(spent=(("spring", ""),))
    assert budgets.commit("e", pair[:1]) == Committed()


@BOTH
def test_periods_have_money_of_their_own(make: Make, kind: str) -> None:
    budgets = make(kind)
    for day in ("2026-11-24", "2026-11-25"):
        daily = Charge("ad", account(5, period=day), CPM, 5000, 5)
        assert budgets.commit(f"d{day}", [daily]) == Committed()
        assert budgets.commit(f"e{day}", [daily]) == Refused(spent=(("spring", day),))


@BOTH
def test_a_click_turns_its_reservation_into_its_price(make: Make, kind: str) -> None:
    budgets = make(kind)
    # Each impression reserves 2 of a click's 20. After one click 20 + 2 are gone of 40, and nine more fit.
    clicked = charge(2, 40, CPC, 20)
    assert spend(budgets, [clicked] * 2) == [True, True]
    assert budgets.settle("d0", "ad", CPC) == Settlement(20)
    assert budgets.settle("d0", "ad", CPC) == Settlement(20, repeated=True)
    assert spend(budgets, [clicked] * 12, start=2) == [True] * 9 + [False] * 3


@BOTH
def test_money_of_clicks_that_never_came_is_free_again_and_they_are_late_then(make: Make, kind: str, clock: Clock) -> None:
    budgets = make(kind)
    reserving = charge(10, 30, CPC, 15)
    assert spend(budgets, [reserving] * 4) == [True] * 3 + [False]  # 30 are reserved
    clock.go_on(29 * 60)
    assert budgets.settle("d0", "ad", CPC).billed == 15
    assert spend(budgets, [reserving], start=4) == [False]
    clock.go_on(6 * 60)  # half an hour, and the five minutes of a heap
    assert budgets.settle("d1", "ad", CPC) == Settlement(0, "late")
    assert spend(budgets, [reserving] * 2, start=5) == [True, False]  # 15 are settled, 10 reserved


@BOTH
def test_clicks_are_not_billed_beyond_the_budget(make: Make, kind: str) -> None:
    budgets = make(kind)
    assert spend(budgets, [charge(1, 25, CPC, 10)] * 20) == [True] * 20
    settled = [budgets.settle(f"d{n}", "ad", CPC) for n in range(4)]
    assert [one.billed for one in settled] == [10, 10, 0, 0]  # what others reserved does not keep a click from being billed
    assert settled[2].unbilled_reason == "no_money"
    assert spend(budgets, [charge(1, 25, CPC, 10)], start=20) == [False]  # 20 settled and 18 reserved


@BOTH
def test_only_what_is_paid_for_is_settled(make: Make, kind: str) -> None:
    budgets = make(kind)
    budgets.commit("d", [charge(1, 100, CPA, 10)])
    assert budgets.settle("d", "ad", CPC) == Settlement(0, "other_billing")
    assert budgets.settle("d", "other", CPA) == Settlement(0, "unknown")
    assert budgets.settle("never", "ad", CPA) == Settlement(0, "unknown")
    assert budgets.settle("d", "ad", CPA) == Settlement(10)


@BOTH
def test_conversions_are_waited_for_longer(make: Make, kind: str, clock: Clock) -> None:
    budgets = make(kind)
    budgets.commit("d", [charge(1, 100, CPA, 10)])
    clock.go_on(6.9 * 86_400)
    assert budgets.settle("d", "ad", CPA) == Settlement(10)


@BOTH
def test_a_user_sees_an_ad_as_often_as_allowed_within_the_window(make: Make, kind: str, clock: Clock) -> None:
    budgets = make(kind)
    user = CappedUser("user#u", {"ad": 2})

    def show(decision: str) -> Any:
        return budgets.commit(decision, [], user, ["ad", "free"])

    assert show("d1") == Committed()
    assert show("d1") == Repeated({})
    clock.go_on(3 * 86_400)
    assert show("d2") == Committed()
    assert show("d3") == Refused(capped=("ad",))
    assert budgets.impressions("user#u") == {"ad": 2, "free": 2}
    clock.go_on(4 * 86_400)  # the first day has left the window of seven
    assert budgets.impressions("user#u") == {"ad": 1, "free": 1}
    assert show("d4") == Committed()
    assert budgets.commit("d5", [], CappedUser("user#other", {"ad": 2}), ["ad"]) == Committed()


@BOTH
def test_a_capped_ad_costs_nothing(make: Make, kind: str) -> None:
    budgets = make(kind)
    user = CappedUser("user#u", {"ad": 1})
    assert budgets.commit("d1", [charge(5, 10)], user, ["ad"]) == Committed()
    assert budgets.commit("d2", [charge(5, 10)], user, ["ad"]) == Refused(capped=("ad",))
    assert budgets.commit("d3", [charge(5, 10)]) == Committed()


@settings(max_examples=25)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("show"), st.sampled_from([CPM, CPC, CPA]), st.integers(1, 9)),
            st.tuples(st.just("tell"), st.sampled_from([CPC, CPA]), st.integers(0, 30)),
            st.tuples(st.just("wait"), st.just(""), st.integers(1, 40)),
        ),
        max_size=40,
    )
)
def test_both_implementations_agree_and_never_exceed_the_budget(dynamodb: DynamoDBClient, steps: list[Any]) -> None:
    clock, budget = Clock(), 60
    for item in dynamodb.scan(TableName=TABLE)["Items"]:
        dynamodb.delete_item(TableName=TABLE, Key={"pk": item["pk"], "sk": item["sk"]})
    table, memory = TableBudgets(dynamodb, TABLE, clock=clock, shards=3, cache_ttl_ms=0), MemoryBudgets(clock)
    billed = charged = 0
    for n, (what, billing, size) in enumerate(steps):
        if what == "wait":
            clock.go_on(size * 60)
        elif what == "tell":
            one, other = (budgets.settle(f"d{size}", "ad", billing) for budgets in (table, memory))
            assert one == other
            billed += 0 if one.repeated else one.billed
        else:
            one, other = (budgets.commit(f"d{n}", [charge(size, budget, billing, size * 4)]) for budgets in (table, memory))
            assert one == other
            charged += size if billing == CPM and one == Committed() else 0
        assert billed + charged <= budget


class OneAtATime:
    """DynamoDB does a conditional write at once; moto looks first and writes then, and threads may come in between."""

    def __init__(self, client: Any) -> None:
        self._client, self._lock = client, threading.Lock()
        self.exceptions = client.exceptions

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)

        def locked(**request: Any) -> Any:
            with self._lock:
                return call(**request)

        return locked


def test_a_hundred_writers_at_once(dynamodb: DynamoDBClient, clock: Clock) -> None:
    """300 decisions of 7 nanos against 1,000: exactly 142 fit, whoever is first; no slice ends below 0."""
    client: Any = OneAtATime(dynamodb)
    writers = [Budgets(client, TABLE, clock=clock, shards=8) for _ in range(100)]
    gate = threading.Barrier(100)

    def write(n: int) -> int:
        gate.wait()
        return sum(isinstance(writers[n].commit(f"w{n}-{k}", [charge(7, 1_000)]), Committed) for k in range(3))

    with ThreadPoolExecutor(100) as pool:
        stood = sum(pool.map(write, range(100)))
    # Money that is on its way between slices is seen by nobody: a writer may give up a moment too early, never too late.
    stood += sum(spend(writers[0], [charge(7, 1_000)] * 30, start=9_000))
    items = {item["pk"]["S"]: item for item in dynamodb.scan(TableName=TABLE)["Items"]}
    slices = [item for pk, item in items.items() if pk.startswith("campaign#spring#")]
    assert all(int(item["available"]["N"]) == int(item["owned"]["N"]) for item in slices)
    granted = int(items["campaign#spring"]["granted"]["N"])
    settled = sum(int(item["settled"]["N"]) for item in slices if "settled" in item)
    assert stood == 142
    assert settled == 142 * 7
    assert granted == settled + sum(int(item["available"]["N"]) for item in slices) == 1_000
    assert len(slices) > 4


def test_the_same_decision_from_many_threads_counts_once(dynamodb: DynamoDBClient, clock: Clock) -> None:
    client: Any = OneAtATime(dynamodb)
    budgets = Budgets(client, TABLE, clock=clock)
    user = CappedUser("user#u", {"ad": 5})
    with ThreadPoolExecutor(10) as pool:
        outcomes = list(pool.map(lambda n: budgets.commit("d", [charge(10, 100)], user, ["ad"]), range(10)))
    assert sum(isinstance(one, Committed) for one in outcomes) == 1
    assert sum(isinstance(one, Repeated) for one in outcomes) == 9
    assert budgets.impressions("user#u") == {"ad": 1}
    assert spend(budgets, [charge(10, 100)] * 10) == [True] * 9 + [False]


class Failing:
    """A client whose answers are lost: the write happens, and the caller hears of an error, `times` times."""

    def __init__(self, client: Any, name: str, times: int = 1) -> None:
        self._client, self._name, self.left = client, name, times
        self.exceptions = client.exceptions

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)

        def perhaps(**request: Any) -> Any:
            answer = call(**request)
            if name == self._name and self.left:
                self.left -= 1
                call(**request)  # botocore repeats what it heard nothing of
            return answer

        return perhaps


def test_a_record_that_was_written_twice_by_a_retry_is_still_ours(dynamodb: DynamoDBClient, clock: Clock) -> None:
    class Retrying(Failing):
        def __getattr__(self, name: str) -> Any:
            call = getattr(self._client, name)

            def twice(**request: Any) -> Any:
                if name == "put_item":
                    call(**request)
                return call(**request)

            return twice

    client: Any = Retrying(dynamodb, "put_item")
    budgets = Budgets(client, TABLE, clock=clock)
    assert budgets.commit("d", [charge(6, 10)]) == Committed()
    assert spend(budgets, [charge(6, 10)]) == [False]  # the 6 were kept


def test_a_repeated_charge_spends_too_little_never_too_much(dynamodb: DynamoDBClient, clock: Clock) -> None:
    client: Any = Failing(dynamodb, "update_item", times=50)
    stood = sum(spend(Budgets(client, TABLE, clock=clock), [charge(5, 100)] * 30))
    assert 0 < stood <= 20


def test_an_unreachable_table_is_an_error_of_ours(dynamodb: DynamoDBClient, clock: Clock) -> None:
    budgets = Budgets(dynamodb, "no-such-table", clock=clock)
    calls: Mapping[str, Callable[[], Any]] = {
        "statuses": lambda: budgets.statuses([account(1)]),
        "impressions": lambda: budgets.impressions("user#u"),
        "commit": lambda: budgets.commit("d", [charge(1, 1)]),
        "settle": lambda: settle_charge(budgets, "d", "ad", CPC),
    }
    for call in calls.values():
        with pytest.raises(StateUnavailable, match="ResourceNotFoundException"):
            call()


def test_a_status_is_cached_for_a_while(dynamodb: DynamoDBClient, clock: Clock) -> None:
    budgets = Budgets(dynamodb, TABLE, clock=clock, cache_ttl_ms=2_000)
    one = account(to_nanos(1.0))
    assert budgets.statuses([one])["spring", ""].committed == 0
    Budgets(dynamodb, TABLE, clock=clock).commit("d", [charge(to_nanos(0.25), to_nanos(1.0))])
    assert budgets.statuses([one])["spring", ""].committed == 0
    clock.go_on(2)
    assert budgets.statuses([one])["spring", ""].committed == to_nanos(0.25)


def test_every_item_expires(dynamodb: DynamoDBClient, clock: Clock) -> None:
    budgets = Budgets(dynamodb, TABLE, clock=clock)
    budgets.commit("d", [charge(1, 10, CPC, 2)], CappedUser("user#u"), ["ad"])
    settle_charge(budgets, "d", "ad", CPC)
    budgets.commit("e", [charge(10, 10)])
    items = dynamodb.scan(TableName=TABLE)["Items"]
    assert {item["sk"]["S"].partition("#")[0] for item in items} == {"budget", "slice", "decision", "frequency"}
    assert all(int(item["expires_at"]["N"]) > clock.now + 60 for item in items)
    assert not any("user" in str(item) for item in items if not item["pk"]["S"].startswith("user#"))
