"""Scores of all items for one request, by scenario."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from personalization.recommendations.blend import CONTENT_SIMILARITY, COOCCURRENCE, TRANSITION, log_total
from personalization.recommendations.components import Contributions
from personalization.recommendations.history import InteractionHistory, purchased_items
from personalization.recommendations.recommender import POPULARITY, STATIC
from personalization.recommendations.scoring import ItemScores, score_users
from personalization.recommendations.serving_catalog import ServingCatalog

Scenario = Literal["personal", "similar", "bought_together", "buy_again", "trending"]
Codes = NDArray[np.integer[Any]]
Probability = Callable[[NDArray[np.float32]], NDArray[np.float64]]
_CONTENT_SHARE: Final = np.float32(0.5)  # of the likeness of items, where the model compares content
_BOUGHT_TOGETHER: Final = {COOCCURRENCE: 1.0 / 1.5, TRANSITION: 0.5 / 1.5}


@dataclass(frozen=True, kw_only=True)
class ScenarioScores(ItemScores):
    """Scores of all N items for one request.

    history         of the user
    personalized    whether the history has a part in the scores
    probability     exact scores (n,) → relevance 0 … 1, which ascends with the score
    eligible        (N,) bool, items that the scenario may show; `None`: all
    excluded        codes that it never shows
    contributions   parts of the scores that come from single items of the history, or of `seed_items`
    seed_items      codes of the items that the request is about
    """

    scenario: Scenario
    history: InteractionHistory
    personalized: bool
    probability: Probability
    eligible: NDArray[np.bool_] | None = None
    excluded: Codes = field(default_factory=lambda: np.zeros(0, np.int64))
    contributions: tuple[Contributions, ...] = ()
    seed_items: tuple[int, ...] = ()

    def relevance(self, codes: Codes, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n,) relevance 0 … 1 of items with these exact scores; 0 where they are demoted.

        Of personal lists it is the calibrated probability that the user takes the item next; other scenarios state theirs.
        """
        relevance = self.probability(scores)
        return np.where(self.is_demoted(codes), 0.0, relevance) if len(self.demoted) else relevance


def personal(catalog: ServingCatalog, history: InteractionHistory, category: str | None = None) -> ScenarioScores:
    """Items that the user is likely to choose next; for a user without a history popular items, first those of `category`."""
    recommender = catalog.recommender
    if not len(history.item):
        cold = recommender.blend.cold or {POPULARITY: 1.0}
        return replace(popular_items(catalog, history, max(cold, key=lambda name: cold[name]), category), scenario="personal")
    block = score_users(catalog, history)
    approximate = block.approximate if catalog.available is None else block.approximate[:, catalog.available]
    return ScenarioScores(
        scenario="personal",
        approximate=block.approximate[0],
        additive=block.additive[0],
        embedding=block.embeddings[0],
        demoted=np.zeros(0, np.int64) if recommender.repeat_buying else np.unique(history.item).astype(np.int64),
        history=history,
        personalized=True,
        probability=partial(recommender.blend.relevance, total=float(log_total(approximate)[0])),
        contributions=block.contributions,
    )


def popular_items(
    catalog: ServingCatalog, history: InteractionHistory, name: str, category: str | None = None
) -> ScenarioScores:
    """Popular items by the static score `name`; an item's relevance is its share of all interactions."""
    scores = catalog.static[STATIC.index(name)].astype(np.float32)
    total = float(np.expm1(scores if catalog.available is None else scores[catalog.available]).sum(dtype=np.float64))
    column = catalog.attributes.words.get("category")
    return ScenarioScores(
        scenario="trending",
        approximate=scores,
        additive=scores,
        boosted=column.codes == column.code(category) if category and column is not None else None,
        history=history,
        personalized=False,
        probability=partial(_share, total=max(total, 1e-12)),
    )


def similar(catalog: ServingCatalog, history: InteractionHistory, item: int) -> ScenarioScores:
    """Items like this one: the cosine of embeddings and, where the model compares content, half of it and half the
    similarity of content. Relevance is the score."""
    vector = catalog.vectors(np.array([item]))
    embedding = vector / max(float(np.linalg.norm(vector)), 1e-9)
    parts = []
    for name, matrix in catalog.matrices:
        if name == CONTENT_SIMILARITY:
            place, others, value = matrix.gather(np.array([item]))
            parts.append(
                Contributions(name, place, place, others.astype(np.int32), (_CONTENT_SHARE * value).astype(np.float32))
            )
    if parts:
        embedding *= _CONTENT_SHARE
    additive = np.zeros((1, len(catalog)), np.float32)
    for part in parts:
        part.add_to(additive)
    return ScenarioScores(
        scenario="similar",
        approximate=catalog.index.products(embedding)[0] / catalog.index.norms + additive[0],
        additive=additive[0],
        embedding=embedding[0],
        cosine=True,
        history=history,
        personalized=False,
        probability=_clip,
        excluded=_with_variants(catalog, [item]),
        contributions=tuple(parts),
        seed_items=(item,),
    )


def bought_together(catalog: ServingCatalog, history: InteractionHistory, items: list[int]) -> ScenarioScores:
    """Items that are bought with these, or after them; others are not eligible. Relevance is the score."""
    sources = np.array(items, np.int64)
    scores = np.zeros((1, len(catalog)), np.float32)
    parts = []
    for name, share in _BOUGHT_TOGETHER.items():
        if name in catalog.recommender.matrices:
            place, others, value = catalog.recommender.matrices[name].gather(sources)
            weighted = (value * np.float32(share / max(len(items), 1))).astype(np.float32)
            parts.append(Contributions(name, np.zeros(len(place), np.int64), place, others.astype(np.int32), weighted))
            parts[-1].add_to(scores)
    return ScenarioScores(
        scenario="bought_together",
        approximate=scores[0],
        additive=scores[0],
        history=history,
        personalized=False,
        probability=_clip,
        eligible=scores[0] > 0,
        excluded=_with_variants(catalog, items),
        contributions=tuple(parts),
        seed_items=tuple(items),
    )


def buy_again(catalog: ServingCatalog, history: InteractionHistory) -> ScenarioScores:
    """What the user bought and may need again; relevance is the probability of it in the next basket."""
    eligible = np.zeros(len(catalog), bool)
    eligible[purchased_items(history)] = True
    if catalog.recommender.repeat_buying and len(history.item):
        return replace(personal(catalog, history), scenario="buy_again", eligible=eligible)
    return ScenarioScores(
        scenario="buy_again",
        approximate=catalog.repurchase,
        additive=catalog.repurchase,
        history=history,
        personalized=bool(len(history.item)),
        probability=_sigmoid,
        eligible=eligible,
    )


def _share(scores: NDArray[np.float32], total: float) -> NDArray[np.float64]:
    share: NDArray[np.float64] = np.expm1(scores.astype(np.float64)) / total
    return share


def _clip(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.clip(scores.astype(np.float64), 0.0, 1.0)


def _sigmoid(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    probability: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-scores.astype(np.float64)))
    return probability


def _with_variants(catalog: ServingCatalog, items: list[int]) -> Codes:
    """The items and their variants."""
    families = catalog.attributes.item_groups
    if families is None:
        return np.array(items, np.int64)
    own = np.unique([families[item] for item in items if families[item] >= 0])
    return np.union1d(np.flatnonzero(np.isin(families, own)), np.array(items, np.int64))
