"""The ads that compete for a slot, in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from personalization.core import cells
from personalization.core.categorical import Vocabulary
from personalization.core.encoder import TableColumns
from personalization.core.errors import Fault, InvalidInput
from personalization.core.schema import MAX_ID_LENGTH
from personalization.core.time import MISSING_TIME

Billing = Literal["cpm", "cpc", "cpa"]
CPM: Final = "cpm"  # the bid pays for 1,000 impressions
CPC: Final = "cpc"  # for a click
CPA: Final = "cpa"  # for a conversion
BILLINGS: Final[tuple[Billing, ...]] = (CPM, CPC, CPA)

MAX_MONEY: Final = 1e12  # of a bid, a value or a budget: sums stay finite, and fit into counters of nanos

_NUMBERS: Final = ("bid", "value", "cost", "discount", "budget", "frequency_cap", "evidence")
_TIMES: Final = ("starts_at", "ends_at")
_WORDS: Final = ("ad_id", "campaign_id", "billing", "budget_period", "channel")
_BUDGET_PERIODS: Final = (None, "day", "flight")
_BILLING_CODE: Final[dict[str, int]] = {word: code for code, word in enumerate(BILLINGS)}


@dataclass(frozen=True)
class Candidates:
    """N ads of C campaigns. Money is in units of the shop's currency; numbers are float64, NaN where missing.

    ad_id           (N,) different ids
    campaign        (N,) int32 codes into `campaigns`
    campaigns       (C,) ids
    billing         (N,) int8 codes into `BILLINGS`: what the bid is paid for
    bid             (N,) for 1,000 impressions (cpm), a click (cpc) or a conversion (cpa)
    value           (N,) value of a conversion
    cost, discount  (N,) what an impression costs the shop, and what each conversion under this ad costs it (a coupon)
    budget          (N,) of the campaign; the smallest one that its ads state counts
    daily           (N,) whether the budget is for each day, not for the flight (`budget_period`: day or flight)
    frequency_cap   (N,) impressions of the ad that one user may see within the frequency window
    evidence        (N,) impressions that the ad has had, for exploration
    starts_at, ends_at   (N,) milliseconds, `MISSING_TIME` where open; the end is not part of the flight
    channel         (N,) words, None where the ad fits any channel
    """

    ad_id: list[str]
    campaign: NDArray[np.int32]
    campaigns: list[str]
    billing: NDArray[np.int8]
    bid: NDArray[np.float64]
    value: NDArray[np.float64]
    cost: NDArray[np.float64]
    discount: NDArray[np.float64]
    budget: NDArray[np.float64]
    daily: NDArray[np.bool_]
    frequency_cap: NDArray[np.float64]
    evidence: NDArray[np.float64]
    starts_at: NDArray[np.int64]
    ends_at: NDArray[np.int64]
    channel: list[str | None]

    def __len__(self) -> int:
        return len(self.ad_id)

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]], zone: tzinfo = UTC) -> Candidates:
        """Candidates from rows of the ads table; see `from_columns`."""
        names = dict.fromkeys(name for row in rows for name in row)
        return cls.from_columns({name: [row.get(name) for row in rows] for name in names}, len(rows), zone)

    @classmethod
    def from_columns(cls, table: TableColumns, rows: int, zone: tzinfo = UTC) -> Candidates:
        """Candidates from columns of the ads table, `rows` long each. Other columns are features, and ignored here.

        zone   of times without an offset

        Without `billing` a bid is for a click, and a value without a bid for a conversion. Raises `InvalidInput` with a pointer
        ``/candidates/<row>/<column>`` for each cell that is not valid, and for each repeated ad.
        """
        faults: list[Fault] = []
        columns: dict[str, Any] = {name: np.full(rows, np.nan) for name in _NUMBERS}
        columns |= {name: np.full(rows, MISSING_TIME) for name in _TIMES}
        for name in (name for name in _NUMBERS if name in table):
            content = table[name]
            columns[name], bad = cells.numbers(content)
            faults += [_fault(row, name, "a number", content[row]) for row in bad]
            beyond = np.flatnonzero((columns[name] < 0) | (columns[name] > MAX_MONEY)).tolist()
            faults += [_fault(row, name, f"0 to {MAX_MONEY:g}", content[row]) for row in beyond]
        for name in (name for name in _TIMES if name in table):
            content = table[name]
            columns[name], bad = cells.timestamps(content, zone)
            faults += [_fault(row, name, "a date or time", content[row]) for row in bad]
        words: dict[str, list[str | None]] = {
            name: cells.words(table[name]) if name in table else [None] * rows for name in _WORDS
        }
        faults += _id_faults(words["ad_id"], words["campaign_id"])
        faults += [
            _fault(row, "budget_period", "day or flight", word)
            for row, word in enumerate(words["budget_period"])
            if word not in _BUDGET_PERIODS
        ]
        billing = np.where(np.isnan(columns["bid"]), _BILLING_CODE[CPA], _BILLING_CODE[CPC]).astype(np.int8)
        for row, word in enumerate(words["billing"]):
            if word is not None:
                billing[row] = _BILLING_CODE.get(word.lower(), -1)
        faults += [
            _fault(row, "billing", f"one of {', '.join(BILLINGS)}", words["billing"][row])
            for row in np.flatnonzero(billing < 0).tolist()
        ]
        if faults:
            raise InvalidInput(f"{len(faults)} cells of the candidates are not valid", faults)
        campaigns = Vocabulary()
        return cls(
            ad_id=[str(word) for word in words["ad_id"]],
            campaign=campaigns.codes(words["campaign_id"]),
            campaigns=campaigns.words,
            billing=billing,
            daily=np.array([word == "day" for word in words["budget_period"]], dtype=bool),
            channel=words["channel"],
            **columns,
        )

    def campaign_of(self, row: int) -> str:
        """Id of a candidate's campaign."""
        return self.campaigns[int(self.campaign[row])]

    def budgets(self) -> list[CampaignBudget]:
        """The campaigns with a budget. A campaign is in flight while any of its ads is."""
        count = len(self.campaigns)
        money, daily = np.full(count, np.inf), np.zeros(count, dtype=bool)
        starts, ends = np.full(count, np.iinfo(np.int64).max), np.full(count, np.iinfo(np.int64).min)
        open_end = np.zeros(count, dtype=bool)
        np.minimum.at(money, self.campaign, np.nan_to_num(self.budget, nan=np.inf))
        np.logical_or.at(daily, self.campaign, self.daily)
        np.minimum.at(starts, self.campaign, self.starts_at)  # an open start is the smallest number
        np.maximum.at(ends, self.campaign, self.ends_at)
        np.logical_or.at(open_end, self.campaign, self.ends_at == MISSING_TIME)
        return [
            CampaignBudget(
                self.campaigns[code],
                float(money[code]),
                bool(daily[code]),
                None if starts[code] == MISSING_TIME else int(starts[code]),
                None if open_end[code] else int(ends[code]),
            )
            for code in np.flatnonzero(np.isfinite(money))
        ]


@dataclass(frozen=True, slots=True)
class CampaignBudget:
    """money                budget of the flight, or of each day where `daily`, in units of currency
    starts_at, ends_at   of the flight in milliseconds, `None` where open
    """

    campaign_id: str
    money: float
    daily: bool
    starts_at: int | None
    ends_at: int | None


def _id_faults(ad_ids: Sequence[str | None], campaigns: Sequence[str | None]) -> list[Fault]:
    faults: list[Fault] = []
    first: dict[str, int] = {}
    for row, (ad_id, campaign) in enumerate(zip(ad_ids, campaigns, strict=True)):
        if ad_id is None or len(ad_id) > MAX_ID_LENGTH:
            faults.append(_fault(row, "ad_id", f"the id of an ad, at most {MAX_ID_LENGTH} characters", ad_id))
        elif first.setdefault(ad_id, row) != row:
            faults.append(Fault(f"/candidates/{row}/ad_id", f"expected each ad once; candidate {first[ad_id]} has the same id"))
        if campaign is None or len(campaign) > MAX_ID_LENGTH:
            faults.append(_fault(row, "campaign_id", f"the id of a campaign, at most {MAX_ID_LENGTH} characters", campaign))
    return faults


def _fault(row: int, column: str, expected: str, received: Any) -> Fault:
    return Fault(f"/candidates/{row}/{column}", f"expected {expected}, received {received!r:.60}")
