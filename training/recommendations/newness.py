"""How loudly an item speaks that nobody had yet: its vector is made of content alone, and lacks what others have of their own.

Too quiet, new items are never shown; too loud, they crowd out what people want. So it is tried: some of the known items play
new ones (nothing but their content is known), and their vectors are made as long as the ranking of all others bears.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from personalization.recommending.content import content_vectors
from personalization.recommending.histories import Histories
from personalization.recommending.recommender import Recommender, seen_last
from personalization.recommending.sparse import Neighbours
from training.recommendations.item_table import ItemTable
from training.recommendations.log import Log, under
from training.recommendations.metrics import ranking_metrics, target_ranks
from training.recommendations.splits import Targets

LENGTHS: Final = (0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4)
ALLOWED: Final = 0.005  # loss of the others' NDCG@10
_SHARE: Final = 0.1  # of the known items play new ones
_QUESTIONS: Final = 4_000
_CELLS: Final = 200_000_000  # of all scores of one trial
_BLOCK: Final = 8_000_000
_LEAST: Final = 100  # questions about items that play new ones, below which it is not tried
_log = logging.getLogger(__name__)


def newcomer_length(
    recommender: Recommender, table: ItemTable, log: Log, questions: Targets, count: NDArray[np.float64], seed: int
) -> float:
    """The factor of a new item's content vector; 1 where there is no content, or too little to try it on.

    questions   held-out baskets that no component was trained on
    count       (items,) training interactions
    """
    if table.features is None:
        return 1.0
    random = np.random.default_rng(seed)
    playing = np.zeros(len(count), bool)
    playing[(count > 0) & (random.random(len(count)) < _SHARE)] = True
    asked = questions.sample(min(_QUESTIONS, max(200, _CELLS // len(count))), seed)
    targets = asked.items(log)
    of_new = np.array([bool(playing[basket].any()) for basket in targets], bool)
    if of_new.sum() < _LEAST or of_new.all():
        return 1.0
    histories = asked.histories(log, recommender.window)
    others = [basket for basket, new in zip(targets, of_new, strict=True) if not new]
    ignorant = under(histories, ~playing[histories.item]).take(np.flatnonzero(~of_new))
    content = content_vectors(table.features, table.content.numpy())
    least = (1.0 - ALLOWED) * _ndcg(_playing(recommender, playing, content), ignorant, others, without=playing)
    chosen = LENGTHS[0]
    for length in LENGTHS:
        value = _ndcg(_playing(recommender, playing, content * length), histories.take(np.flatnonzero(~of_new)), others)
        _log.debug("new items %.1f times as long: NDCG@10 of the others %.4f, at least %.4f wanted", length, value, least)
        if value < least:
            break
        chosen = length
    _log.info("vectors of new items are made %.1f times as long", chosen)
    return float(chosen)


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
    block = max(1, _BLOCK // len(recommender.items))
    for start in range(0, len(histories), block):
        some = histories.take(np.arange(start, min(start + block, len(histories))))
        scores = recommender.scores(some)
        if without is not None:
            scores[:, without] = scores.min(axis=1, keepdims=True) - 1.0
        places = scores if recommender.repeat_buying else seen_last(scores, some)
        ranks += target_ranks(places, targets[start : start + block])
    return ranking_metrics(ranks)["ndcg_at_10"]
