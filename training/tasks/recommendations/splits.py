"""What is learnt from and what is held out.

``leave-one-out``: a user's last basket is test, the one before validation. ``temporal``: a cut in time; a user's first
basket after it is the target. A first basket is never a target: nothing earlier speaks for it. For some users one more
basket of the training part is held out: the weights of the mix are learnt on it, so that neither validation nor test
teach anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.errors import InvalidInput
from personalization.core.time import DAY_MS
from personalization.features.window import Window
from personalization.recommendations.history import InteractionHistory
from training.tasks.recommendations.interaction_log import InteractionLog

LEAVE_ONE_OUT: Final = "leave-one-out"
TEMPORAL: Final = "temporal"
MIX_SHARE: Final = 0.15
_MIX_USERS: Final = (2_000, 20_000)  # at least (where there are so many), at most
_AFTER_CUT: Final = 0.1  # share of the interactions behind the default cut, and of the rest behind validation's


@dataclass(frozen=True)
class HeldOutBaskets:
    """M questions: what did this user take next?

    users     int64 (M,)
    ends      int64 (M,) the user's history is the rows of the log up to here
    starts    int64 (M,) rows of the target basket: from here …
    stops     … to here (exclusive)
    as_of     int64 (M,) milliseconds, the moment of the question; None: that of the newest interaction of the history
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
        """At most `count` of them, in their order."""
        if len(self) <= count:
            return self
        return self.take(np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False)))

    def histories(self, log: InteractionLog, window: Window) -> InteractionHistory:
        return log.histories(self.users, self.ends, self.as_of, window)

    def items(self, log: InteractionLog) -> list[NDArray[np.int32]]:
        """Different items of each target basket."""
        pairs = zip(self.starts, self.stops, strict=True)
        return [np.unique(log.item[start:stop]) for start, stop in pairs]


@dataclass(frozen=True)
class RankingSplit:
    """Rows to learn from (bool, one for each of the log) and what is judged.

    later   a random later basket of the users of `test` (temporal only)
    """

    train: NDArray[np.bool_]
    mix: HeldOutBaskets
    validation: HeldOutBaskets
    test: HeldOutBaskets | None
    later: HeldOutBaskets | None = None
    cutoff: int | None = None


def leave_one_out(log: InteractionLog, *, test: bool, seed: int) -> RankingSplit:
    """Split by each user's last baskets."""
    count = log.baskets_of_user
    held = 2 if test else 1
    train = np.ones(len(log), bool)
    parts = []
    for back in range(1, held + 1):
        users = np.flatnonzero(count > back)  # something earlier must be left
        targets = _baskets(log, users, count[users] - back)
        parts.append(targets)
        _drop(train, targets)
    mix_users = _some(np.flatnonzero(count > held + 1), seed)
    mix = _baskets(log, mix_users, count[mix_users] - held - 1)
    _drop(train, mix)
    return RankingSplit(train, mix, parts[-1], parts[0] if test else None)


def temporal(log: InteractionLog, cutoff: int | None, *, test: bool, seed: int) -> RankingSplit:
    """Split by cuts in time; `cutoff` in milliseconds, or None: a tenth of the interactions lies behind it."""
    cut = _quantile(log.time, 1.0 - _AFTER_CUT) if cutoff is None else cutoff
    if not test and cutoff is None:
        cut = int(log.time.max()) + 1
    before = log.time < cut
    if not before.any():
        raise InvalidInput("expected interactions before the cutoff, found none")
    past = cut - int(log.time.min())
    span = max(min(DAY_MS, past // 5), min(cut - _quantile(log.time[before], 1.0 - _AFTER_CUT), 28 * DAY_MS, past // 3))
    valid_cut, mix_cut = cut - span, cut - 2 * span
    tests = _first_after(log, cut, int(log.time.max()) + 1) if test else None
    validation = _first_after(log, valid_cut, cut)
    train = log.time < valid_cut
    if not train.any():
        raise InvalidInput("expected interactions some time before the cutoff, found none")
    chosen = np.zeros(log.users, bool)
    chosen[_some(_first_after(log, mix_cut, valid_cut).users, seed)] = True
    held = chosen[log.user] & (log.time >= mix_cut) & (log.time < valid_cut)
    train &= ~held
    mix = _all_baskets(log, held, seed)
    later = None if tests is None else _random_later(log, tests, seed)
    return RankingSplit(train, mix, validation, tests, later, cut)


def _baskets(log: InteractionLog, users: NDArray[np.int64], number: NDArray[np.int64]) -> HeldOutBaskets:
    """Targets of the basket `number` of each user."""
    key = log.user.astype(np.int64) * (int(log.basket.max(initial=0)) + 2) + log.basket
    width = int(log.basket.max(initial=0)) + 2
    starts = np.searchsorted(key, users * width + number)
    stops = np.searchsorted(key, users * width + number, side="right")
    return HeldOutBaskets(users, starts, starts, stops)


def _first_after(log: InteractionLog, cut: int, limit: int) -> HeldOutBaskets:
    """Each user's first basket in [cut, limit), asked at `cut`; users with nothing before are left out."""
    past = np.bincount(log.user, weights=log.time < cut, minlength=log.users).astype(np.int64)
    users = np.flatnonzero(past > 0)
    ends = log.offsets[users] + past[users]
    inside = ends < log.offsets[users + 1]
    users, ends = users[inside], ends[inside]
    inside = log.time[ends] < limit
    users, ends = users[inside], ends[inside]
    found = _baskets(log, users, log.basket[ends].astype(np.int64))
    return HeldOutBaskets(users, ends, ends, found.stops, np.full(len(users), cut, np.int64))


def _all_baskets(log: InteractionLog, held: NDArray[np.bool_], seed: int) -> HeldOutBaskets:
    """Every basket (or `_MIX_USERS` many of them) that lies in these rows and has something before it, asked as it began."""
    rows = np.flatnonzero(held)
    new = np.ones(len(rows), bool)
    new[1:] = (log.user[rows[1:]] != log.user[rows[:-1]]) | (log.basket[rows[1:]] != log.basket[rows[:-1]])
    rows = rows[new]
    rows = rows[rows > log.offsets[log.user[rows].astype(np.int64)]]
    users = log.user[rows].astype(np.int64)
    found = _baskets(log, users, log.basket[rows].astype(np.int64))
    return HeldOutBaskets(users, found.starts, found.starts, found.stops, log.time[found.starts]).sample(_MIX_USERS[1], seed)


def _random_later(log: InteractionLog, first: HeldOutBaskets, seed: int) -> HeldOutBaskets:
    """For users with more baskets after their target one of these at random; the question is the same, asked as early."""
    newest = log.basket[log.offsets[first.users + 1] - 1].astype(np.int64)
    target = log.basket[first.starts].astype(np.int64)
    rows = np.flatnonzero(newest > target)
    random = np.random.default_rng(seed)
    number = target[rows] + 1 + (random.random(len(rows)) * (newest - target)[rows]).astype(np.int64)
    found = _baskets(log, first.users[rows], number)
    as_of = None if first.as_of is None else first.as_of[rows]
    return HeldOutBaskets(first.users[rows], first.ends[rows], found.starts, found.stops, as_of)


def _drop(train: NDArray[np.bool_], targets: HeldOutBaskets) -> None:
    for start, stop in zip(targets.starts, targets.stops, strict=True):
        train[start:stop] = False


def _some(users: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    least, most = _MIX_USERS
    count = min(len(users) // 2, max(min(len(users) // 4, least), min(int(MIX_SHARE * len(users)), most)))
    return np.sort(np.random.default_rng(seed).choice(users, count, replace=False)) if count else users[:0]


def _quantile(times: NDArray[np.int64], share: float) -> int:
    return int(np.quantile(times, share, method="higher"))
