"""Decisions that use up budgets and frequency caps, and what happens when their commit is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest

from personalization.ads.auction import AuctionRequest, AuctionResult
from personalization.ads.budgets.accounts import Charge, Refused, Repeated, to_nanos
from personalization.ads.candidates import CPC, Candidates
from personalization.ads.delivery import MAX_ATTEMPTS
from personalization.ads.eligibility import Limits
from personalization.ads.valuation import Slot
from tests.ad_factory import candidates_of, decide, reasons, valuation_of, winners
from tests.memory_budgets import MemoryBudgets
from tests.support import Clock

RICH = {"bid": 10.0, "billing": "cpm", "budget": 0.03}
FREE = {"bid": 4.0, "billing": "cpm"}


def request_of(clock: Clock, decision_id: str, ads: Candidates, **options: Any) -> AuctionRequest:
    valuation = valuation_of(ads, 0.1, own=options.pop("own", False))
    limits = Limits(int(clock.now * 1000))
    request = AuctionRequest(decision_id, ads, valuation, [Slot("s")], limits, pricing="first_price")
    return replace(request, **options)


class Decided(NamedTuple):
    result: AuctionResult
    charges: dict[int, Charge]
    refusals: int


def decided(budgets: Any, clock: Clock, decision_id: str, ads: Candidates, **options: Any) -> Decided:
    outcome = decide(request_of(clock, decision_id, ads, **options), budgets)
    assert not isinstance(outcome, Repeated)
    return Decided(*outcome)


def test_a_budget_runs_out_and_the_next_ad_takes_over() -> None:
    clock = Clock()
    budgets, ads = MemoryBudgets(clock), candidates_of(RICH, FREE)
    decisions = [decided(budgets, clock, f"d{n}", ads) for n in range(5)]
    # ten for a thousand are .01 an impression: three of them
    assert [winners(one.result)[0] for one in decisions] == [0, 0, 0, 1, 1]
    assert decisions[0].charges[0].expected == to_nanos(0.01)
    assert decisions[3].charges == {}
    assert decisions[3].result.losses[0].reason == "budget_spent"
    assert [one.refusals for one in decisions] == [0, 0, 0, 0, 0]


def test_money_that_does_not_suffice_is_found_out_at_the_commit() -> None:
    clock = Clock()
    budgets, ads = MemoryBudgets(clock), candidates_of(RICH | {"budget": 0.005}, FREE)
    found = decided(budgets, clock, "d", ads)
    assert (winners(found.result), reasons(found.result), found.refusals) == ({0: 1}, {0: "budget_spent"}, 1)


def test_click_bidders_reserve_what_is_expected() -> None:
    clock = Clock()
    budgets, ads = MemoryBudgets(clock), candidates_of({"bid": 2.0, "billing": "cpc", "budget": 5.0})
    charge = decided(budgets, clock, "d", ads).charges[0]
    assert (charge.price, charge.expected, charge.billing) == (to_nanos(2.0), to_nanos(0.2), CPC)
    assert budgets.settle("d", "a0", CPC).billed == to_nanos(2.0)


def test_conversions_are_waited_for_as_the_bundle_says() -> None:
    clock = Clock()
    ads = candidates_of({"bid": 2.0, "billing": "cpa", "budget": 5.0})
    charge = decided(MemoryBudgets(clock), clock, "d", ads, conversion_days=3.0).charges[0]
    assert charge.window_ms == 3 * 86_400_000


def test_own_ads_spend_their_cost() -> None:
    clock = Clock()
    ads = candidates_of({"value": 9.0, "cost": 0.25, "budget": 0.5})
    budgets = MemoryBudgets(clock)
    filled = [len(decided(budgets, clock, f"d{n}", ads, own=True).result.wins) for n in range(3)]
    assert filled == [1, 1, 0]


def test_a_viewer_sees_a_capped_ad_twice_and_someone_else_still_does() -> None:
    clock = Clock()
    budgets, ads = MemoryBudgets(clock), candidates_of(RICH | {"budget": None, "frequency_cap": 2}, FREE)
    seen = [winners(decided(budgets, clock, f"d{n}", ads, partition="user#u").result)[0] for n in range(3)]
    assert seen == [0, 0, 1]
    assert winners(decided(budgets, clock, "e", ads, partition="user#v").result)[0] == 0
    # nobody is known: no cap can be held
    assert [winners(decided(budgets, clock, f"f{n}", ads).result)[0] for n in range(3)] == [0, 0, 0]


def test_without_budgets_what_must_be_counted_stays_out() -> None:
    clock = Clock()
    ads = candidates_of(RICH, FREE, FREE | {"frequency_cap": 3, "bid": 5.0})
    found = decided(None, clock, "d", ads, partition="user#u")
    assert winners(found.result) == {0: 1}
    assert reasons(found.result) == {0: "ineligible", 2: "ineligible"}
    assert winners(decided(None, clock, "d", ads).result) == {0: 2}  # a stranger's impressions need not be counted


def test_a_preview_counts_nothing() -> None:
    clock = Clock()
    budgets, ads = MemoryBudgets(clock), candidates_of(RICH, FREE)
    for n in range(5):
        assert winners(decided(budgets, clock, f"d{n}", ads, preview=True).result) == {0: 0}


def test_a_repeated_decision_gives_what_was_recorded() -> None:
    clock = Clock()
    budgets, request = MemoryBudgets(clock), request_of(clock, "d", candidates_of(RICH))
    assert not isinstance(decide(request, budgets, {"winner": "a0"}), Repeated)
    assert decide(request, budgets, {"winner": "other"}) == Repeated({"winner": "a0"})


def test_daily_budgets_begin_anew_at_the_shops_midnight() -> None:
    zone = ZoneInfo("America/New_York")
    clock = Clock(datetime(2026, 11, 1, 3, 30, tzinfo=UTC).timestamp())  # 31 October, 23:30 there
    budgets, ads = MemoryBudgets(clock), candidates_of(RICH | {"budget_period": "day"}, FREE)

    def shows(times: int) -> int:
        options = {"zone": zone, "control": None}
        return sum(winners(decided(budgets, clock, f"{clock.now}-{n}", ads, **options).result)[0] == 0 for n in range(times))

    assert shows(5) == 3
    clock.go_on(3600)
    assert shows(5) == 3
    clock.go_on(24 * 3600)  # the clocks go back on this day: it has 25 hours
    assert shows(5) == 0
    clock.go_on(3600)
    assert shows(5) == 3


def test_a_campaign_ahead_of_its_plan_is_paced() -> None:
    clock = Clock()
    day = {"starts_at": int(clock.now), "ends_at": int(clock.now) + 86_400}
    budgets, ads = MemoryBudgets(clock), candidates_of({"bid": 10.0, "billing": "cpm", "budget": 0.96} | day, FREE)
    found = []
    for n in range(30):
        found.append(decided(budgets, clock, f"d{n}", ads).result)
        clock.go_on(30)
    # a quarter of an hour's plan is .01, one impression
    assert sum(winners(one)[0] == 0 for one in found) == 2
    assert reasons(found[5]) == {0: "paced"}


def test_after_many_refusals_what_is_counted_is_left_to_others() -> None:
    class Crowded(MemoryBudgets):
        """Another request is always faster."""

        def commit(self, decision_id: str, charges: Any, *rest: Any) -> Any:
            return Refused(spent=(charges[0].account.key,))

    clock = Clock()
    ads = candidates_of(*[RICH | {"bid": 10.0 + n} for n in range(12)], FREE)
    found = decided(Crowded(clock), clock, "d", ads)
    assert found.refusals == MAX_ATTEMPTS
    assert winners(found.result) == {0: 12}
    assert set(reasons(found.result).values()) == {"budget_spent"}


def test_budgets_that_refuse_a_cap_at_the_last_moment() -> None:
    class Late(MemoryBudgets):
        def impressions(self, partition: str) -> dict[str, int]:
            return {}  # read before another request's impression was counted

        def commit(self, decision_id: str, charges: Any, user: Any = None, ads: Any = (), response: Any = None) -> Any:
            return Refused(capped=("a0",)) if "a0" in ads else super().commit(decision_id, charges, user, ads)

    clock = Clock()
    ads = candidates_of(FREE | {"bid": 9.0, "frequency_cap": 1}, FREE)
    found = decided(Late(clock), clock, "d", ads, partition="user#u")
    assert (winners(found.result), reasons(found.result)) == ({0: 1}, {0: "frequency_cap"})


@pytest.mark.parametrize("stated", [{}, {"ends_at": 1_900_000_000}, {"starts_at": 1_700_000_000}])
def test_a_flight_without_both_ends_is_not_paced(stated: Mapping[str, int]) -> None:
    clock = Clock()
    budgets, ads = MemoryBudgets(clock), candidates_of(RICH | stated, FREE)
    assert [winners(decided(budgets, clock, f"d{n}", ads).result)[0] for n in range(4)] == [0, 0, 0, 1]
