"""Features of the ads model: a user at a moment, an ad, the place, and what the user and the ad have in common.

The same functions build the rows of a training log (`impression_columns`), of a dropped file and of one request
(`feature_columns`). Each row is an ad shown to a user at a moment; it uses only events before that moment.

Columns: features of the user by their names, attributes of the users table as ``user.<name>``, columns of the ads table as
``ad.<name>``, the place as `CONTEXT_FEATURES`, and `USER_AD_CROSS_FEATURES`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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

CONTEXT_FEATURES: Final[dict[str, str]] = {
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
# Columns that a shop changes at will and that no user sees. A predicted rate must not depend on them.
NON_FEATURE_COLUMNS: Final = frozenset(
    {"bid", "value", "cost", "billing", "budget", "budget_period", "frequency_cap", "evidence", "starts_at", "ends_at"}
)
_EVENTS_AT_ONCE: Final = 1_000_000  # a user's history counts once for each of the user's moments
_TIME_BITS: Final = 42  # of milliseconds up to 2100

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class RequestContext:
    """V users, each at a moment.

    moments           (V,) milliseconds
    columns           (V,) each: features and attributes of the users
    category_shares   by row
    recent            events within the history window; `Events.user` is the row
    """

    moments: NDArray[np.int64]
    columns: Mapping[str, Any]
    category_shares: CategoryShares
    recent: Events

    def __len__(self) -> int:
        return len(self.moments)


@dataclass(frozen=True)
class AdFeatures:
    """A ads.

    categories      (A,) words of each; an ad may have several
    items           (A,) ids of the items that each advertises
    starts, ends    (A,) milliseconds, `MISSING_TIME` where open
    columns         (A,) each: columns of the ads table, by their names in the model
    """

    categories: Sequence[Sequence[str]]
    items: Sequence[Sequence[str]]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    columns: TableColumns = field(default_factory=dict)

    @classmethod
    def from_table(
        cls, table: TableColumns, rows: int, lists: Mapping[str, Sequence[str]] | None = None, zone: tzinfo = UTC
    ) -> AdFeatures:
        """From columns of the ads table, `rows` long each.

        lists   vocabulary by column, for columns whose cells are lists (``12|45``): each word becomes a column of 0 and 1
        zone    of times without an offset
        """
        empty: list[Any] = [None] * rows
        columns: dict[str, Sequence[Any] | NDArray[Any]] = {}
        for name, content in table.items():
            if name in NON_FEATURE_COLUMNS:
                continue
            if lists and name in lists:
                words = [set(split_list(word)) for word in cells.words(content)]
                columns |= {f"{AD_PREFIX}{name}={word}": [float(word in row) for row in words] for word in lists[name]}
            else:
                columns[AD_PREFIX + name] = content
        return cls(
            [split_list(word) for word in cells.words(table.get("category", empty))],
            [split_list(word) for word in cells.words(table.get("item_id", empty))],
            cells.timestamps(table.get("starts_at", empty), zone)[0],
            cells.timestamps(table.get("ends_at", empty), zone)[0],
            columns,
        )


@dataclass(frozen=True)
class ImpressionRows:
    """N impressions.

    user, ad             (N,) int codes into the events' users and into the ads
    moment               (N,) milliseconds
    exposure             counts of the user's earlier impressions, by row
    placement, channel   (N,) words or None
    """

    user: NDArray[np.int64]
    ad: NDArray[np.int64]
    moment: NDArray[np.int64]
    exposure: Exposure
    placement: Sequence[Any]
    channel: Sequence[Any]


def split_list(word: str | None) -> list[str]:
    """The parts of a cell that may be a list (``12|45``)."""
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
    """Features of V users, each from events before a moment.

    events       of V users
    moments      (V,) milliseconds; events at the moment itself are not used
    evicted      sums over events that state no longer holds, (V,) each
    attributes   columns of the users table, (V,) each
    """
    before = moments - 1
    columns: dict[str, Any] = dict(features.compute(events, before, window, zone, evicted))
    columns |= {ATTRIBUTE_PREFIX + name: content for name, content in (attributes or {}).items()}
    recent = features.truncate_to_window(features.events_known_at(events, before), before, window)
    return RequestContext(moments, columns, features.category_shares(recent), recent)


def feature_columns(
    context: RequestContext,
    ads: AdFeatures,
    user: NDArray[np.int64],
    ad: NDArray[np.int64],
    exposure: Exposure,
    zone: tzinfo = UTC,
    placement: Sequence[Any] | None = None,
    channel: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """Columns of N rows, as the model's encoder takes them.

    user, ad             (N,) indices of rows of `context` and of `ads`
    exposure             counts of the user's earlier impressions, by row
    zone                 of hours and weekdays
    placement, channel   (N,) cells; a missing channel is the ad's own
    """
    rows = len(user)
    moments = context.moments[user]
    columns: dict[str, Any] = {name: _take(content, user) for name, content in context.columns.items()}
    columns |= {name: _take(content, ad) for name, content in ads.columns.items()}
    empty = [None] * rows
    channels = zip(columns.get(AD_PREFIX + "channel", empty), empty if channel is None else channel, strict=True)
    columns |= time_columns(moments, zone)
    columns |= {
        "placement": empty if placement is None else placement,
        "channel": [own if cell is None else cell for own, cell in channels],
        "ad.age_days": _days_between(ads.starts[ad], moments),
        "ad.left_days": _days_between(moments, ads.ends[ad]),
        "ad.flight_days": _days_between(ads.starts[ad], ads.ends[ad]),
    }
    return columns | _affinity(context, ads, user, ad) | exposure.columns(moments)


def time_columns(moments: NDArray[np.int64], zone: tzinfo) -> dict[str, NDArray[np.float64]]:
    """Hour and weekday of N moments in milliseconds."""
    local = local_time(moments, zone)
    return {"hour": hour_of_day(local).astype(np.float64), "weekday": weekday(local).astype(np.float64)}


def impression_columns(
    impressions: ImpressionRows,
    events: Events,
    attributes: Mapping[str, NDArray[Any]],
    ads: AdFeatures,
    window: HistoryWindow,
    zone: tzinfo,
) -> Columns:
    """Columns of N impressions of many users at many moments: `feature_columns` in chunks of bounded memory.

    attributes   columns of the users table, one cell for each of the events' users

    The columns are float32 or object, (N,) each.
    """
    order = np.lexsort((impressions.moment, impressions.user))
    user, ad, moment = impressions.user[order], impressions.ad[order], impressions.moment[order]
    placement, channel = _take(impressions.placement, order), _take(impressions.channel, order)
    events = events.sorted()
    first_of_view = np.ones(len(user), dtype=bool)  # a view is a user at a moment
    first_of_view[1:] = (np.diff(user) != 0) | (np.diff(moment) != 0)
    view = np.cumsum(first_of_view) - 1
    view_user, view_moment = user[first_of_view], moment[first_of_view]
    first = events.offsets()[view_user]
    # User and time fit into one number, so that one search finds the end of what lies before each moment.
    keys = (events.user.astype(np.int64) << _TIME_BITS) | events.timestamp
    end = np.searchsorted(keys, (view_user << _TIME_BITS) | view_moment)
    chunks = []
    for start, stop in _view_chunks(end - first):
        histories = _histories(events, first[start:stop], end[start:stop])
        of_users = {name: content[view_user[start:stop]] for name, content in attributes.items()}
        context = request_context(histories, view_moment[start:stop], window, zone, attributes=of_users)
        rows = slice(int(np.searchsorted(view, start)), int(np.searchsorted(view, stop)))
        exposure = impressions.exposure.take(order[rows])
        columns = feature_columns(context, ads, view[rows] - start, ad[rows], exposure, zone, placement[rows], channel[rows])
        chunks.append({name: _compact(content) for name, content in columns.items()})
    back = np.argsort(order)
    return {name: np.concatenate([chunk[name] for chunk in chunks])[back] for name in chunks[0]} if chunks else {}


def _affinity(
    context: RequestContext, ads: AdFeatures, user: NDArray[np.int64], ad: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """How much of the users' events and purchases concerns the ads' categories and items."""
    events, shares, rows = context.recent, context.category_shares, len(context)
    category = CsrMatrix.from_lists(ads.categories, _codes(events.categories))
    item = CsrMatrix.from_lists(ads.items, _codes(events.items))

    def by_user(row: NDArray[Any], code: NDArray[Any], value: NDArray[np.float64], like: CsrMatrix) -> CsrMatrix:
        return CsrMatrix.from_entries(row.astype(np.int64), code.astype(np.int64), value, rows, like.columns)

    share_row = np.repeat(np.arange(rows), np.diff(shares.offsets))
    category_share = dot(by_user(share_row, shares.code, shares.share, category), category, user, ad)
    item_events = dot(by_user(events.user, events.item, np.ones(len(events)), item), item, user, ad)
    item_purchases = dot(by_user(events.user, events.item, is_purchase(events).astype(np.float64), item), item, user, ad)
    no_category = np.array([not words for words in ads.categories], dtype=bool)[ad]
    no_item = np.array([not words for words in ads.items], dtype=bool)[ad]
    no_shares = np.diff(shares.offsets)[user] == 0
    return {
        "pair.category_share": np.where(no_category | no_shares, np.nan, category_share),
        "pair.item_events": np.where(no_item, np.nan, item_events),
        "pair.item_purchases": np.where(no_item, np.nan, item_purchases),
    }


def _view_chunks(sizes: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Bounds of runs of views with about `_EVENTS_AT_ONCE` events (and at most as many views) each."""
    bounds = np.concatenate([[0], np.cumsum(sizes + 1)])
    start = 0
    while start < len(sizes):
        stop = max(start + 1, int(np.searchsorted(bounds, bounds[start] + _EVENTS_AT_ONCE, side="right")) - 1)
        yield start, stop
        start = stop


def _histories(events: Events, first: NDArray[np.int64], end: NDArray[np.int64]) -> Events:
    """The events of each view, as those of a user of its own."""
    count = end - first
    view = np.repeat(np.arange(len(first)), count)
    rows = np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum())
    return replace(events.take(rows), user=view.astype(np.int32), users=[""] * len(first))


def _compact(content: Any) -> NDArray[Any]:
    """Numbers as float32, which is what the network gets; anything else as objects."""
    if isinstance(content, np.ndarray) and content.dtype.kind in "fiub":
        return content.astype(np.float32)
    column = np.empty(len(content), dtype=object)
    column[:] = content
    return column


def _codes(words: Sequence[str]) -> dict[str, int]:
    return {word: code for code, word in enumerate(words)}


def _take(content: Any, rows: NDArray[np.int64]) -> Any:
    """The cells at these rows, of a column of any kind."""
    if isinstance(content, np.ndarray):
        return content[rows]
    return [content[row] for row in rows.tolist()]


def _days_between(start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.float64]:
    """Days from `start` to `end`, NaN where either is missing."""
    complete = (start != MISSING_TIME) & (end != MISSING_TIME)
    return np.where(complete, (np.where(complete, end, 0) - np.where(complete, start, 0)) / DAY_MS, np.nan)
