"""From impressions to the rows that a network learns from: each user described as known just before each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.advertising.describing import Ads, describe, views
from personalization.advertising.exposure import Exposure, ExposureLog
from personalization.events import Events
from personalization.features import Window
from training.ads.impressions import Impressions

# Events that are described at a time, each user's history once for every moment of theirs.
EVENTS_AT_ONCE: Final = 1_000_000
_TIME_BITS: Final = 42  # of milliseconds up to 2100

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Histories:
    """What is known of the users of a log.

    events       of the log's users, in the log's order of users
    attributes   columns of the users table, (U,) each
    ads          in the log's order of ads
    exposures    the whole log, for what users had seen before
    """

    events: Events
    attributes: Mapping[str, NDArray[Any]]
    ads: Ads
    exposures: ExposureLog
    window: Window
    zone: tzinfo


def described(log: Impressions, histories: Histories) -> Columns:
    """Columns of the impressions of `log`, float32 or object, as the model's encoder takes them."""
    order = np.lexsort((log.moment, log.user))
    log = log.take(order)
    exposure = histories.exposures.before(log.user, log.ad, log.moment)
    events = histories.events.sorted()
    fresh = np.ones(len(log), dtype=bool)
    fresh[1:] = (np.diff(log.user) != 0) | (np.diff(log.moment) != 0)
    view = np.cumsum(fresh) - 1
    user, moment = log.user[fresh], log.moment[fresh]
    first = events.offsets()[user]
    # One number for a user and a time finds the end of what lies before each moment.
    keys = (events.user.astype(np.int64) << _TIME_BITS) | events.timestamp
    end = np.searchsorted(keys, (user << _TIME_BITS) | moment)
    parts = []
    for start, stop in _chunks(end - first):
        chosen = _histories(events, first[start:stop], end[start:stop])
        attributes = {name: content[user[start:stop]] for name, content in histories.attributes.items()}
        seen = views(chosen, moment[start:stop], histories.window, histories.zone, attributes=attributes)
        rows = slice(int(np.searchsorted(view, start)), int(np.searchsorted(view, stop)))
        columns = describe(
            seen, histories.ads, view[rows] - start, log.ad[rows], _part(exposure, rows), histories.zone,
            log.placement[rows].tolist(), log.channel[rows].tolist(),
        )  # fmt: skip
        parts.append({name: _compact(content) for name, content in columns.items()})
    back = np.argsort(order)
    return {name: np.concatenate([part[name] for part in parts])[back] for name in parts[0]}


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


def _part(exposure: Exposure, rows: slice) -> Exposure:
    return Exposure(**{name: getattr(exposure, name)[rows] for name in Exposure.__dataclass_fields__})


def _compact(content: Any) -> NDArray[Any]:
    """Numbers as the network sees them, anything else as objects."""
    if isinstance(content, np.ndarray) and content.dtype.kind in "fiub":
        return content.astype(np.float32)
    out = np.empty(len(content), dtype=object)
    out[:] = content
    return out
