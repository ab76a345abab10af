"""Delivery: what budgets and frequency caps leave for a decision, and the commit of what it uses up.

`load_delivery` reads the counters, `commit` stores a decision. A refused commit changes the delivery's limits
(`Delivery.after`), and the auction is run again. After `MAX_ATTEMPTS` everything that must be counted is left to the other
requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final

import numpy as np

from personalization.ads.auction import AuctionRequest, AuctionResult
from personalization.ads.budgets.accounts import (
    Account,
    BudgetStatus,
    CappedUser,
    Charge,
    CommitOutcome,
    Committed,
    Refused,
    to_money,
    to_nanos,
)
from personalization.ads.budgets.store import Budgets
from personalization.ads.candidates import BILLINGS, CPA, CPM, Billing, CampaignBudget, Candidates
from personalization.ads.eligibility import Limits
from personalization.ads.pacing import Control, Pace, Traffic, pace
from personalization.core.time import DAY_MS, DAY_SECONDS

MAX_ATTEMPTS: Final = 5
_KEPT_DAYS: Final = 90  # counters are kept this long after a flight, so that its spending can be inspected


@dataclass(frozen=True)
class Delivery:
    """What the counters leave for one decision.

    limits     of the request, with impressions, spent campaigns and capped ads
    accounts   by campaign, of those with a budget
    caps       by ad, of those with a frequency cap; empty for an unknown user
    paces      by campaign
    attempt    number of refused commits
    """

    limits: Limits
    accounts: Mapping[str, Account]
    caps: Mapping[str, int]
    paces: Mapping[str, Pace] = field(default_factory=dict)
    attempt: int = 0

    def after(self, refused: Refused) -> Delivery:
        """The delivery for the next attempt, without what was refused."""
        attempt = self.attempt + 1
        last = attempt >= MAX_ATTEMPTS
        spent = self.accounts if last else (campaign_id for campaign_id, _ in refused.spent)
        capped = self.caps if last else refused.capped
        limits = replace(self.limits, spent=[*self.limits.spent, *spent], capped=[*self.limits.capped, *capped])
        return replace(self, limits=limits, attempt=attempt)


def load_delivery(request: AuctionRequest, budgets: Budgets | None) -> Delivery:
    """Read the status of budgets and frequency caps. Without `budgets` campaigns with a budget and ads with a cap are blocked.

    Raises `StateUnavailable`.
    """
    limits, now_ms = request.limits, request.limits.now_ms
    accounts = {stated.campaign_id: account_of(stated, now_ms, request.zone) for stated in request.candidates.budgets()}
    caps = {} if request.partition is None else _caps(request.candidates)
    if budgets is None:
        limits = replace(limits, uncounted_campaigns=frozenset(accounts), uncounted_ads=frozenset(caps))
        return Delivery(limits, accounts, caps)
    paces: dict[str, Pace] = {}
    if accounts:
        statuses = budgets.statuses(accounts.values())
        spent = [campaign_id for campaign_id, account in accounts.items() if statuses[account.key].spent]
        limits = replace(limits, spent=[*limits.spent, *spent])
        if request.control is not None:
            paces = {
                campaign_id: _pace(account, statuses[account.key], now_ms, request.traffic, request.control)
                for campaign_id, account in accounts.items()
            }
    if request.partition is not None and caps:
        limits = replace(limits, impressions=budgets.impressions(request.partition))
    return Delivery(limits, accounts, caps, paces)


def charges_of(request: AuctionRequest, delivery: Delivery, result: AuctionResult) -> dict[int, Charge]:
    """Charges of winners whose campaign has a budget, by candidate. An own ad's cost is charged like a price of cpm."""
    candidates, charges = request.candidates, {}
    for win in result.wins:
        account = delivery.accounts.get(candidates.campaign_of(win.candidate))
        if account is not None:
            billing: Billing = BILLINGS[int(candidates.billing[win.candidate])] if request.valuation.paid else CPM
            window_ms = round(request.conversion_days * DAY_MS) if billing == CPA else 0
            ad_id = candidates.ad_id[win.candidate]
            charges[win.candidate] = Charge(ad_id, account, billing, to_nanos(win.price), to_nanos(win.charge), window_ms)
    return charges


def commit(
    request: AuctionRequest,
    delivery: Delivery,
    result: AuctionResult,
    charges: Mapping[int, Charge],
    budgets: Budgets | None,
    response: Mapping[str, Any],
) -> CommitOutcome:
    """Store the decision with its response, its charges and the impressions of capped ads, if there is anything to count.

    Raises `StateUnavailable`.
    """
    ads = [ad_id for ad_id in (request.candidates.ad_id[win.candidate] for win in result.wins) if ad_id in delivery.caps]
    if budgets is None or request.preview or not (charges or ads):
        return Committed()
    user = None if request.partition is None else CappedUser(request.partition, delivery.caps)
    return budgets.commit(request.decision_id, list(charges.values()), user, ads, response)


def account_of(stated: CampaignBudget, now_ms: int, zone: tzinfo) -> Account:
    """A campaign's account at a moment. A daily budget has one account a day, of the shop's time zone."""
    span: tuple[int, int] | None = None
    period = ""
    if stated.daily:
        day = datetime.fromtimestamp(now_ms / 1000, zone).replace(hour=0, minute=0, second=0, microsecond=0)
        next_day = (day + timedelta(days=1, hours=6)).replace(hour=0)  # midnight also after a day of 23 or 25 hours
        span = (int(day.timestamp() * 1000), int(next_day.timestamp() * 1000))
        period = day.date().isoformat()
    elif stated.ends_at is not None and stated.starts_at is not None and stated.starts_at < stated.ends_at:
        span = (stated.starts_at, stated.ends_at)
    last = span[1] if span else now_ms + 365 * DAY_MS
    # In steps of 30 days: the expiry of a flight without an end would otherwise differ from call to call.
    expires_at = (last // DAY_MS // 30 + 1) * 30 * DAY_SECONDS + _KEPT_DAYS * DAY_SECONDS
    return Account(stated.campaign_id, to_nanos(stated.money), expires_at, period, span)


def _pace(account: Account, status: BudgetStatus, now_ms: int, traffic: Traffic, control: Control) -> Pace:
    if account.span is None:
        return Pace()
    return pace(to_money(status.committed), to_money(account.budget), traffic, *account.span, now_ms, control)


def _caps(candidates: Candidates) -> dict[str, int]:
    return {ad_id: int(cap) for ad_id, cap in zip(candidates.ad_id, candidates.frequency_cap, strict=True) if np.isfinite(cap)}
