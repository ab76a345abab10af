"""Decisions that use something up: budgets, caps, periods, and what happens when they are refused at the last moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from personalization.ads import Candidates, Limits, Slot
from personalization.ads.budgets import MemoryBudgets, Refused, Repeated, to_nanos
from personalization.ads.decision import ROUNDS, AuctionRequest, AuctionResult, run_auction
from personalization.ads.terms import CPC
from tests.advertising import candidates_of, reasons, winners, worth_of
from tests.support import Clock

RICH = {"bid": 10.0, "billing": "cpm", "budget": 0.03}
FREE = {"bid": 4.0, "billing": "cpm"}


def question(clock: Clock, decision_id: str, ads: Candidates, **options: Any) -> AuctionRequest:
    own = options.pop("own", False)
    limits = Limits(int(clock.now * 1000))
    made = AuctionRequest(decision_id, ads, worth_of(ads, 0.1, own=own), [Slot("s")], limits, auction="first_price")
    return replace(made, **options)


def ask(counters: Any, clock: Clock, decision_id: str, ads: Candidates, **options: Any) -> AuctionResult:
    found = run_auction(question(clock, decision_id, ads, **options), counters)
    assert isinstance(found, AuctionResult)
    return found


def test_a_budget_runs_out_and_the_next_ad_takes_over() -> None:
    clock = Clock()
    counters, ads = MemoryBudgets(clock), candidates_of(RICH, FREE)
    answers = [ask(counters, clock, f"d{n}", ads) for n in range(5)]
    # ten for a thousand are .01 an impression: three of them
    assert [winners(one.decision)[0] for one in answers] == [0, 0, 0, 1, 1]
    assert answers[0].charges[0].expected == to_nanos(0.01)
    assert answers[3].charges == {}
    assert answers[3].decision.losses[0].reason == "budget_spent"
    assert [one.rounds for one in answers] == [1, 1, 1, 1, 1]


def test_money_that_does_not_suffice_is_found_out_at_the_commit() -> None:
    clock = Clock()
    counters, ads = MemoryBudgets(clock), candidates_of(RICH | {"budget": 0.005}, FREE)
    found = ask(counters, clock, "d", ads)
    assert (winners(found.decision), reasons(found.decision), found.rounds) == ({0: 1}, {0: "budget_spent"}, 2)


def test_click_bidders_reserve_what_is_expected() -> None:
    clock = Clock()
    counters, ads = MemoryBudgets(clock), candidates_of({"bid": 2.0, "billing": "cpc", "budget": 5.0})
    charge = ask(counters, clock, "d", ads).charges[0]
    assert (charge.price, charge.expected, charge.billing) == (to_nanos(2.0), to_nanos(0.2), CPC)
    assert counters.settle("d", "a0", CPC).billed == to_nanos(2.0)


def test_conversions_are_waited_for_as_the_bundle_says() -> None:
    clock = Clock()
    ads = candidates_of({"bid": 2.0, "billing": "cpa", "budget": 5.0})
    charge = ask(MemoryBudgets(clock), clock, "d", ads, conversion_days=3.0).charges[0]
    assert charge.window_ms == 3 * 86_400_000


def test_own_ads_spend_their_cost() -> None:
    clock = Clock()
    ads = candidates_of({"value": 9.0, "cost": 0.25, "budget": 0.5})
    counters = MemoryBudgets(clock)
    filled = [len(ask(counters, clock, f"d{n}", ads, own=True).decision.wins) for n in range(3)]
    assert filled == [1, 1, 0]


def test_a_viewer_sees_a_capped_ad_twice_and_someone_else_still_does() -> None:
    clock = Clock()
    counters, ads = MemoryBudgets(clock), candidates_of(RICH | {"budget": None, "frequency_cap": 2}, FREE)
    seen = [winners(ask(counters, clock, f"d{n}", ads, partition="user#u").decision)[0] for n in range(3)]
    assert seen == [0, 0, 1]
    assert winners(ask(counters, clock, "e", ads, partition="user#v").decision)[0] == 0
    # nobody is known: no cap can be held
    assert [winners(ask(counters, clock, f"f{n}", ads).decision)[0] for n in range(3)] == [0, 0, 0]


def test_without_counters_what_must_be_counted_stays_out() -> None:
    clock = Clock()
    ads = candidates_of(RICH, FREE, FREE | {"frequency_cap": 3, "bid": 5.0})
    found = ask(None, clock, "d", ads, partition="user#u")
    assert winners(found.decision) == {0: 1}
    assert reasons(found.decision) == {0: "ineligible", 2: "ineligible"}
    assert winners(ask(None, clock, "d", ads).decision) == {0: 2}  # a stranger's impressions need not be counted


def test_a_preview_counts_nothing() -> None:
    clock = Clock()
    counters, ads = MemoryBudgets(clock), candidates_of(RICH, FREE)
    for n in range(5):
        assert winners(ask(counters, clock, f"d{n}", ads, preview=True).decision) == {0: 0}


def test_a_repeated_decision_gives_what_was_recorded() -> None:
    clock = Clock()
    counters, asked = MemoryBudgets(clock), question(clock, "d", candidates_of(RICH))
    record = lambda made: f"{made.decision.wins[0].candidate}".encode()  # noqa: E731
    assert isinstance(run_auction(asked, counters, record), AuctionResult)
    assert run_auction(asked, counters, record) == Repeated(b"0")


def test_daily_budgets_begin_anew_at_the_shops_midnight() -> None:
    zone = ZoneInfo("America/New_York")
    clock = Clock(datetime(2026, 11, 1, 3, 30, tzinfo=UTC).timestamp())  # 31 October, 23:30 there
    counters, ads = MemoryBudgets(clock), candidates_of(RICH | {"budget_period": "day"}, FREE)

    def shows(times: int) -> int:
        options = {"zone": zone, "control": None}
        return sum(winners(ask(counters, clock, f"{clock.now}-{n}", ads, **options).decision)[0] == 0 for n in range(times))

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
    counters, ads = MemoryBudgets(clock), candidates_of({"bid": 10.0, "billing": "cpm", "budget": 0.96} | day, FREE)
    found = []
    for n in range(30):
        found.append(ask(counters, clock, f"d{n}", ads).decision)
        clock.go_on(30)
    # a quarter of an hour's plan is .01, one impression
    assert sum(winners(one)[0] == 0 for one in found) == 2
    assert reasons(found[5]) == {0: "paced"}


def test_after_many_refusals_what_is_counted_is_left_to_others() -> None:
    class Crowded(MemoryBudgets):
        """Somebody else is always faster."""

        def commit(self, decision_id: str, charges: Any, *others: Any) -> Any:
            return Refused(spent=(charges[0].account.key,))

    clock = Clock()
    ads = candidates_of(*[RICH | {"bid": 10.0 + n} for n in range(12)], FREE)
    found = ask(Crowded(clock), clock, "d", ads)
    assert found.rounds == ROUNDS + 1
    assert winners(found.decision) == {0: 12}
    assert set(reasons(found.decision).values()) == {"budget_spent"}


def test_counters_that_refuse_a_cap_at_the_last_moment() -> None:
    class Late(MemoryBudgets):
        def shown(self, partition: str) -> dict[str, int]:
            return {}  # read before somebody else's impression was counted

        def commit(self, decision_id: str, charges: Any, viewer: Any = None, shown: Any = (), run_auction: bytes = b"") -> Any:
            return Refused(capped=("a0",)) if "a0" in shown else super().commit(decision_id, charges, viewer, shown)

    clock = Clock()
    ads = candidates_of(FREE | {"bid": 9.0, "frequency_cap": 1}, FREE)
    found = ask(Late(clock), clock, "d", ads, partition="user#u")
    assert (winners(found.decision), reasons(found.decision)) == ({0: 1}, {0: "frequency_cap"})


@pytest.mark.parametrize("stated", [{}, {"ends_at": 1_900_000_000}, {"starts_at": 1_700_000_000}])
def test_a_flight_without_both_ends_is_not_paced(stated: Mapping[str, int]) -> None:
    clock = Clock()
    counters, ads = MemoryBudgets(clock), candidates_of(RICH | stated, FREE)
    assert [winners(ask(counters, clock, f"d{n}", ads).decision)[0] for n in range(4)] == [0, 0, 0, 1]
