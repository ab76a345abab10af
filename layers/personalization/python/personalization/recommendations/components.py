"""Components of a score, computed from histories: inputs of the user encoder, neighbours of items, and buying again.

Training, evaluation and serving share this code. Static scores (popularity) need none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.csr import CsrMatrix
from personalization.recommendations.history import InteractionHistory

# Weights by basket are sums of these decays: the newest basket alone, a few, many.
DECAYS: Final = (0.0, 0.6, 0.9)
RANKS: Final = 48  # older baskets have no neighbours in the score
REPEAT: Final = "repeat"
REPEAT_FEATURES: Final = (
    "seen", "count", "share", "log_share", "recency_days", "recency_baskets", "newest", "due", "overdue", "repurchase",
)  # fmt: skip
GAP_BUCKETS: Final = 12
_HALF_LIFE_DAYS: Final = 30.0
_BASKET_DECAY: Final = 0.85


@dataclass(frozen=True, slots=True)
class Contributions:
    """Parts of scores that come from single items of histories: `value` is added to the score of `item` for `user`.

    component  name of a matrix, or `REPEAT`
    user       int64 (n,) row of the user among the histories
    source     int64 (n,) row of the item among all items of the histories; −1: from `item` itself, in all its baskets
    item       int32 (n,) code; the same pair of user and item may come repeatedly
    value      float32 (n,)
    """

    component: str
    user: NDArray[np.int64]
    source: NDArray[np.int64]
    item: NDArray[np.int32]
    value: NDArray[np.float32]

    def add_to(self, scores: NDArray[np.float32]) -> None:
        """Add to dense scores (users, items) in place."""
        np.add.at(scores.reshape(-1), self.user * scores.shape[1] + self.item, self.value)


def decay_weights(decay: float) -> NDArray[np.float32]:
    """(RANKS,) weight of a history item by the rank of its basket, 0 the newest; decay 0 is the newest basket alone."""
    ranks = np.arange(RANKS)
    return np.where(ranks == 0, 1.0, decay**ranks).astype(np.float32)


def encoder_inputs(histories: InteractionHistory, vectors: NDArray[np.float32], longest: int) -> dict[str, NDArray[Any]]:
    """All inputs that a user encoder may have: `padded_codes`, and `vectors` float32 (N, L, D), zeros where padded.

    vectors   (items, D) embeddings of the items that the histories' codes index
    """
    codes = padded_codes(histories, longest)
    items = codes.pop("items")
    present = items >= 0
    values = np.zeros((*items.shape, vectors.shape[1]), np.float32)
    values[present] = vectors[items[present]]
    return {"vectors": values, **codes}


def padded_codes(histories: InteractionHistory, longest: int, width: int | None = None) -> dict[str, NDArray[np.int64]]:
    """The newest `longest` items of each user, the newest at the right; all int64 (N, L), L `width` or as long as needed.

    `items` codes, −1 where padded; `known` 1 where there is an item; `events` event type + 1, 0 unknown; `gaps`
    `gap_buckets` of the time since the item before.
    """
    lengths = np.minimum(histories.lengths, longest)
    width = width or max(1, int(lengths.max(initial=1)))
    users = np.repeat(np.arange(len(histories)), lengths)
    from_end = np.repeat(np.cumsum(lengths), lengths) - np.arange(lengths.sum()) - 1
    rows = np.repeat(histories.offsets[1:], lengths) - 1 - from_end
    places = (users, width - 1 - from_end)
    items = np.full((len(histories), width), -1, np.int64)
    items[places] = histories.item[rows]
    events, gaps = np.zeros_like(items), np.zeros_like(items)
    events[places] = histories.event[rows].astype(np.int64) + 1
    gaps[places] = gap_buckets(histories)[rows]
    return {"items": items, "known": (items >= 0).astype(np.int64), "events": events, "gaps": gaps}


def gap_buckets(histories: InteractionHistory) -> NDArray[np.int64]:
    """(E,) 0 for a user's first item and for the same basket, else 1 + log2 of the hours since the item before."""
    gap = np.zeros(len(histories.item), np.int64)
    if len(gap) > 1:
        hours = 24.0 * np.maximum(0.0, histories.age[:-1] - histories.age[1:])
        gap[1:] = np.where(hours > 0, 1 + np.clip(np.log2(1.0 + hours), 0, GAP_BUCKETS - 2).astype(np.int64), 0)
        starts = histories.offsets[:-1]
        gap[starts[starts < len(gap)]] = 0
    return gap


def neighbor_contributions(
    histories: InteractionHistory, matrix: CsrMatrix, rank_weights: NDArray[np.float32], component: str
) -> Contributions:
    """For each item of a history the item's row of an item-to-item matrix × the weight of the item's basket.

    rank_weights   (ranks,) by the rank of the basket, 0 the newest; older baskets weigh nothing
    """
    weight = np.append(rank_weights, np.float32(0.0))[np.minimum(histories.basket, len(rank_weights))]
    used = np.flatnonzero(weight)
    place, item, value = matrix.gather(histories.item[used])
    source = used[place]
    return Contributions(
        component,
        histories.user[source],
        source,
        item.astype(np.int32, copy=False),
        (value * weight[source]).astype(np.float32),
    )


def repeat_contributions(
    histories: InteractionHistory, repurchase: NDArray[np.float32], weights: NDArray[np.float32]
) -> Contributions:
    """What buying again adds to the items of each history.

    repurchase, weights   as in `repeat_features`; a weight for each of `REPEAT_FEATURES`
    """
    user, item, features = repeat_features(histories, repurchase)
    return Contributions(REPEAT, user, np.full(len(item), -1), item, features @ weights)


def repeat_features(
    histories: InteractionHistory, repurchase: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Features for buying an item again: (user, item, features (n, len(REPEAT_FEATURES))), each pair once.

    seen             1
    count            log of 1 + the number of baskets with the item
    share, log_share that number by the number of all the user's baskets, and the log of it
    recency_days     Σ 2^(−age / 30 days) over those baskets, log of 1 +
    recency_baskets  Σ .85^rank over them
    newest           1 where it is in the newest basket
    due, overdue     of x = log(days since the last / mean days between): exp(−x²), and x where positive; 0 for single buys
    repurchase       (items,) log odds that users who bought this item buy it in their next basket, as given
    """
    user, item, basket, age = _one_a_basket(histories)
    starts = np.ones(len(user), bool)
    starts[1:] = (user[1:] != user[:-1]) | (item[1:] != item[:-1])
    pair = np.cumsum(starts) - 1
    pairs = int(starts.sum())
    count = np.bincount(pair, minlength=pairs).astype(np.float64)
    owner, what = user[starts], item[starts]
    own_baskets = np.zeros(len(histories), np.float64)
    np.maximum.at(own_baskets, histories.user, histories.basket + 1.0)
    share = count / np.maximum(own_baskets[owner], 1.0)
    by_days = np.bincount(pair, weights=np.exp2(-age / _HALF_LIFE_DAYS), minlength=pairs)
    by_baskets = np.bincount(pair, weights=_BASKET_DECAY ** basket.astype(np.float64), minlength=pairs)
    last, first, rank = np.full(pairs, np.inf), np.zeros(pairs), np.full(pairs, np.inf)
    np.minimum.at(last, pair, age)
    np.maximum.at(first, pair, age)
    np.minimum.at(rank, pair, basket)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_gap = (first - last) / (count - 1.0)
        lateness = np.clip(np.log((last + 0.5) / (mean_gap + 0.5)), -3.0, 3.0)
    rhythm = count > 1
    features = np.stack(
        [
            np.ones(pairs),
            np.log1p(count),
            share,
            np.log(share),
            np.log1p(by_days),
            by_baskets,
            rank == 0,
            np.where(rhythm, np.exp(-np.square(lateness)), 0.0),
            np.where(rhythm, np.maximum(lateness, 0.0), 0.0),
            np.where(what < len(repurchase), repurchase[np.minimum(what, len(repurchase) - 1)], 0.0),
        ],
        axis=1,
    )
    return owner, what, features.astype(np.float32)


def _one_a_basket(
    histories: InteractionHistory,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """User, item, basket and age of each item of each basket once, by user, then item, then basket."""
    user = histories.user
    order = np.lexsort((histories.basket, histories.item, user))
    user, item, basket, age = user[order], histories.item[order], histories.basket[order], histories.age[order]
    new = np.ones(len(user), bool)
    new[1:] = (user[1:] != user[:-1]) | (item[1:] != item[:-1]) | (basket[1:] != basket[:-1])
    return user[new], item[new], basket[new], age[new]
