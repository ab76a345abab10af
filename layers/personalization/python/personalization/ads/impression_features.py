"""Many users at many moments: each described as known just before each of the impressions that they had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.ads.exposure import Exposure
from personalization.ads.features import Ads, describe, request_context
from personalization.core.events import Events
from personalization.features import HistoryWindow

# Events that are described at a time, each user's history once for every moment of theirs.
EVENTS_AT_ONCE: Final = 1_000_000
_TIME_BITS: Final = 42  # of milliseconds up to 2100

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Shown:
    """N impressions.

    user, ad             (N,) int codes into the events' users and into the ads
    moment               (N,) milliseconds
    exposure             what the user had to do with ads before, by row
    placement, channel   (N,) words or None
    """

    user: NDArray[np.int64]
    ad: NDArray[np.int64]
    moment: NDArray[np.int64]
    exposure: Exposure
    placement: Sequence[Any]
    channel: Sequence[Any]


def describe_rows(
    shown: Shown, events: Events, attributes: Mapping[str, NDArray[Any]], ads: Ads, window: HistoryWindow, zone: tzinfo
) -> Columns:
    """Columns of the impressions, float32 or object, as the model's encoder takes them; (N,) each.

    attributes   columns of the users table, one cell for each of the events' users
    """
    order = np.lexsort((shown.moment, shown.user))
    user, ad, moment = shown.user[order], shown.ad[order], shown.moment[order]
    placement, channel = ([content[row] for row in order.tolist()] for content in (shown.placement, shown.channel))
    events = events.sorted()
    fresh = np.ones(len(user), dtype=bool)
    fresh[1:] = (np.diff(user) != 0) | (np.diff(moment) != 0)
    view = np.cumsum(fresh) - 1
    whose, when = user[fresh], moment[fresh]
    first = events.offsets()[whose]
    # One number for a user and a time finds the end of what lies before each moment.
    keys = (events.user.astype(np.int64) << _TIME_BITS) | events.timestamp
    end = np.searchsorted(keys, (whose << _TIME_BITS) | when)
    parts = []
    for start, stop in _chunks(end - first):
        known = {name: content[whose[start:stop]] for name, content in attributes.items()}
        seen = request_context(
            _histories(events, first[start:stop], end[start:stop]), when[start:stop], window, zone, attributes=known
        )
        rows = slice(int(np.searchsorted(view, start)), int(np.searchsorted(view, stop)))
        exposure = shown.exposure.take(order[rows])
        columns = describe(seen, ads, view[rows] - start, ad[rows], exposure, zone, placement[rows], channel[rows])
        parts.append({name: _compact(content) for name, content in columns.items()})
    back = np.argsort(order)
    return {name: np.concatenate([part[name] for part in parts])[back] for name in parts[0]} if parts else {}


def _chunks(sizes: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Bounds of runs of views with about `EVENTS_AT_ONCE` events (and at most as many views) each."""
    bounds = np.concatenate([[0], np.cumsum(sizes + 1)])
    start = 0
    while start < len(sizes):
        stop = max(start + 1, int(np.searchsorted(bounds, bounds[start] + EVENTS_AT_ONCE, side="right")) - 1)
        yield start, stop
        start = stop


def _histories(events: Events, first: NDArray[np.int64], end: NDArray[np.int64]) -> Events:
    """The events of each view, as those of users of their own."""
    count = end - first
    view = np.repeat(np.arange(len(first)), count)
    rows = np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum())
    return replace(events.take(rows), user=view.astype(np.int32), users=[""] * len(first))


def _compact(content: Any) -> NDArray[Any]:
    """Numbers as the network sees them, anything else as objects."""
    if isinstance(content, np.ndarray) and content.dtype.kind in "fiub":
        return content.astype(np.float32)
    out = np.empty(len(content), dtype=object)
    out[:] = content
    return out
