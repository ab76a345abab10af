"""The ads steps of the tour: coupons for a household, an auction until a budget is spent, a plan."""

from __future__ import annotations

import csv
import gzip
from typing import Any, Final

from local.tour.context import Tour, UnexpectedResponse
from local.tour.terminal import pick

_CAMPAIGNS: Final = 4
_COPIED: Final = ("ad_id", "campaign_id", "creative", "channel", "coupons", "products")
_WORTH: Final = {"value": 5.0, "cost": 0.05}  # of a redeemed coupon to the shop, and of a letter
_BUDGET: Final = 2.0  # five times the first bid
_CPM: Final = (400.0, 250.0)  # what the two campaigns of the auction bid for a thousand impressions
_MOST_CALLS: Final = 12


def coupons(tour: Tour) -> None:
    tour.terminal.note("Coupon campaigns for the same customer: the expected value of each, and the winner")
    response = tour.call(
        "POST", "/v1/ads/score", {"user_id": _household(tour), "objective": "own", "candidates": _campaigns(tour)}
    )
    winner = response["slots"][0]["winner"]
    if winner is None:
        tour.terminal.note("No campaign is worth the cost of a letter.")
    winners = [] if winner is None else [winner | {"reason": "wins", "detail": ""}]
    rows = [
        [str(ad["ad_id"]), f"{ad.get('pconversion', 0.0):.4f}", f"{ad.get('expected_value', 0.0):+.4f}", ad["reason"]]
        for ad in [*winners, *response["losers"]]
    ]
    tour.terminal.table([["campaign", "redeems", "expected value", ""], *rows])
    tour.terminal.value(pick(response, ("decision_id", "basis", "exploration", "degraded", "degraded_reason")))


def budget(tour: Tour) -> None:
    """The same request until one campaign's money is spent."""
    campaigns = [
        {
            **pick(ad, _COPIED),
            "ad_id": f"paid-{ad['ad_id']}",
            "campaign_id": f"paid-{ad['campaign_id']}",
            "bid": bid,
            "billing": "cpm",
        }
        for ad, bid in zip(_campaigns(tour), _CPM, strict=False)
    ]
    campaigns[0]["budget"] = _BUDGET
    body = {"user_id": _household(tour), "candidates": campaigns, "pacing": "off", "auction": "first_price"}
    tour.terminal.note(f"Two campaigns that pay for impressions; the one that bids more has {_BUDGET:.2f} left to spend:")
    rows = [["call", "winner", "price of 1,000", "loser", "reason"]]
    for call in range(1, _MOST_CALLS + 1):
        send = tour.call if call == 1 else tour.request
        response = send("POST", "/v1/ads/score", body)
        winner, loser = response["slots"][0]["winner"], response["losers"][0]
        rows.append([str(call), winner["ad_id"], f"{winner['price']:.0f}", loser["ad_id"], loser["reason"]])
        if winner["ad_id"] != campaigns[0]["ad_id"]:
            tour.terminal.table(rows)
            return
    raise UnexpectedResponse(f"the budget of {_BUDGET} was not spent after {_MOST_CALLS} calls: {rows}")


def plan(tour: Tour) -> None:
    ads = _campaigns(tour)
    body = {
        "user_id": _household(tour), "ad": {**ads[0], "ad_id": "next-letter"}, "hours": 72, "step": 6, "k": 3,
        "creatives": sorted({ad["creative"] for ad in ads}), "objective": "own",
    }  # fmt: skip
    response = tour.call("POST", "/v1/ads/plan", body)
    tour.terminal.value(pick(response, ("cells", "mean_expected_value", "best")))


def _campaigns(tour: Tour) -> list[dict[str, Any]]:
    """The campaigns with the most products, one of each kind first; without their flights, which have ended."""
    assert tour.tables is not None
    with gzip.open(tour.tables.ads, "rt", encoding="utf-8", newline="") as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: -int(row.get("products") or 0))
    first = {row["creative"]: row for row in reversed(rows)}.values()
    chosen = [*first, *(row for row in rows if row not in first)][:_CAMPAIGNS]
    return [{**pick(row, _COPIED), **_WORTH} for row in chosen]


def _household(tour: Tour) -> str:
    assert tour.dropped is not None
    return tour.dropped.household
