"""Training batches of the sequence network: windows of histories with an item of the next basket as each row's target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.time import DAY_MS
from personalization.recommendations.components import padded_codes
from personalization.recommendations.history import InteractionHistory
from training.tasks.recommendations.interaction_log import InteractionLog, row_ranges

# `components.padded_codes` of N windows, and for each position the code of an item of the next basket: int64 (N, L), −1 padded.
SequenceBatch = tuple[dict[str, NDArray[np.int64]], NDArray[np.int64]]
_WIDTHS: Final = (3, 5, 8, 12, 18, 27, 38, 50, 75, 100, 150, 200)


@dataclass(frozen=True)
class SequenceWindows:
    """W windows of consecutive interactions of a user, each followed by another basket.

    next_start, next_stop   int64 (E,) rows of the basket that follows each row of the log
    starts, stops           int64 (W,) rows of the log
    width                   int64 (W,) padded length; windows of one width share batches
    """

    log: InteractionLog
    next_start: NDArray[np.int64]
    next_stop: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    width: NDArray[np.int64]

    @property
    def num_targets(self) -> int:
        return int((self.stops - self.starts).sum())

    def num_batches(self, targets: int) -> int:
        return len(self._plan(targets, np.random.default_rng(0)))

    def batches(self, targets: int, random: np.random.Generator) -> Iterator[SequenceBatch]:
        """All windows once, in random order, in batches of one width with about `targets` targets each."""
        plan = self._plan(targets, random)
        for number in random.permutation(len(plan)):
            yield self._batch(plan[number], random)

    def _plan(self, targets: int, random: np.random.Generator) -> list[NDArray[np.int64]]:
        plan: list[NDArray[np.int64]] = []
        for width in np.unique(self.width):
            windows = random.permutation(np.flatnonzero(self.width == width))
            size = max(1, round(targets / float((self.stops - self.starts)[windows].mean())))
            plan.extend(windows[start : start + size] for start in range(0, len(windows), size))
        return plan

    def _batch(self, windows: NDArray[np.int64], random: np.random.Generator) -> SequenceBatch:
        log, width = self.log, int(self.width[windows].max())
        lengths = self.stops[windows] - self.starts[windows]
        rows = row_ranges(self.starts[windows], lengths)
        newest = np.repeat(log.time[self.stops[windows] - 1], lengths)
        age = ((newest - log.time[rows]) / DAY_MS).astype(np.float32)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        histories = InteractionHistory(log.item[rows], offsets, np.zeros(len(rows), np.int32), age, log.event[rows])
        codes = padded_codes(histories, width, width)
        low, high = self.next_start[rows], self.next_stop[rows]
        drawn = low + (random.random(len(rows)) * (high - low)).astype(np.int64)
        targets = np.full((len(windows), width), -1, np.int64)
        targets[codes["known"] > 0] = log.item[np.minimum(drawn, high - 1)]  # window by window and in order, as `rows`
        return codes, targets


def sequence_windows(log: InteractionLog, longest: int) -> SequenceWindows:
    """All windows of at most `longest` interactions of a log that holds training interactions alone.

    A user's newest basket is a target only and lies in no window.
    """
    starts = np.flatnonzero(log.basket_starts)
    bounds = np.append(starts, len(log))
    following = np.cumsum(log.basket_starts)  # number of the basket after each row's
    after = np.minimum(following, len(starts) - 1)
    has_next = (following < len(starts)) & (log.user[starts[after]] == log.user)
    first = log.offsets[:-1]
    ends = first + np.bincount(log.user[has_next], minlength=log.num_users)
    # Windows are cut from the newest end; the oldest window of a user may be shorter.
    counts = -(-(ends - first) // longest)
    user = np.repeat(np.arange(log.num_users), counts)
    back = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
    order = np.lexsort((user, back))
    user, back = user[order], back[order]
    window_stops = ends[user] - back * longest
    window_starts = np.maximum(first[user], window_stops - longest)
    widths = np.array([*(w for w in _WIDTHS if w < longest), longest])
    width = widths[np.searchsorted(widths, window_stops - window_starts)]
    return SequenceWindows(log, bounds[after], bounds[np.minimum(after + 1, len(starts))], window_starts, window_stops, width)
