"""Places for items that nobody had yet: the last ones of a list, where they are good enough.

Content says which of the new items somebody may like, but not how well a new item does against those that many people took:
by score alone it is never shown, or it takes the first places from what people want. So new items do not compete for places one
by one. Up to `SHARE` of a list, from its end, is open to them: a new item takes such a place where its score comes within a
margin of the score of what stands there. The margin is learnt in training: as large as costs the
others next to nothing.
"""

from __future__ import annotations

from math import floor
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SHARE: Final = 0.4

Floats = NDArray[np.float32]


def num_admitted(old: Floats, new: Floats, margin: float) -> NDArray[np.int64]:
    """(N,) how many new items are in each list.

    old   (N, k) scores of the best other items, descending; −inf where there are fewer
    new   (N, q) of the best new ones, q ≤ k, likewise
    """
    k, q = old.shape[1], new.shape[1]
    against = old[:, ::-1][:, :q]  # the last place first
    taken = (new + np.float32(margin) >= against) & (np.arange(q) < floor(SHARE * k + 1e-9))
    taken |= np.isneginf(against)  # a list without enough other items is not left short
    return np.asarray((taken & ~np.isneginf(new)).cumprod(axis=1).sum(axis=1), np.int64)


def new_places(old: Floats, new: Floats, margin: float) -> tuple[Floats, Floats]:
    """What to order by, so that new items stand where they are to stand among the others, which keep their scores.

    old, new   as in `num_admitted`

    (N, q) for the best new items: those that enter follow the k − m best others and precede the rest. And (N,) which no other
    new item may reach, so that it comes after the list.
    """
    k, q = old.shape[1], new.shape[1]
    count = num_admitted(old, new, margin)
    lowest = np.where(np.isneginf(old), np.inf, old).min(axis=1)
    lowest = np.where(np.isinf(lowest), 0.0, lowest).astype(np.float32)
    padded = np.concatenate([old, np.full((len(old), 1), -np.inf, np.float32)], axis=1)
    base = np.take_along_axis(padded, (k - count)[:, None], axis=1)
    base = np.where(np.isneginf(base), lowest[:, None] - 1.0 - q, base)
    step = np.spacing(np.maximum(np.abs(base), 1.0))
    within = np.arange(q) < count[:, None]
    behind = np.where(np.isneginf(old[:, -1]), lowest - 2.0 - q, old[:, -1])
    limit = (behind - np.spacing(np.maximum(np.abs(behind), 1.0))).astype(np.float32)
    inside = base + step * (count[:, None] - np.arange(q))
    return np.where(within, inside, np.minimum(new, limit[:, None])).astype(np.float32), limit


def insert_cold_items(places: Floats, known: int, k: int, margin: float) -> None:
    """Put the new items of many lists of `k` in their places, in place.

    places   (N, items) what to order by, −inf for what is not shown; new items are those from the code `known` on
    """
    new = places[:, known:]
    q = min(k, new.shape[1])
    best = np.argsort(-new, axis=1, kind="stable")[:, :q]
    found, limit = new_places(largest(places[:, :known], k), np.take_along_axis(new, best, axis=1), margin)
    np.minimum(new, limit[:, None], out=new)
    np.put_along_axis(new, best, found, axis=1)


def largest(values: Floats, k: int) -> Floats:
    """(N, k) the largest of each row, descending; −inf where there are fewer."""
    short = k - values.shape[1]
    if short > 0:
        values = np.concatenate([values, np.full((len(values), short), -np.inf, np.float32)], axis=1)
    found: NDArray[Any] = -np.sort(np.partition(-values, k - 1, axis=1)[:, :k], axis=1)
    return found
