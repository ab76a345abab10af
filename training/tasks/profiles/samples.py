"""Samples of the profile training: features of each user at a cut, with the labels after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import tzinfo
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personalization import features
from personalization.core.events import Events
from personalization.features import HistoryWindow
from training.io.point_in_time import Cut, received_before
from training.tasks.profiles.labels import Labels, PurchaseLines, first_baskets, label_users


@dataclass(frozen=True)
class SampleSpec:
    """Features and labels at every cut.

    days         ends of the label intervals after the cut, ascending
    horizon      one of them: spend is counted, and the headline probability predicted, up to it
    window       the history that features see
    zone         the shop's time zone
    categories   those that are predicted for the next basket
    attributes   further columns by name, (U,) each: those of the users table
    """

    days: tuple[int, ...]
    horizon: int
    window: HistoryWindow
    zone: tzinfo
    categories: Sequence[str]
    attributes: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Sample:
    """N rows: a user at a cut.

    user      (N,) code into `Events.users`
    cut       (N,) milliseconds
    columns   features by name, (N,) each
    labels    of the rows
    baskets   (N, categories) whether a category is in the first basket after the cut
    """

    user: NDArray[np.int64]
    cut: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]
    labels: Labels
    baskets: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: NDArray[Any]) -> Sample:
        """The rows at these indices or under this mask."""
        return _combined([self], lambda values: values[0][rows])


class Sampler:
    """Samples of one set of events, which is sorted and searched for purchases once."""

    def __init__(self, events: Events, spec: SampleSpec) -> None:
        self._events = events.sorted()
        self._spec = spec
        self._lines = PurchaseLines.from_events(self._events, spec.categories)

    def sample(self, cut: Cut) -> Sample:
        """One row for each user with an event that was received before the cut."""
        events, spec, users = self._events, self._spec, len(self._events.users)
        # `compute` sees events up to a time, a cut those before it: an event at midnight belongs to the day that begins.
        columns = features.compute(events, cut.time - 1, spec.window, spec.zone)
        # The network takes float32, and many cuts of many users are many rows.
        columns = {name: c.astype(np.float32) if c.dtype.kind == "f" else c for name, c in columns.items()}
        labels = label_users(self._lines, users, cut, spec.days, spec.horizon)
        baskets = first_baskets(self._lines, labels, len(spec.categories))
        everyone = Sample(np.arange(users), np.full(users, cut.time), columns | dict(spec.attributes), labels, baskets)
        has_history = received_before(events.timestamp, events.received_at, cut.time)
        return everyone.take(np.unique(events.user[has_history]))


def stack(samples: Sequence[Sample]) -> Sample:
    """The rows of several cuts, one after the other."""
    return _combined(samples, np.concatenate)


def _combined(samples: Sequence[Sample], combine: Callable[[list[NDArray[Any]]], NDArray[Any]]) -> Sample:
    """A sample whose every array is made from that of each sample."""
    return Sample(
        combine([s.user for s in samples]),
        combine([s.cut for s in samples]),
        {name: combine([s.columns[name] for s in samples]) for name in samples[0].columns},
        Labels(**{f.name: combine([getattr(s.labels, f.name) for s in samples]) for f in fields(Labels)}),
        combine([s.baskets for s in samples]),
    )
