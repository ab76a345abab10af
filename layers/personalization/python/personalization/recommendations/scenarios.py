"""Scores of all items for one question, by scenario."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from personalization.recommendations import InteractionHistory
from personalization.recommendations.recommender import STATIC
from personalization.recommendations.scorers import (
    HistoryContributions,
    add_to,
    history_contributions,
    purchased_items,
    user_embedding,
)
from personalization.recommendations.serving_catalog import ServingCatalog

Scenario = Literal["personal", "similar", "bought_together", "buy_again", "trending"]
SCENARIOS: Final = ("personal", "similar", "bought_together", "buy_again", "trending")
RECENT: Final = STATIC.index("recent")

Codes = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class ItemScores:
    """How all items stand to a question.

    values       float32 (N,)
    relevance    of items, 0 … 1: the chance to be what the user takes next; where the scenario asks another question, as it
                 says there
    only         items that the scenario speaks of, `None` for all
    never        codes that it never shows
    last         codes that come behind all others
    personalized whether a history spoke
    history      of the user
    query        (D,) what the values of vectors came from, `None` where they did not
    parts        additions to the values
    anchors      codes of items that the question is about
    first        (N,) items that come before all others, `None` where none do
    products     (N,) part of the values, where it is not exact; `refined` makes it so
    """

    scenario: Scenario
    values: NDArray[np.float32]
    relevance: Callable[[Codes], NDArray[np.float64]]
    history: InteractionHistory
    personalized: bool
    only: NDArray[np.bool_] | None = None
    never: Codes = field(default_factory=lambda: np.zeros(0, np.int64))
    last: Codes = field(default_factory=lambda: np.zeros(0, np.int64))
    query: NDArray[np.float32] | None = None
    parts: tuple[HistoryContributions, ...] = ()
    anchors: tuple[int, ...] = ()
    first: NDArray[np.bool_] | None = None
    products: NDArray[np.float32] | None = None
    exact: Callable[[Codes], NDArray[np.float32]] | None = None

    def refined(self, codes: Codes) -> NDArray[np.float32] | None:
        """Make the values of these items exact, in place, and answer what was added; `None` where they were."""
        if self.products is None or self.exact is None:
            return None
        exact = self.exact(codes)
        change = exact - self.products[codes]
        self.products[codes] = exact
        self.values[codes] += change
        return change


def personal(assortment: ServingCatalog, history: InteractionHistory, category: str | None = None) -> ItemScores:
    """What the user takes next. For somebody new: what many take, first in the `category` where one is stated."""
    recommender = assortment.recommender
    if not len(history.item):
        cold = recommender.mix.cold or {"popularity": 1.0}
        row = STATIC.index(max(cold, key=lambda name: cold[name]))
        return demand(assortment, history, row, "personal", category)
    query = user_embedding(assortment, history)[0]
    index = assortment.index
    values = index.products(query)
    products = None if index.coarse is None else values.copy()
    for row, name in enumerate(STATIC):
        weight = recommender.mix.static.get(name, 0.0)
        if weight:
            values += np.float32(weight) * assortment.static[row]
    parts = tuple(history_contributions(assortment, history))
    add_to(values, parts)
    seen = np.zeros(0, np.int64) if recommender.repeat_buying else np.unique(history.item).astype(np.int64)
    total = _log_total(values if assortment.shown is None else values[assortment.shown])

    def relevance(codes: Codes) -> NDArray[np.float64]:
        found = recommender.mix.relevance(values[codes][None, :], np.array([total]))[0]
        return np.where(np.isin(codes, seen), 0.0, found) if len(seen) else found

    return ItemScores(
        "personal", values, relevance, history, True, last=seen, query=query, parts=parts,
        products=products, exact=partial(index.exact, query),
    )  # fmt: skip


def demand(
    assortment: ServingCatalog,
    history: InteractionHistory,
    row: int,
    scenario: Scenario = "trending",
    category: str | None = None,
) -> ItemScores:
    """What everybody takes; an item's relevance is its share of all that is taken."""
    values = assortment.static[row].astype(np.float32)
    taken = np.expm1(values.astype(np.float64))
    total = max(float(taken.sum() if assortment.shown is None else taken[assortment.shown].sum()), 1e-12)
    column = assortment.attributes.words.get("category")
    first = column.codes == column.code(category) if category and column is not None else None
    return ItemScores(scenario, values, lambda codes: taken[codes] / total, history, False, first=first)


def similar(assortment: ServingCatalog, history: InteractionHistory, item: int) -> ItemScores:
    """Items like this one, by their vectors and (half) by content where the model compares it; relevance is the likeness."""
    vector = assortment.vectors(np.array([item]))[0]
    unit = vector / max(float(np.linalg.norm(vector)), 1e-9)
    index, share = assortment.index, np.float32(1.0)
    values = index.products(unit) / index.norms
    alike = [matrix for name, matrix in assortment.neighbours if name == "alike"]
    parts = []
    for matrix in alike:
        _, others, value = matrix.rows(np.array([item], np.int32))
        parts.append(HistoryContributions("alike", np.zeros(len(others), np.int64), others, (0.5 * value).astype(np.float32)))
    if parts:
        share = np.float32(0.5)
        values *= share
    products = None if index.coarse is None else values.copy()
    add_to(values, parts)

    def exact(codes: Codes) -> NDArray[np.float32]:
        found: NDArray[np.float32] = share * index.exact(unit, codes) / index.norms[codes]
        return found

    return ItemScores(
        "similar", values, lambda codes: np.clip(values[codes].astype(np.float64), 0.0, 1.0), history, False,
        never=_family(assortment, [item]), parts=tuple(parts), anchors=(item,), products=products, exact=exact,
    )  # fmt: skip


def bought_together(assortment: ServingCatalog, history: InteractionHistory, items: list[int]) -> ItemScores:
    """What goes with these items; relevance is how strongly, and items that never went with them are not shown."""
    values = np.zeros(len(assortment), np.float32)
    sources = np.array(items, np.int32)
    parts = []
    for name, matrix in assortment.recommender.matrices.items():
        if name in ("together", "next"):
            place, others, value = matrix.rows(sources)
            weight = np.float32((1.0 if name == "together" else 0.5) / 1.5 / max(len(items), 1))
            parts.append(HistoryContributions(name, place, others, value * weight))
    add_to(values, parts)
    return ItemScores(
        "bought_together", values, lambda codes: np.clip(values[codes].astype(np.float64), 0.0, 1.0), history, False,
        only=values > 0, never=_family(assortment, items), parts=tuple(parts), anchors=tuple(items),
    )  # fmt: skip


def buy_again(assortment: ServingCatalog, history: InteractionHistory) -> ItemScores:
    """What the user bought and may be out of; relevance is the chance of it in the next basket."""
    only = np.zeros(len(assortment), bool)
    only[purchased_items(history)] = True
    if assortment.recommender.repeat_buying and len(history.item):
        scored = personal(assortment, history)
        return ItemScores(
            "buy_again", scored.values, scored.relevance, history, True, only=only, query=scored.query, parts=scored.parts,
            products=scored.products, exact=scored.exact,
        )  # fmt: skip
    values = assortment.repurchase.astype(np.float32)
    chance = 1.0 / (1.0 + np.exp(-values.astype(np.float64)))
    return ItemScores("buy_again", values, lambda codes: chance[codes], history, bool(len(history.item)), only=only)


def _log_total(values: NDArray[np.float32]) -> float:
    """log Σ exp, in the precision of the values: a million of them are to take a few milliseconds."""
    high = float(values.max())
    return high + float(np.log(np.exp(values - np.float32(high)).sum(dtype=np.float64)))


def _family(assortment: ServingCatalog, items: list[int]) -> Codes:
    """The items and their variants."""
    families = assortment.attributes.families
    if families is None:
        return np.array(items, np.int64)
    own = np.unique([families[item] for item in items if families[item] >= 0])
    return np.union1d(np.flatnonzero(np.isin(families, own)), np.array(items, np.int64))
