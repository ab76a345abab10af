"""How items that nobody had yet are shown: their vectors are made of content alone, and lack what others have of their own.

Too quiet, new items are never shown; too loud, they crowd out what people want. So it is tried: some of the known items play
new ones (nothing but their content is known). How long their vectors are made, and how near they must come to what stands at
the end of a list to take its place, is what shows most of those who took them, at a
bearable cost to all others.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from personalization.recommendations.cold_start_places import SHARE, largest, num_admitted
from personalization.recommendations.history import InteractionHistory
from personalization.recommendations.item_content import content_vectors
from personalization.recommendations.recommender import Recommender, demote_seen
from personalization.recommendations.sparse import NeighborMatrix
from training.evaluation.ranking import ranking_metrics, target_ranks
from training.tasks.recommendations.interaction_log import InteractionLog
from training.tasks.recommendations.item_table import ItemTable
from training.tasks.recommendations.splits import HeldOutBaskets

LENGTHS: Final = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2)
MARGINS: Final = tuple(round(0.05 * step, 2) for step in range(-40, 81))
ALLOWED: Final = 0.016  # loss of the others' NDCG@10; hearing what new items say of a user gives two thirds of it back
_LIST: Final = 10
_OPEN: Final = round(SHARE * _LIST)
_SHARE: Final = 0.1  # of the known items play new ones
_QUESTIONS: Final = 20_000
_CELLS: Final = 200_000_000  # of all scores
_BLOCK: Final = 8_000_000
_LEAST: Final = 100  # questions about items that play new ones, below which it is not tried
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Newness:
    """length, margin   as `Mix` has them: `newcomer` and `margin`"""

    length: float = 1.0
    margin: float | None = None


@dataclass(frozen=True)
class _Trial:
    """What was seen of some questions, block after block.

    old        (n, 10) scores of the best other items
    ranks      of the targets among the other items; an item that plays a new one has none
    new        by length (n, 4) scores of the best new ones
    new_ranks  by length, of the targets among the new items
    """

    old: list[NDArray[np.float32]] = field(default_factory=list)
    ranks: list[NDArray[np.float64]] = field(default_factory=list)
    new: dict[float, list[NDArray[np.float32]]] = field(default_factory=lambda: {length: [] for length in LENGTHS})
    new_ranks: dict[float, list[NDArray[np.float64]]] = field(default_factory=lambda: {length: [] for length in LENGTHS})

    def at(self, length: float, margin: float) -> tuple[float, float]:
        """NDCG@10 of the questions about others, and the share of the other questions' targets that is in the lists."""
        entered = num_admitted(np.concatenate(self.old), np.concatenate(self.new[length]), margin)
        old = [np.where(r < _LIST - m, r, np.inf) for r, m in zip(self.ranks, entered.tolist(), strict=True) if len(r)]
        hits = [np.mean(r < m) for r, m in zip(self.new_ranks[length], entered.tolist(), strict=True) if len(r)]
        return ranking_metrics(old)["ndcg_at_10"], float(np.mean(hits))

    def margin(self, length: float, least: float) -> float | None:
        """The largest that leaves the others this NDCG@10; a larger one lets more of them in, and can only cost more."""
        bearable = bisect_right(MARGINS, -least, key=lambda margin: -self.at(length, margin)[0])
        return MARGINS[bearable - 1] if bearable else None


def newness(
    recommender: Recommender,
    table: ItemTable,
    log: InteractionLog,
    questions: HeldOutBaskets,
    count: NDArray[np.float64],
    seed: int,
) -> Newness:
    """Nothing is changed where there is no content, or too little to try it on.

    questions   held-out baskets that no component was trained on
    count       (items,) training interactions
    """
    if table.features is None:
        return Newness()
    random = np.random.default_rng(seed)
    playing = np.zeros(len(count), bool)
    playing[(count > 0) & (random.random(len(count)) < _SHARE)] = True
    asked = questions.sample(min(_QUESTIONS, max(200, _CELLS // len(count))), seed)
    targets = asked.items(log)
    of_new = np.array([bool(playing[basket].any()) for basket in targets], bool)
    if of_new.sum() < _LEAST or of_new.all():
        return Newness()
    content = content_vectors(table.features, table.content.numpy())
    shop = _playing(recommender, playing, content)
    trial = _tried(shop, asked.histories(log, recommender.window), targets, playing)
    best, most = Newness(LENGTHS[0]), 0.0
    least = (1.0 - ALLOWED) * trial.at(LENGTHS[0], -np.inf)[0]
    for length in LENGTHS:
        margin = trial.margin(length, least)
        if margin is None:
            continue
        value, hits = trial.at(length, margin)
        _log.debug("new items %.1f as long, margin %.2f: recall %.4f, the others %.4f", length, margin, hits, value)
        if hits > most:
            best, most = Newness(length, margin), hits
    where = "ranked by score" if best.margin is None else f"at the end of a list, from {best.margin:.2f} below the score there"
    _log.info("vectors of new items are made %.1f times as long, and they are %s", best.length, where)
    return best


def _tried(
    shop: Recommender, histories: InteractionHistory, targets: list[NDArray[np.int32]], playing: NDArray[np.bool_]
) -> _Trial:
    """A basket with new items and others is asked about as two."""
    place = np.cumsum(playing) - 1
    content = shop.vectors[playing]
    block = max(1, _BLOCK // len(shop.items))
    trial = _Trial()
    for start in range(0, len(histories), block):
        some = histories.take(np.arange(start, min(start + block, len(histories))))
        baskets = targets[start : start + len(some)]
        scores = shop.scores(some)
        longer = (shop.mix.sequence * shop.user_vectors(some)) @ content.T  # what a vector twice as long adds
        places = scores if shop.repeat_buying else demote_seen(scores, some)
        own = places[:, playing]
        places[:, playing] = -np.inf
        trial.old.append(largest(places, _LIST))
        trial.ranks.extend(target_ranks(places, [basket[~playing[basket]] for basket in baskets]))
        new_ones = [place[basket[playing[basket]]].astype(np.int32) for basket in baskets]
        for length in LENGTHS:
            new = (own + np.float32(length - 1.0) * longer).astype(np.float32)
            trial.new[length].append(largest(new, _OPEN))
            trial.new_ranks[length] += target_ranks(new, new_ones)
    return trial


def _playing(recommender: Recommender, playing: NDArray[np.bool_], content: NDArray[np.float32]) -> Recommender:
    """As if nothing but their content were known of some items."""
    vectors = np.where(playing[:, None], content, recommender.vectors).astype(np.float32)
    matrices = {name: matrix if name == "alike" else _without(matrix, playing) for name, matrix in recommender.matrices.items()}
    return replace(recommender, vectors=vectors, static=np.where(playing, 0.0, recommender.static), matrices=matrices)


def _without(matrix: NeighborMatrix, playing: NDArray[np.bool_]) -> NeighborMatrix:
    row = np.repeat(np.arange(len(matrix.indptr) - 1), np.diff(matrix.indptr))
    keep = ~playing[row] & ~playing[matrix.indices]
    lengths = np.bincount(row[keep], minlength=len(matrix.indptr) - 1)
    return NeighborMatrix(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), matrix.indices[keep], matrix.values[keep])
