"""One readable reason for each item of a list, from the largest part of its score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.schema import EVENT_CODE, PURCHASE, VIEW
from personalization.recommendations.blend import CONTENT_SIMILARITY, COOCCURRENCE, TRANSITION
from personalization.recommendations.components import REPEAT
from personalization.recommendations.history import InteractionHistory
from personalization.recommendations.scenarios import ScenarioScores
from personalization.recommendations.serving_catalog import ServingCatalog

# Kind of reason and its words, by the matrix that an item is a neighbour in.
_NEIGHBOR: Final = {
    COOCCURRENCE: ("often_bought_with", "often bought with"),
    TRANSITION: ("bought_after", "often bought after"),
    CONTENT_SIMILARITY: ("similar_to", "similar to"),
}
_VERBS: Final = {EVENT_CODE[PURCHASE]: "bought", EVENT_CODE[VIEW]: "viewed"}
_NO_NEIGHBOR: Final = ("", -1, 0.0)

Reason = dict[str, Any]


def reasons(catalog: ServingCatalog, scores: ScenarioScores, codes: NDArray[np.int64], *, timed: bool) -> list[Reason]:
    """``{"kind", "text"}`` for each item, with the ``item_id`` of the history or request that it comes from.

    timed   whether the history holds real times, so that intervals between purchases mean something
    """
    if scores.scenario == "similar":
        return [_neighbor(catalog, CONTENT_SIMILARITY, scores.seed_items[0])] * len(codes)
    if scores.scenario == "bought_together":
        neighbors, _ = _largest(scores, codes)
        return [
            _neighbor(catalog, name, scores.seed_items[source]) for name, source, _ in (neighbors[c] for c in codes.tolist())
        ]
    if scores.scenario == "buy_again":
        return [_again(scores.history, code, timed) for code in codes.tolist()]
    if not scores.personalized:
        return [_demand(catalog, scores, code) for code in codes.tolist()]
    return _personal(catalog, scores, codes, timed)


def _personal(catalog: ServingCatalog, scores: ScenarioScores, codes: NDArray[np.int64], timed: bool) -> list[Reason]:
    assert scores.embedding is not None
    history = scores.history
    vectors = catalog.vectors(codes)
    by_sequence = vectors @ scores.embedding
    neighbors, repeats = _largest(scores, codes)
    own = catalog.vectors(history.item)
    cosine = vectors @ (own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-9)).T
    nearest = cosine.argmax(axis=1)
    found = []
    for place, code in enumerate(codes.tolist()):
        name, source, value = neighbors.get(code, _NO_NEIGHBOR)
        repeat = repeats.get(code, 0.0)
        if repeat > max(value, float(by_sequence[place]), 0.0) or (repeat > 0 and code in history.item):
            found.append(_again(history, code, timed))
        elif value > 0 and value >= by_sequence[place]:
            found.append(_neighbor(catalog, name, int(history.item[source])))
        else:
            row = int(nearest[place])
            verb = _VERBS.get(int(history.event[row]), "chose")
            found.append(_from("because_of", f"because you {verb}", catalog, int(history.item[row])))
    return found


def _largest(scores: ScenarioScores, codes: NDArray[np.int64]) -> tuple[dict[int, tuple[str, int, float]], dict[int, float]]:
    """By item the largest contribution of a neighbour (matrix, its `source`, value), and the one of buying again."""
    neighbors: dict[int, tuple[str, int, float]] = {}
    repeats: dict[int, float] = {}
    listed = np.zeros(len(scores.approximate), bool)
    listed[codes] = True
    for part in scores.contributions:
        for at in np.flatnonzero(listed[part.item]).tolist():
            code, value = int(part.item[at]), float(part.value[at])
            if part.component == REPEAT:
                repeats[code] = value
            elif value > neighbors.get(code, _NO_NEIGHBOR)[2]:
                neighbors[code] = (part.component, int(part.source[at]), value)
    return neighbors, repeats


def _neighbor(catalog: ServingCatalog, matrix: str, code: int) -> Reason:
    return _from(*_NEIGHBOR[matrix], catalog, code)


def _from(kind: str, words: str, catalog: ServingCatalog, code: int) -> Reason:
    return {"kind": kind, "text": f"{words} {catalog.name(code)}", "item_id": catalog.items[code]}


def _again(history: InteractionHistory, code: int, timed: bool) -> Reason:
    own = history.item == code
    baskets, first = np.unique(history.basket[own], return_index=True)
    if timed and len(baskets) > 2:
        ages = history.age[own][first]
        days = float(ages.max() - ages.min()) / (len(baskets) - 1)
        if days >= 0.5:
            return {"kind": "buy_again", "text": f"you buy this {interval(days)}", "every_days": round(days, 1)}
    return {"kind": "buy_again", "text": "you bought this before"}


def interval(days: float) -> str:
    """A number of days in words.

    >>> [interval(days) for days in (1, 3, 7.5, 14, 31, 92)]
    ['every day', 'every 3 days', 'every week', 'every 2 weeks', 'every month', 'every 3 months']
    """
    units: Sequence[tuple[str, float, float]] = (("day", 1.0, 6.0), ("week", 7.0, 26.0), ("month", 30.44, float("inf")))
    unit, length, _ = next(row for row in units if days < row[2])
    count = max(1, round(days / length))
    return f"every {unit}" if count == 1 else f"every {count} {unit}s"


def _demand(catalog: ServingCatalog, scores: ScenarioScores, code: int) -> Reason:
    kind = "trending" if scores.scenario == "trending" else "popular"
    category = catalog.attributes.word("category", code)
    return {"kind": kind, "text": f"{kind} in {category}" if category else f"{kind} now"}
