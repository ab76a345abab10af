"""The words of ad decisions, each said once."""

from __future__ import annotations

from typing import Final, Literal

Billing = Literal["cpm", "cpc", "cpa"]
CPM: Final = "cpm"  # paid for a thousand impressions
CPC: Final = "cpc"  # paid for a click
CPA: Final = "cpa"  # paid for a conversion
BILLINGS: Final[tuple[Billing, ...]] = (CPM, CPC, CPA)

Objective = Literal["paid", "own"]
Auction = Literal["first_price", "second_price"]
Mode = Literal["none", "epsilon", "softmax", "thompson"]

# Why an ad did not win. The first that holds is told, in this order.
INELIGIBLE: Final = "ineligible"
OUT_OF_FLIGHT: Final = "out_of_flight"
FREQUENCY_CAP: Final = "frequency_cap"
BUDGET_SPENT: Final = "budget_spent"
BELOW_FLOOR: Final = "below_floor"
PACED: Final = "paced"
OUTSCORED: Final = "outscored"
REASONS: Final = (INELIGIBLE, OUT_OF_FLIGHT, FREQUENCY_CAP, BUDGET_SPENT, BELOW_FLOOR, PACED, OUTSCORED)

# Limits of one call, published in the API's description.

MAX_SLOTS: Final = 20
MAX_DRAWS: Final = 5_000
MAX_MONEY: Final = 1e12  # of a bid, a value, a budget: sums of them stay numbers, and fit a counter of billionths
MAX_PLAN_CELLS: Final = 5_000
MAX_PLAN_ROWS: Final = 50_000
