"""Rows to learn from: features of each user at a cut, with what happened afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import tzinfo
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personalization import features
from personalization.core.events import Events
from personalization.features import Window
from training.io.point_in_time import Cut
from training.tasks.profiles.labels import Labels, first_baskets, label, purchases_of

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class LabelSpec:
    """What is asked at every cut.

    days          ends of the intervals after the cut, ascending
    horizon       one of them: spend is counted, and the headline probability given, up to it
    window        the history that features see
    zone          the shop's time zone
    categories    those that are predicted for the next basket
    attributes    further columns by name, (U,) each: what the users table says
    """

    days: tuple[int, ...]
    horizon: int
    window: Window
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
    columns: Columns
    labels: Labels
    baskets: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: NDArray[Any]) -> Sample:
        """The rows at these indices or under this mask."""
        return Sample(
            self.user[rows],
            self.cut[rows],
            {name: values[rows] for name, values in self.columns.items()},
            Labels(**{field.name: getattr(self.labels, field.name)[rows] for field in fields(Labels)}),
            self.baskets[rows],
        )


class Sampler:
    """Samples of one set of events, which is sorted and searched for purchases once."""

    def __init__(self, events: Events, question: LabelSpec) -> None:
        self._events = events.sorted()
        self._question = question
        self.purchases = purchases_of(self._events, question.categories)

    def at(self, cut: Cut) -> Sample:
        """One row for each user with an event that was known before the cut."""
        events, question = self._events, self._question
        known = np.zeros(len(events.users), dtype=bool)
        known[events.user[(events.timestamp < cut.time) & (events.received_at < cut.time)]] = True
        users = np.flatnonzero(known)
        # "Up to" in the features is "before" here: an event at midnight belongs to the day that it begins.
        columns = features.compute(events, cut.time - 1, question.window, question.zone)
        # The network sees float32 anyway, and many cuts of many users are many rows.
        columns = {name: c.astype(np.float32) if c.dtype.kind == "f" else c for name, c in columns.items()}
        columns |= question.attributes
        labels = label(self.purchases, len(events.users), cut, question.days, question.horizon)
        everyone = Sample(
            np.arange(len(events.users)),
            np.full(len(events.users), cut.time),
            columns,
            labels,
            first_baskets(self.purchases, labels, len(question.categories)),
        )
        return everyone.take(users)


def stack(samples: Sequence[Sample]) -> Sample:
    """The rows of several cuts, one after the other."""
    first = samples[0]
    return Sample(
        np.concatenate([s.user for s in samples]),
        np.concatenate([s.cut for s in samples]),
        {name: np.concatenate([s.columns[name] for s in samples]) for name in first.columns},
        Labels(**{f.name: np.concatenate([getattr(s.labels, f.name) for s in samples]) for f in fields(Labels)}),
        np.concatenate([s.baskets for s in samples]),
    )
