"""A decision that counts: decided, its money and impressions committed, and decided again without what was refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Protocol

import numpy as np

from personalization.ads.auction import Decision, decide
from personalization.ads.budgets.accounts import (
    Account,
    BudgetStatus,
    CappedUser,
    Charge,
    Committed,
    Outcome,
    Refused,
    Repeated,
    to_money,
    to_nanos,
)
from personalization.ads.candidates import CampaignBudget, Candidates
from personalization.ads.eligibility import Limits, LossReason, ineligible
from personalization.ads.exploration import Exploration, generator
from personalization.ads.pacing import Control, Pace, Traffic, pace
from personalization.ads.slots import PositionModel, Slot
from personalization.ads.terms import BILLINGS, CPM, FREQUENCY_CAP, INELIGIBLE, Auction, Billing
from personalization.ads.valuation import Valuation
from personalization.core.time import DAY_MS, DAY_SECONDS

# A decision is made anew without what was refused; after this many times all campaigns with a budget stay out of it.
ROUNDS: Final = 5
# Counters are kept for as long after a flight, so that its spending can still be looked at.
KEPT_DAYS: Final = 90


class Counters(Protocol):
    """Budgets and frequency caps, wherever they are kept (`personalization.ads.budgets`)."""

    def standings(self, accounts: Iterable[Account]) -> dict[tuple[str, str], BudgetStatus]: ...

    def shown(self, partition: str) -> dict[str, int]: ...

    def commit(
        self, decision_id: str, charges: Sequence[Charge], viewer: CappedUser | None = ..., shown: Sequence[str] = ...,
        answer: bytes = ...,
    ) -> Outcome: ...  # fmt: skip


@dataclass(frozen=True)
class AuctionRequest:
    """Everything a decision depends on, but for what is used up.

    partition           key of the user's or session's state, `None`: nobody is known, no caps are held
    conversion_days     for which a paid conversion is waited for (the bundle's attribution window)
    zone                the shop's time zone, for days
    preview             decide as if, count nothing
    """

    decision_id: str
    candidates: Candidates
    worth: Valuation
    slots: Sequence[Slot]
    limits: Limits
    positions: PositionModel = field(default_factory=PositionModel)
    exploration: Exploration = field(default_factory=Exploration)
    auction: Auction = "second_price"
    control: Control | None = "shade"
    traffic: Traffic = field(default_factory=Traffic)
    partition: str | None = None
    conversion_days: float = 7.0
    zone: tzinfo = UTC
    preview: bool = False


@dataclass(frozen=True)
class AuctionResult:
    """decision   as it stands
    charges    what its winners cost, by candidate
    rounds     how often it was made
    """

    decision: Decision
    charges: Mapping[int, Charge]
    rounds: int


def run_auction(
    question: AuctionRequest, counters: Counters | None, record: Callable[[AuctionResult], bytes] = lambda answer: b""
) -> AuctionResult | Repeated:
    """Decide and commit. Without `counters` campaigns that have a budget, and ads that have a cap, stay out.

    record   what is to be stored with the decision, for a call that repeats it

    Raises what the counters raise (`StateUnavailable`).
    """
    candidates, limits, paces = question.candidates, question.limits, dict[str, Pace]()
    accounts = {stated.campaign_id: _account(stated, question) for stated in candidates.budgets()}
    caps = {} if question.partition is None else _caps(candidates)
    if counters is not None and accounts:
        standings = counters.standings([account for account, _ in accounts.values()])
        spent = [word for word, (account, _) in accounts.items() if standings[account.key].spent]
        limits = replace(limits, spent=[*limits.spent, *spent])
        paces = {word: _pace(standings[account.key], account, span, question) for word, (account, span) in accounts.items()}
    if counters is not None and question.partition is not None and caps:
        limits = replace(limits, shown=counters.shown(question.partition))
    barred: set[str] = set()
    rounds = 0
    while True:
        rounds += 1
        refused = _refused(question, limits, barred, uncounted=counters is None, budgets=accounts, caps=caps)
        decision = decide(
            candidates, question.worth, refused, question.slots, generator(question.decision_id),
            positions=question.positions, paces=paces, exploration=question.exploration, auction=question.auction,
        )  # fmt: skip
        made = AuctionResult(decision, _charges(decision, question, accounts), rounds)
        counted = [ad for ad in (candidates.ad_id[win.candidate] for win in decision.wins) if ad in caps]
        if counters is None or question.preview or not (made.charges or counted):
            return made
        viewer = None if question.partition is None else CappedUser(question.partition, caps)
        outcome = counters.commit(question.decision_id, list(made.charges.values()), viewer, counted, record(made))
        match outcome:
            case Committed():
                return made
            case Repeated():
                return outcome
            case Refused():
                last = rounds >= ROUNDS  # so many others decide at the same time: leave what is counted to them
                limits = replace(limits, spent=[*limits.spent, *(accounts if last else (key[0] for key in outcome.spent))])
                barred.update(caps if last else outcome.capped)


def _refused(
    question: AuctionRequest,
    limits: Limits,
    barred: set[str],
    *,
    uncounted: bool,
    budgets: Mapping[str, object],
    caps: Mapping[str, int],
) -> list[LossReason | None]:
    candidates = question.candidates
    out = ineligible(candidates, question.worth, limits)
    for row, ad_id in enumerate(candidates.ad_id):
        if out[row] is not None:
            continue
        if ad_id in barred:
            out[row] = LossReason(FREQUENCY_CAP, "shown as often as allowed, a moment ago")
        elif uncounted and candidates.campaigns[candidates.campaign[row]] in budgets:
            out[row] = LossReason(INELIGIBLE, "its budget cannot be counted now")
        elif uncounted and ad_id in caps:
            out[row] = LossReason(INELIGIBLE, "its impressions cannot be counted now")
    return out


def _charges(
    decision: Decision, question: AuctionRequest, accounts: Mapping[str, tuple[Account, tuple[int, int] | None]]
) -> dict[int, Charge]:
    """What each winner of a campaign with a budget costs it. An own ad's cost is charged like an impression's price."""
    candidates, out = question.candidates, {}
    for win in decision.wins:
        campaign = candidates.campaigns[candidates.campaign[win.candidate]]
        if campaign in accounts:
            billing: Billing = BILLINGS[int(candidates.billing[win.candidate])] if question.worth.paid else CPM
            window = round(question.conversion_days * DAY_MS) if billing == "cpa" else 0
            out[win.candidate] = Charge(
                candidates.ad_id[win.candidate],
                accounts[campaign][0],
                billing,
                to_nanos(win.price),
                to_nanos(win.charge),
                window,
            )
    return out


def _account(stated: CampaignBudget, question: AuctionRequest) -> tuple[Account, tuple[int, int] | None]:
    """A campaign's account now, and the span over which its money is to last, `None` where that has no end."""
    now = question.limits.now_ms
    span = None
    period = ""
    if stated.daily:
        day = datetime.fromtimestamp(now / 1000, question.zone).replace(hour=0, minute=0, second=0, microsecond=0)
        following = (day + timedelta(days=1, hours=6)).replace(hour=0)  # a day of 23 or 25 hours ends at midnight too
        span = (int(day.timestamp() * 1000), int(following.timestamp() * 1000))
        period = day.date().isoformat()
    elif stated.ends_at is not None and stated.starts_at is not None and stated.starts_at < stated.ends_at:
        span = (stated.starts_at, stated.ends_at)
    last = span[1] if span else now + 365 * DAY_MS
    # To the month: an open flight's expiry would otherwise differ from call to call.
    expires_at = (last // DAY_MS // 30 + 1) * 30 * DAY_SECONDS + KEPT_DAYS * DAY_SECONDS
    return Account(stated.campaign_id, to_nanos(stated.money), expires_at, period), span


def _pace(standing: BudgetStatus, account: Account, span: tuple[int, int] | None, question: AuctionRequest) -> Pace:
    if span is None or question.control is None:
        return Pace()
    spent, money = to_money(standing.committed), to_money(account.budget)
    return pace(spent, money, question.traffic, span[0], span[1], question.limits.now_ms, question.control)


def _caps(candidates: Candidates) -> dict[str, int]:
    return {ad_id: int(cap) for ad_id, cap in zip(candidates.ad_id, candidates.frequency_cap, strict=True) if np.isfinite(cap)}
