"""How far a budget paid by the click is overspent, when clicks come after what was shown for them.

    python -m benchmarks.ads_overspend [--campaigns 200]

Counters follow the rules of the table in DynamoDB.
"""

from __future__ import annotations

import argparse
import heapq
import sys
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import publish
from personalization.ads.budgets.accounts import Account, Charge, Committed, to_money, to_nanos
from personalization.ads.candidates import CPC
from personalization.ads.pacing import Traffic, pace
from personalization.core.time import DAY_SECONDS
from tests.memory_budgets import MemoryBudgets

MIDNIGHT: Final = 1_790_035_200  # a Tuesday, 00:00 UTC

Numbers = NDArray[np.float64]


def click_overspend(
    campaigns: int, clicks: int, seconds: float, paced: bool, random: np.random.Generator
) -> tuple[Numbers, Numbers]:
    """One campaign paid by the click, alone on its traffic of so many seconds, again and again.

    Answers billed / budget − 1 and delivered / budget − 1 of each: clicks that came when no money was left are delivered, and
    nobody pays for them.
    """
    overspent = []
    for _ in range(campaigns):
        now = [float(MIDNIGHT)]
        counters = MemoryBudgets(lambda: now[0])  # noqa: B023 – used within the turn of the loop
        account = Account("c", to_nanos(float(clicks)), 0)
        billed = unbilled = 0
        waiting: list[tuple[float, str]] = []
        # Twice the traffic that the budget needs, evenly over the day.
        for n, second in enumerate(np.sort(random.random(round(clicks / 0.1 * 2))) * seconds):
            while waiting and waiting[0][0] <= MIDNIGHT + second:
                now[0], decision_id = heapq.heappop(waiting)
                settlement = counters.settle(decision_id, "a", CPC)
                billed, unbilled = billed + (settlement.billed > 0), unbilled + (settlement.billed == 0)
            now[0] = MIDNIGHT + second
            chance = float(np.clip(0.1 * np.exp(0.5 * random.standard_normal() - 0.125), 0.001, 0.9))
            charge = Charge("a", account, CPC, to_nanos(1.0), to_nanos(chance))
            if paced:
                spent = to_money(counters.statuses([account])["c", ""].committed)
                moment = int(now[0] * 1000)
                part = pace(
                    spent, float(clicks), Traffic(), MIDNIGHT * 1000, (MIDNIGHT + DAY_SECONDS) * 1000, moment, "throttle"
                )
                if random.random() >= part.participation:
                    continue
            if isinstance(counters.commit(f"d{n}", [charge]), Committed) and random.random() < chance:
                heapq.heappush(waiting, (now[0] + random.exponential(60.0), f"d{n}"))
        for moment_, decision_id in sorted(waiting):
            now[0] = moment_
            settlement = counters.settle(decision_id, "a", CPC)
            billed, unbilled = billed + (settlement.billed > 0), unbilled + (settlement.billed == 0)
        overspent.append((billed / clicks - 1, (billed + unbilled) / clicks - 1))
    return np.array(overspent)[:, 0], np.array(overspent)[:, 1]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--campaigns", type=int, default=200, help="simulated campaigns paid by the click")
    options = parser.parse_args([] if arguments is None else arguments)
    rows = []
    for name, seconds, paced in (
        ("paced over a day", DAY_SECONDS, True), ("over half a day", DAY_SECONDS, False), ("within ten minutes", 600, False)
    ):  # fmt: skip
        billed, delivered = click_overspend(options.campaigns, 400, seconds, paced, np.random.default_rng(7))
        rows.append(
            {"spent": name, "campaigns": len(billed), "max billed / budget − 1": float(billed.max()),
             "mean delivered / budget − 1": float(delivered.mean()), "p .99": float(np.quantile(delivered, 0.99))}
        )  # fmt: skip
    publish(
        "ads_overspend",
        "Overspending of a budget of 400 clicks, which come after a minute in the mean",
        rows,
        [
            "Clicks beyond the budget are delivered and not billed. Aim: p .99 ≤ .01.",
            "What was reserved for clicks that do not come is free again after half an hour: at the end of a flight, and in a",
            "burst, some of it is never spent.",
        ],
    )


if __name__ == "__main__":
    main(sys.argv[1:])
