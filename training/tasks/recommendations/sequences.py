"""Training sequences: windows of users' histories with, after each item, an item of the next basket."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.time import DAY_MS
from personalization.recommendations.components import padded_codes
from personalization.recommendations.history import InteractionHistory
from training.tasks.recommendations.interaction_log import InteractionLog

# `padded_codes`, and for each place an item of the next basket, int64 (N, L), −1 where padded.
Batch = tuple[dict[str, NDArray[np.int64]], NDArray[np.int64]]
_WIDTHS: Final = (3, 5, 8, 12, 18, 27, 38, 50, 75, 100, 150, 200)


@dataclass(frozen=True)
class SequenceWindows:
    """W stretches of users' interactions, at most `longest` long, each with a next basket after it.

    starts, stops   int64 (W,) rows of the log
    width           int64 (W,) padded length
    """

    log: InteractionLog
    next_start: NDArray[np.int64]
    next_stop: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    width: NDArray[np.int64]

    @property
    def targets(self) -> int:
        return int((self.stops - self.starts).sum())

    def steps(self, targets: int) -> int:
        """Number of `batches`."""
        return sum(1 for _ in self._plan(targets, np.random.default_rng(0)))

    def batches(self, targets: int, random: np.random.Generator) -> Iterator[Batch]:
        """Batches of windows of one width with about `targets` targets each, in random order."""
        plan = self._plan(targets, random)
        for place in random.permutation(len(plan)):
            yield self.batch(plan[place], random)

    def _plan(self, targets: int, random: np.random.Generator) -> list[NDArray[np.int64]]:
        plan: list[NDArray[np.int64]] = []
        for width in np.unique(self.width):
            rows = random.permutation(np.flatnonzero(self.width == width))
            mean = float((self.stops - self.starts)[rows].mean())
            size = max(1, round(targets / mean))
            plan.extend(rows[at : at + size] for at in range(0, len(rows), size))
        return plan

    def batch(self, windows: NDArray[np.int64], random: np.random.Generator) -> Batch:
        width = int(self.width[windows].max())
        lengths = self.stops[windows] - self.starts[windows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        rows = np.arange(offsets[-1]) + np.repeat(self.starts[windows] - offsets[:-1], lengths)
        log = self.log
        newest = np.repeat(log.time[self.stops[windows] - 1], lengths)
        age = ((newest - log.time[rows]) / DAY_MS).astype(np.float32)
        histories = InteractionHistory(log.item[rows], offsets, np.zeros(len(rows), np.int32), age, log.event[rows])
        codes = padded_codes(histories, width, width)
        places = codes["known"] > 0  # row by row and in order, as `rows` are
        low, high = self.next_start[rows], self.next_stop[rows]
        chosen = low + (random.random(len(rows)) * (high - low)).astype(np.int64)
        targets = np.full((len(windows), width), -1, np.int64)
        targets[places] = log.item[np.minimum(chosen, high - 1)]
        return codes, targets


def make_windows(log: InteractionLog, longest: int) -> SequenceWindows:
    """All windows of a log that holds training interactions alone. A user's newest basket is target, never history."""
    user, basket = log.user.astype(np.int64), log.basket.astype(np.int64)
    key = user * (int(basket.max(initial=0)) + 2) + basket
    new = np.ones(len(key), bool)
    new[1:] = key[1:] != key[:-1]
    starts = np.flatnonzero(new)
    bounds = np.append(starts, len(key))
    number = np.cumsum(new) - 1
    after = np.minimum(number + 1, len(starts) - 1)
    has_next = (number + 1 < len(starts)) & (user[starts[after]] == user)
    ends = log.offsets[:-1] + np.bincount(user[has_next], minlength=log.users)
    begin, stop = [], []
    for back in range(int(-(-np.max(ends - log.offsets[:-1], initial=0) // longest))):
        high = ends - back * longest
        users = np.flatnonzero(high > log.offsets[:-1])
        begin.append(np.maximum(log.offsets[users], high[users] - longest))
        stop.append(high[users])
    first = np.concatenate(begin) if begin else np.zeros(0, np.int64)
    last = np.concatenate(stop) if stop else np.zeros(0, np.int64)
    widths = np.array([*(w for w in _WIDTHS if w < longest), longest])
    width = widths[np.searchsorted(widths, last - first)] if len(first) else np.zeros(0, np.int64)
    return SequenceWindows(log, bounds[after], bounds[np.minimum(after + 1, len(starts))], first, last, width)
