"""Pacing over a simulated day: what is spent when, what it is worth, and that no budget is exceeded.

    python -m benchmarks.ads_pacing [--requests 20000] [--days 3]

Everything runs through the code that serves, on counters that follow the rules of the table in DynamoDB. Traffic differs from
its forecast by up to 30 % in every hour. Half of the campaigns have about half the money that they could win places for, the
others enough. Clicks come after a minute in the mean. The hindsight optimum is the linear programme that knows all requests
of the day beforehand.
"""

from __future__ import annotations

import argparse
import heapq
import sys
import time
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

from benchmarks.report import publish
from personalization.ads.auction import AuctionRequest
from personalization.ads.budgets.accounts import Account, Repeated, to_money, to_nanos
from personalization.ads.candidates import CPC, CPM, Candidates
from personalization.ads.eligibility import Limits
from personalization.ads.pacing import Control, Traffic
from personalization.ads.predict import PredictedRates
from personalization.ads.valuation import Slot, value_paid
from personalization.core.time import DAY_SECONDS
from tests.ad_factory import decide
from tests.memory_budgets import MemoryBudgets

MIDNIGHT: Final = 1_790_035_200  # a Tuesday, 00:00 UTC
CAMPAIGNS: Final = 10
HOURS: Final = 1 + 0.8 * np.sin((np.arange(24) - 9) / 24 * 2 * np.pi)  # most at three in the afternoon
FORECAST: Final = Traffic(np.tile(HOURS, 7).tolist())

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Day:
    """seconds    (N,) of the requests, ascending
    click      (N, C) P(click | seen) of each campaign's ad
    eligible   (N, C) whether it may be shown there
    bid, billing, budget   (C,)
    """

    seconds: Numbers
    click: Numbers
    eligible: NDArray[np.bool_]
    bid: Numbers
    billing: list[str]
    budget: Numbers

    @property
    def worth(self) -> Numbers:
        """(N, C) expected revenue of an impression."""
        cpm = np.array([word == CPM for word in self.billing])
        return np.where(cpm, self.bid / 1000, self.bid * self.click) * self.eligible

    @property
    def short(self) -> NDArray[np.bool_]:
        """(C,) campaigns with less money than they could spend."""
        return np.arange(len(self.bid)) < len(self.bid) // 2


def a_day(requests: int, random: np.random.Generator) -> Day:
    """A day of traffic; what each campaign would win without budgets says what about half of it is."""
    counts = random.poisson(requests * HOURS / HOURS.sum() * (1 + random.uniform(-0.3, 0.3, 24)))
    seconds = np.concatenate([3600 * (hour + np.sort(random.random(n))) for hour, n in enumerate(counts)])
    shape = (len(seconds), CAMPAIGNS)
    click = np.clip(0.15 * np.exp(0.6 * random.standard_normal(shape) - 0.18), 0.001, 0.9)
    billing = [CPM if n % 4 == 1 else CPC for n in range(CAMPAIGNS)]
    bid = np.exp(0.3 * random.standard_normal(CAMPAIGNS)) * np.where([word == CPM for word in billing], 200.0, 1.0)
    day = Day(seconds, click, random.random(shape) < 0.6, bid, billing, np.full(CAMPAIGNS, np.inf))
    best = day.worth.argmax(axis=1)
    won = np.bincount(best, weights=day.worth.max(axis=1), minlength=CAMPAIGNS) * requests / len(seconds)
    budget = np.where(day.short, won * random.uniform(0.4, 0.65, CAMPAIGNS), won.sum())
    return replace(day, budget=budget)


@dataclass(frozen=True)
class Spent:
    """value       expected revenue of all impressions shown
    committed   (24, C) money settled and reserved at the end of each hour
    settled     (C,) money charged in the end
    """

    value: float
    committed: Numbers
    settled: Numbers


def spend(day: Day, control: Control | None, random: np.random.Generator) -> Spent:
    """Serve the day."""
    now = [float(MIDNIGHT)]
    counters = MemoryBudgets(lambda: now[0])
    rows = [
        {"ad_id": f"a{c}", "campaign_id": f"c{c}", "bid": day.bid[c], "billing": day.billing[c], "budget": day.budget[c],
         "starts_at": MIDNIGHT, "ends_at": MIDNIGHT + DAY_SECONDS}
        for c in range(CAMPAIGNS)
    ]  # fmt: skip
    ads, slots = Candidates.from_rows(rows), [Slot("s")]
    value, settled, committed = 0.0, np.zeros(CAMPAIGNS), np.zeros((24, CAMPAIGNS))
    clicks: list[tuple[float, str, int]] = []
    hour = 0
    accounts = [Account(f"c{c}", to_nanos(day.budget[c]), 0) for c in range(CAMPAIGNS)]

    def until(moment: float) -> None:
        """Settle the clicks that come before a moment."""
        while clicks and clicks[0][0] <= moment:
            now[0], decision_id, c = heapq.heappop(clicks)
            settled[c] += to_money(counters.settle(decision_id, f"a{c}", CPC).billed)
        now[0] = moment

    def close(last: int) -> None:
        nonlocal hour
        while hour < last:
            until(MIDNIGHT + (hour + 1) * 3600)
            statuses = counters.statuses(accounts)
            committed[hour] = [to_money(statuses[one.key].committed) for one in accounts]
            hour += 1

    for n, second in enumerate(day.seconds):
        close(int(second // 3600))
        until(MIDNIGHT + second)
        valuation = value_paid(ads, PredictedRates(day.click[n], day.click[n]))
        limits = Limits(int(now[0] * 1000), excluded=[f"a{c}" for c in np.flatnonzero(~day.eligible[n])])
        request = AuctionRequest(
            f"d{n}", ads, valuation, slots, limits, pricing="first_price", control=control, traffic=FORECAST
        )
        decided = decide(request, counters)
        assert not isinstance(decided, Repeated)
        result, charges, _ = decided
        for win in result.wins:
            value += win.expected_value
            c = win.candidate
            if day.billing[c] == CPM:
                settled[c] += to_money(charges[c].expected)
            elif random.random() < day.click[n, c]:
                heapq.heappush(clicks, (now[0] + random.exponential(60.0), f"d{n}", c))
    close(24)
    return Spent(value, committed, settled)


def hindsight(day: Day) -> float:
    """The most that could have been earned by who knew the whole day: a linear programme over (request, campaign)."""
    rows, columns = np.nonzero(day.worth)
    worth = day.worth[rows, columns]
    places = np.arange(len(rows))
    once = sparse.csr_matrix((np.ones(len(rows)), (rows, places)), shape=(len(day.seconds), len(rows)))
    money = sparse.csr_matrix((worth, (columns, places)), shape=(CAMPAIGNS, len(rows)))
    bounds = np.concatenate([np.ones(len(day.seconds)), day.budget])
    solved = linprog(-worth, A_ub=sparse.vstack([once, money]), b_ub=bounds, bounds=(0, 1), method="highs-ipm")
    return float(-solved.fun)


def compare_controls(requests: int, days: int) -> list[dict[str, Any]]:
    """Each way of pacing over the same days."""
    plan = np.cumsum(HOURS / HOURS.sum())[:, None]
    rows: dict[str, dict[str, Any]] = {}
    controls: dict[str, Control | None] = {"no pacing": None, "throttle": "throttle", "shade (default)": "shade"}
    for seed in range(days):
        day = a_day(requests, np.random.default_rng(seed))
        best = hindsight(day)
        for name, control in controls.items():
            started = time.perf_counter()
            spent = spend(day, control, np.random.default_rng(100 + seed))
            seconds = time.perf_counter() - started
            behind = np.diff(spent.committed - plan * day.budget, axis=0, prepend=0.0)[:, day.short] / day.budget[day.short]
            ahead = (spent.committed - plan * day.budget)[:, day.short] / day.budget[day.short]
            cpm = np.array([word == CPM for word in day.billing]) & day.short
            row = rows.setdefault(name, {"pacing": name})
            for key, value, worst in (
                ("value / hindsight", spent.value / best, min),
                ("max hourly |spend − plan| / budget", float(np.abs(behind).max()), max),
                ("max |spent − planned so far| / budget", float(np.abs(ahead).max()), max),
                ("max CPM settled / budget", float((spent.settled / day.budget)[cpm].max()), max),
                ("ms a decision", seconds / len(day.seconds) * 1000, max),
            ):
                row[key] = value if key not in row else worst(row[key], value)
    return list(rows.values())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--days", type=int, default=3)
    options = parser.parse_args([] if arguments is None else arguments)
    publish(
        "ads_pacing",
        f"Pacing, {options.days} days of about {options.requests:,} requests, {CAMPAIGNS} campaigns (the worst of the days)",
        compare_controls(options.requests, options.days),
        [
            "value: expected revenue, first price. Deviations: campaigns with less money than they could spend.",
            "Aims: value ≥ .95, hourly deviation ≤ .05, CPM settled ≤ budget.",
        ],
    )


if __name__ == "__main__":
    main(sys.argv[1:])
