"""Splits of the interaction log into training rows and held-out baskets.

``leave-one-out``: each user's last basket is the test target, the one before it the validation target. ``temporal``: a cut
in time; each user's first basket after the cut is the target. A user's first basket is never a target, because no history
precedes it. Some baskets of the training period are held out too: the blend weights are learned on them, so that nothing is
fitted on validation or test baskets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.errors import InvalidInput
from personalization.core.time import DAY_MS
from personalization.features.history_window import HistoryWindow
from personalization.recommendations.history import InteractionHistory
from training.tasks.recommendations.interaction_log import InteractionLog, row_ranges

LEAVE_ONE_OUT: Final = "leave-one-out"
TEMPORAL: Final = "temporal"
_BLEND_SHARE: Final = 0.15  # of the users give a basket to learn the blend on …
_BLEND_USERS: Final = (2_000, 20_000)  # … but at least (where there are so many) and at most these
_SHARE_AFTER_CUT: Final = 0.1  # of the interactions lie after the default test cut, and of the rest after validation's


@dataclass(frozen=True)
class HeldOutBaskets:
    """M target baskets with the histories that precede them.

    users           int64 (M,)
    ends            int64 (M,) the history is the user's rows of the log before this row
    starts, stops   int64 (M,) rows of the target basket, `stops` exclusive
    as_of           int64 (M,) milliseconds, when the prediction is made; None: at the newest interaction of the history
    """

    users: NDArray[np.int64]
    ends: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    as_of: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: NDArray[np.int64]) -> HeldOutBaskets:
        as_of = None if self.as_of is None else self.as_of[rows]
        return HeldOutBaskets(self.users[rows], self.ends[rows], self.starts[rows], self.stops[rows], as_of)

    def sample(self, count: int, seed: int) -> HeldOutBaskets:
        """At most `count` baskets drawn at random, in their order."""
        if len(self) <= count:
            return self
        return self.take(np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False)))

    def histories(self, log: InteractionLog, window: HistoryWindow) -> InteractionHistory:
        return log.histories(self.users, self.ends, self.as_of, window)

    def items(self, log: InteractionLog) -> list[NDArray[np.int32]]:
        """Distinct items of each target basket."""
        return [np.unique(log.item[start:stop]) for start, stop in zip(self.starts, self.stops, strict=True)]


@dataclass(frozen=True)
class RankingSplit:
    """Training rows and held-out baskets.

    train        bool (E,) rows of the log that are trained on
    blend        baskets that the blend weights are learned on
    test         None where nothing is held out for test
    later        a random later basket of each test user (temporal split only)
    """

    train: NDArray[np.bool_]
    blend: HeldOutBaskets
    validation: HeldOutBaskets
    test: HeldOutBaskets | None
    later: HeldOutBaskets | None = None


def leave_one_out(log: InteractionLog, *, test: bool, seed: int) -> RankingSplit:
    """Hold out each user's last baskets: one for test (if asked for), one for validation, one of some users for the blend."""
    counts = log.basket_counts
    train = np.ones(len(log), bool)

    def hold_out(users: NDArray[np.int64], from_end: int) -> HeldOutBaskets:
        baskets = _baskets(log, users, counts[users] - from_end)
        train[row_ranges(baskets.starts, baskets.stops - baskets.starts)] = False
        return baskets

    def with_history(from_end: int) -> NDArray[np.int64]:
        return np.flatnonzero(counts > from_end)

    tests = hold_out(with_history(1), 1) if test else None
    last = 2 if test else 1
    validation = hold_out(with_history(last), last)
    blend = hold_out(_blend_users(with_history(last + 1), seed), last + 1)
    return RankingSplit(train, blend, validation, tests)


def temporal(log: InteractionLog, cutoff: int | None, *, test: bool, seed: int) -> RankingSplit:
    """Hold out by cuts in time: a span before `cutoff` is validation, an equal span before that gives the blend's baskets.

    cutoff   milliseconds; None: a tenth of the interactions lie after it

    Raises `InvalidInput` where no interaction is left to train on.
    """
    cut = _quantile(log.time, 1.0 - _SHARE_AFTER_CUT) if cutoff is None else cutoff
    if not test and cutoff is None:
        cut = int(log.time.max()) + 1
    before = log.time < cut
    if not before.any():
        raise InvalidInput("expected interactions before the cutoff, received none")
    past = cut - int(log.time.min())
    last_tenth = cut - _quantile(log.time[before], 1.0 - _SHARE_AFTER_CUT)
    span = max(min(DAY_MS, past // 5), min(last_tenth, 28 * DAY_MS, past // 3))
    validation_cut, blend_cut = cut - span, cut - 2 * span
    train = log.time < validation_cut
    if not train.any():
        raise InvalidInput("expected interactions earlier than the validation period before the cutoff, received none")
    validation = _first_baskets(log, validation_cut, cut)
    tests = _first_baskets(log, cut, int(log.time.max()) + 1) if test else None
    in_blend = np.zeros(log.num_users, bool)
    in_blend[_blend_users(_first_baskets(log, blend_cut, validation_cut).users, seed)] = True
    held_out = in_blend[log.user] & (log.time >= blend_cut) & train
    later = None if tests is None else _random_later_baskets(log, tests, seed)
    return RankingSplit(train & ~held_out, _baskets_of_rows(log, held_out, seed), validation, tests, later)


def _baskets(log: InteractionLog, users: NDArray[np.int64], numbers: NDArray[np.int64]) -> HeldOutBaskets:
    """The basket with this number of each user as target, everything before it as history."""
    width = int(log.basket.max(initial=0)) + 2
    key = log.user.astype(np.int64) * width + log.basket
    starts = np.searchsorted(key, users * width + numbers)
    stops = np.searchsorted(key, users * width + numbers, side="right")
    return HeldOutBaskets(users, starts, starts, stops)


def _first_baskets(log: InteractionLog, cut: int, limit: int) -> HeldOutBaskets:
    """Each user's first basket in [cut, limit), predicted at `cut`; users without earlier interactions are left out."""
    earlier = np.bincount(log.user, weights=log.time < cut, minlength=log.num_users).astype(np.int64)
    users = np.flatnonzero((earlier > 0) & (earlier < np.diff(log.offsets)))
    ends = log.offsets[users] + earlier[users]
    inside = log.time[ends] < limit
    users, ends = users[inside], ends[inside]
    targets = _baskets(log, users, log.basket[ends].astype(np.int64))
    return HeldOutBaskets(users, ends, ends, targets.stops, np.full(len(users), cut, np.int64))


def _baskets_of_rows(log: InteractionLog, mask: NDArray[np.bool_], seed: int) -> HeldOutBaskets:
    """The baskets of the rows under a mask that have a history, predicted when each began; some at random of very many."""
    rows = np.flatnonzero(mask)
    user, basket = log.user[rows].astype(np.int64), log.basket[rows].astype(np.int64)
    first = np.ones(len(rows), bool)
    first[1:] = (user[1:] != user[:-1]) | (basket[1:] != basket[:-1])
    first &= rows > log.offsets[user]
    targets = _baskets(log, user[first], basket[first])
    as_of = log.time[targets.starts]
    return HeldOutBaskets(targets.users, targets.ends, targets.starts, targets.stops, as_of).sample(_BLEND_USERS[1], seed)


def _random_later_baskets(log: InteractionLog, first: HeldOutBaskets, seed: int) -> HeldOutBaskets:
    """One basket at random of those after each user's target, predicted from the same history at the same time."""
    newest = log.basket[log.offsets[first.users + 1] - 1].astype(np.int64)
    target = log.basket[first.starts].astype(np.int64)
    rows = np.flatnonzero(newest > target)
    random = np.random.default_rng(seed)
    number = target[rows] + 1 + (random.random(len(rows)) * (newest - target)[rows]).astype(np.int64)
    later = _baskets(log, first.users[rows], number)
    as_of = None if first.as_of is None else first.as_of[rows]
    return HeldOutBaskets(later.users, first.ends[rows], later.starts, later.stops, as_of)


def _blend_users(users: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    least, most = _BLEND_USERS
    count = min(len(users) // 2, max(min(len(users) // 4, least), min(int(_BLEND_SHARE * len(users)), most)))
    return np.sort(np.random.default_rng(seed).choice(users, count, replace=False)) if count else users[:0]


def _quantile(times: NDArray[np.int64], share: float) -> int:
    return int(np.quantile(times, share, method="higher"))
