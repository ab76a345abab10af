"""What the model of ads sees: a user as known at a moment, an ad, the place, and what lies between the two.

The same code describes the rows of a training log, of a dropped file and of one request. A row is an ad shown to a *view*: a
user at a moment, before whatever happened then.

Columns: the features of the user by their names, attributes of the users table as ``user.<name>``, columns of the ads table as
``ad.<name>``, the place as `CONTEXT`, and `USER_AD_CROSS_FEATURES` the user and the ad.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization import features
from personalization.ads.exposure import Exposure
from personalization.core import cells
from personalization.core.csr import CsrMatrix, dot
from personalization.core.encoder import TableColumns
from personalization.core.events import Events
from personalization.core.time import DAY_MS, MISSING_TIME, hour_of_day, local_time, weekday
from personalization.features import CategoryShares, HistoryWindow, Lifetime
from personalization.features.orders import is_purchase
from personalization.profiles.predict import ATTRIBUTE_PREFIX

AD_PREFIX: Final = "ad."
LIST_SEPARATOR: Final = "|"

CONTEXT: Final[dict[str, str]] = {
    "hour": "hour of the day, in the shop's zone",
    "weekday": "weekday (Monday 0)",
    "placement": "placement",
    "channel": "channel",
}
USER_AD_CROSS_FEATURES: Final[dict[str, str]] = {
    "pair.category_share": "share of the ad's category in what the user buys (or views)",
    "pair.item_events": "events with the ad's items",
    "pair.item_purchases": "purchases of the ad's items",
    "pair.seen": "times the user saw the ad",
    "pair.clicked": "times the user clicked the ad",
    "pair.converted": "conversions of the user after the ad",
    "pair.seen_days": "days since the user last saw the ad",
    "ads.seen": "ads the user saw",
    "ads.clicked": "ads the user clicked",
    "ads.converted": "conversions of the user after any ad",
    "ads.click_rate": "share of seen ads that the user clicked",
    "ads.conversion_rate": "share of seen ads after which the user converted",
    "ad.age_days": "days since the ad's flight began",
    "ad.left_days": "days until the ad's flight ends",
    "ad.flight_days": "days of the ad's flight",
}
# What a shop changes at will, and no shopper sees: these must not decide what a click is worth.
NON_FEATURE_COLUMNS: Final = frozenset(
    {"bid", "value", "cost", "billing", "budget", "budget_period", "frequency_cap", "evidence", "starts_at", "ends_at"}
)


@dataclass(frozen=True)
class RequestContext:
    """V users, each at a moment.

    moments      (V,) milliseconds
    columns      (V,) each: features and attributes
    shares       of categories, by view
    recent       their events within the window; `users` stand for views
    """

    moments: NDArray[np.int64]
    columns: Mapping[str, Any]
    shares: CategoryShares
    recent: Events

    def __len__(self) -> int:
        return len(self.moments)


@dataclass(frozen=True)
class Ads:
    """A ads.

    ids             (A,) words
    categories      (A,) words of each; an ad may have several
    items           (A,) ids of the items that each is for
    starts, ends    (A,) milliseconds, `MISSING_TIME` where open
    columns         (A,) each: columns of the ads table, under their names in the model
    """

    ids: Sequence[str | None]
    categories: Sequence[Sequence[str]]
    items: Sequence[Sequence[str]]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    columns: TableColumns = field(default_factory=dict)

    @classmethod
    def from_table(
        cls, table: TableColumns, rows: int, lists: Mapping[str, Sequence[str]] | None = None, zone: tzinfo = UTC
    ) -> Ads:
        """From columns of the ads table, `rows` long each.

        lists   words by column, for columns whose cells are lists (``12|45``): each word becomes a column of 0 and 1
        """
        empty: list[Any] = [None] * rows
        columns: dict[str, Sequence[Any] | NDArray[Any]] = {}
        for name, content in table.items():
            if name in NON_FEATURE_COLUMNS:
                continue
            if lists and name in lists:
                parts = [set(split(cell)) for cell in content]
                columns |= {f"{AD_PREFIX}{name}={word}": [float(word in part) for part in parts] for word in lists[name]}
            else:
                columns[AD_PREFIX + name] = content
        return cls(
            cells.words(table.get("ad_id", empty)),
            [split(cell) for cell in table["category"]] if "category" in table else [()] * rows,
            [split(cell) for cell in table["item_id"]] if "item_id" in table else [()] * rows,
            cells.timestamps(table.get("starts_at", empty), zone)[0],
            cells.timestamps(table.get("ends_at", empty), zone)[0],
            columns,
        )


def split(cell: Any) -> list[str]:
    """The words of a cell that may be a list."""
    word = cells.word(cell)
    if word is None or LIST_SEPARATOR not in word:
        return [] if word is None else [word]
    return [part for text in word.split(LIST_SEPARATOR) if (part := text.strip())]


def request_context(
    events: Events,
    moments: NDArray[np.int64],
    window: HistoryWindow,
    zone: tzinfo = UTC,
    evicted: Lifetime | None = None,
    attributes: TableColumns | None = None,
) -> RequestContext:
    """Users as they were known just before a moment each.

    events       of V users
    moments      (V,) milliseconds; what happened then is not seen
    evicted      sums over events that state no longer holds, (V,) each
    attributes   columns of the users table, (V,) each
    """
    before = moments - 1
    columns: dict[str, Any] = dict(features.compute(events, before, window, zone, evicted))
    columns |= {ATTRIBUTE_PREFIX + name: content for name, content in (attributes or {}).items()}
    recent = features.truncate_to_window(features.events_known_at(events, before), before, window)
    return RequestContext(moments, columns, features.category_shares(recent), recent)


def describe(
    seen: RequestContext,
    ads: Ads,
    view: NDArray[np.int64],
    ad: NDArray[np.int64],
    exposure: Exposure,
    zone: tzinfo = UTC,
    placement: Sequence[Any] | None = None,
    channel: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """Columns of N rows, as the model's encoder takes them.

    view, ad             (N,) indices
    exposure             what the user had to do with ads before, by row
    placement, channel   (N,) cells of the place; without a channel it is the ad's
    """
    rows = len(view)
    moments = seen.moments[view]
    local = local_time(moments, zone)
    columns: dict[str, Any] = {name: _picked(content, view) for name, content in seen.columns.items()}
    columns |= {name: _picked(content, ad) for name, content in ads.columns.items()}
    own_channel = columns.get(AD_PREFIX + "channel", [None] * rows)
    columns |= {
        "hour": hour_of_day(local).astype(np.float64),
        "weekday": weekday(local).astype(np.float64),
        "placement": [None] * rows if placement is None else placement,
        "channel": [own if given is None else given for own, given in zip(own_channel, channel or [None] * rows, strict=True)],
        "ad.age_days": _days(moments, ads.starts[ad]),
        "ad.left_days": _days(ads.ends[ad], moments),
        "ad.flight_days": _days(ads.ends[ad], ads.starts[ad]),
    }
    return columns | _affinity(seen, ads, view, ad) | exposure.columns(moments)


def _affinity(seen: RequestContext, ads: Ads, view: NDArray[np.int64], ad: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """How much the users like what the ads are about."""
    events, shares, rows = seen.recent, seen.shares, len(seen)
    of_share = np.repeat(np.arange(rows), np.diff(shares.offsets))
    category = CsrMatrix.from_lists(ads.categories, _code_of(events.categories))
    item = CsrMatrix.from_lists(ads.items, _code_of(events.items))
    bought = is_purchase(events).astype(np.float64)
    ones = np.ones(len(events))

    def table(row: NDArray[Any], code: NDArray[Any], value: NDArray[np.float64], like: CsrMatrix) -> CsrMatrix:
        return CsrMatrix.from_entries(row.astype(np.int64), code.astype(np.int64), value, rows, like.columns)

    nameless = np.array([not words for words in ads.categories], dtype=bool)[ad]
    itemless = np.array([not words for words in ads.items], dtype=bool)[ad]
    nothing = np.diff(shares.offsets)[view] == 0
    liked = dot(table(of_share, shares.code, shares.share, category), category, view, ad)
    touched = dot(table(events.user, events.item, ones, item), item, view, ad)
    purchases = dot(table(events.user, events.item, bought, item), item, view, ad)
    return {
        "pair.category_share": np.where(nameless | nothing, np.nan, liked),
        "pair.item_events": np.where(itemless, np.nan, touched),
        "pair.item_purchases": np.where(itemless, np.nan, purchases),
    }


def _code_of(words: Sequence[str]) -> dict[str, int]:
    return {word: code for code, word in enumerate(words)}


def _picked(content: Any, rows: NDArray[np.int64]) -> Any:
    """The cells at these rows, of a column of any kind."""
    if isinstance(content, np.ndarray):
        return content[rows]
    return [content[row] for row in rows.tolist()]


def _days(moment: NDArray[np.int64], since: NDArray[np.int64]) -> NDArray[np.float64]:
    """Days from `since` to `moment`, NaN where either is not known."""
    known = (moment != MISSING_TIME) & (since != MISSING_TIME)
    return np.where(known, (np.where(known, moment, 0) - np.where(known, since, 0)) / DAY_MS, np.nan)
