"""How items that nobody had yet are shown: their vectors are made of content alone, and lack what others have of their own.

Too quiet, new items are never shown; too loud, they crowd out what people want. So it is tried: some of the known items play
new ones (nothing but their content is known), and two things are found that the ranking of all others bears. How long their
vectors are made, for where they are ranked by score; and how near they must come to take a place at the end of a list
(`personalization.recommending.newness`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from personalization.recommending.content import content_vectors
from personalization.recommending.histories import Histories
from personalization.recommending.newness import entrants, largest
from personalization.recommending.recommender import Recommender, seen_last
from personalization.recommending.sparse import Neighbours
from training.recommendations.item_table import ItemTable
from training.recommendations.log import Log, under
from training.recommendations.metrics import ranking_metrics, target_ranks
from training.recommendations.splits import Targets

LENGTHS: Final = (0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4)
MARGINS: Final = tuple(round(0.1 * step, 1) for step in range(-20, 31))
ALLOWED: Final = 0.005  # loss of the others' NDCG@10
_LIST: Final = 10
_SHARE: Final = 0.1  # of the known items play new ones
_QUESTIONS: Final = 4_000
_CELLS: Final = 200_000_000  # of all scores of one trial
_BLOCK: Final = 8_000_000
_LEAST: Final = 100  # questions about items that play new ones, below which it is not tried
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Newness:
    """length, margin   as `Mix` has them: `newcomer` and `margin`"""

    length: float = 1.0
    margin: float | None = None


def newness(
    recommender: Recommender, table: ItemTable, log: Log, questions: Targets, count: NDArray[np.float64], seed: int
) -> Newness:
    """What new items may cost the others is half a percent of their NDCG@10; nothing is changed where there is no content, or
    too little to try it on.

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
    histories = asked.histories(log, recommender.window)
    others = [basket for basket, new in zip(targets, of_new, strict=True) if not new]
    aware = histories.take(np.flatnonzero(~of_new))
    ignorant = under(histories, ~playing[histories.item]).take(np.flatnonzero(~of_new))
    content = content_vectors(table.features, table.content.numpy())
    least = (1.0 - ALLOWED) * _ndcg(_playing(recommender, playing, content), ignorant, others, without=playing)
    length = LENGTHS[0]
    for one in LENGTHS:
        value = _ndcg(_playing(recommender, playing, content * one), aware, others)
        _log.debug("new items %.1f times as long: NDCG@10 of the others %.4f, at least %.4f wanted", one, value, least)
        if value < least:
            break
        length = one
    margin = _margin(_playing(recommender, playing, content * length), aware, others, playing, least)
    _log.info("vectors of new items are made %.1f times as long; a place at the end of a list is theirs %s", length,
              "never" if margin is None else f"from {margin:.1f} below the score there")  # fmt: skip
    return Newness(length, margin)


def _margin(
    recommender: Recommender,
    histories: Histories,
    targets: list[NDArray[np.int32]],
    playing: NDArray[np.bool_],
    least: float,
) -> float | None:
    """The largest of `MARGINS` with which the others' NDCG@10 is as large as wanted; None where it is with none."""
    ranks: list[NDArray[np.float64]] = []
    old: list[NDArray[np.float32]] = []
    new: list[NDArray[np.float32]] = []
    for start, places in _blocks(recommender, histories):
        new.append(largest(places[:, playing], _LIST))
        places[:, playing] = -np.inf
        old.append(largest(places, _LIST))
        ranks += target_ranks(places, targets[start : start + len(places)])
    both = np.concatenate(old), np.concatenate(new)
    found = None
    for margin in MARGINS:
        left = _LIST - entrants(*both, margin)
        value = ranking_metrics([np.where(rank < k, rank, np.inf) for rank, k in zip(ranks, left, strict=True)])["ndcg_at_10"]
        if value < least:
            break
        found = margin
    return found


def _playing(recommender: Recommender, playing: NDArray[np.bool_], content: NDArray[np.float32]) -> Recommender:
    """As if nothing but their content were known of some items."""
    vectors = np.where(playing[:, None], content, recommender.vectors).astype(np.float32)
    matrices = {name: matrix if name == "alike" else _without(matrix, playing) for name, matrix in recommender.matrices.items()}
    return replace(recommender, vectors=vectors, static=np.where(playing, 0.0, recommender.static), matrices=matrices)


def _without(matrix: Neighbours, playing: NDArray[np.bool_]) -> Neighbours:
    row = np.repeat(np.arange(len(matrix.indptr) - 1), np.diff(matrix.indptr))
    keep = ~playing[row] & ~playing[matrix.indices]
    lengths = np.bincount(row[keep], minlength=len(matrix.indptr) - 1)
    return Neighbours(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), matrix.indices[keep], matrix.values[keep])


def _ndcg(
    recommender: Recommender, histories: Histories, targets: list[NDArray[np.int32]], without: NDArray[np.bool_] | None = None
) -> float:
    ranks: list[NDArray[np.float64]] = []
    for start, places in _blocks(recommender, histories):
        if without is not None:
            places[:, without] = -np.inf
        ranks += target_ranks(places, targets[start : start + len(places)])
    return ranking_metrics(ranks)["ndcg_at_10"]


def _blocks(recommender: Recommender, histories: Histories) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """What the items are ordered by, (n, items), for some histories after others, with the row of the first."""
    block = max(1, _BLOCK // len(recommender.items))
    for start in range(0, len(histories), block):
        some = histories.take(np.arange(start, min(start + block, len(histories))))
        scores = recommender.scores(some)
        yield start, scores if recommender.repeat_buying else seen_last(scores, some)
