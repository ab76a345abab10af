"""One readable reason for each item of a list, from the part that speaks loudest for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.schema import EVENT_CODE, PURCHASE, VIEW
from personalization.recommendations import InteractionHistory
from personalization.recommendations.scenarios import ItemScores
from personalization.recommendations.serving_catalog import ServingCatalog

_WORDS: Final = {"together": "often bought with", "next": "often bought after", "alike": "similar to"}
_KINDS: Final = {"together": "often_bought_with", "next": "bought_after", "alike": "similar_to"}
_DID: Final = {EVENT_CODE[PURCHASE]: "bought", EVENT_CODE[VIEW]: "viewed"}

Reason = dict[str, Any]


def reasons(assortment: ServingCatalog, scoring: ItemScores, codes: NDArray[np.int64], *, timed: bool) -> list[Reason]:
    """``{"kind", "text"}`` for each item, with the ``item_id`` of the history or question that it comes from.

    timed   whether the history holds real times, so that a rhythm can be told
    """
    if scoring.scenario == "similar":
        return [_from("similar_to", "similar to", assortment, scoring.anchors[0])] * len(codes)
    if scoring.scenario == "bought_together":
        return _neighbours(assortment, scoring, codes, np.array(scoring.anchors))
    if scoring.scenario == "buy_again":
        return [_again(scoring.history, int(code), timed) for code in codes]
    if not scoring.personalized:
        return [_demand(assortment, scoring, int(code)) for code in codes]
    return _personal(assortment, scoring, codes, timed)


def _personal(assortment: ServingCatalog, scoring: ItemScores, codes: NDArray[np.int64], timed: bool) -> list[Reason]:
    history = scoring.history
    vectors = assortment.vectors(codes)
    by_sequence = vectors @ scoring.query if scoring.query is not None else np.zeros(len(codes), np.float32)
    heard, repeated = _loudest(scoring, codes)
    own = assortment.vectors(history.item)
    likeness = vectors @ (own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-9)).T
    nearest = likeness.argmax(axis=1)
    found = []
    for place, code in enumerate(codes.tolist()):
        component, source, value = heard.get(code, ("", -1, 0.0))
        again = repeated.get(code, 0.0)
        if again > max(value, float(by_sequence[place]), 0.0) or (again > 0 and code in history.item):
            found.append(_again(history, code, timed))
        elif value > 0 and value >= by_sequence[place]:
            found.append(_from(_KINDS[component], _WORDS[component], assortment, int(history.item[source])))
        else:
            row = int(nearest[place])
            did = _DID.get(int(history.event[row]), "chose")
            found.append(_from("because_of", f"because you {did}", assortment, int(history.item[row])))
    return found


def _loudest(scoring: ItemScores, codes: NDArray[np.int64]) -> tuple[dict[int, tuple[str, int, float]], dict[int, float]]:
    """For each of the items the strongest single addition (component, place in the history, value), and buying it again."""
    heard: dict[int, tuple[str, int, float]] = {}
    repeated: dict[int, float] = {}
    asked = np.zeros(len(scoring.values), bool)
    asked[codes] = True
    for part in scoring.parts:
        for at in np.flatnonzero(asked[part.item]).tolist():
            code, value = int(part.item[at]), float(part.value[at])
            if part.component == "repeat":
                repeated[code] = value
            elif value > heard.get(code, ("", -1, 0.0))[2]:
                heard[code] = (part.component, int(part.source[at]), value)
    return heard, repeated


def _neighbours(
    assortment: ServingCatalog, scoring: ItemScores, codes: NDArray[np.int64], sources: NDArray[np.int64]
) -> list[Reason]:
    heard, _ = _loudest(scoring, codes)
    return [
        _from(_KINDS[component], _WORDS[component], assortment, int(sources[source]))
        for component, source, _ in (heard[code] for code in codes.tolist())
    ]


def _from(kind: str, words: str, assortment: ServingCatalog, code: int) -> Reason:
    return {"kind": kind, "text": f"{words} {assortment.name(code)}", "item_id": assortment.items[code]}


def _again(history: InteractionHistory, code: int, timed: bool) -> Reason:
    own = history.item == code
    baskets, first = np.unique(history.basket[own], return_index=True)
    if timed and len(baskets) > 2:
        ages = history.age[own][first]
        days = float(ages.max() - ages.min()) / (len(baskets) - 1)
        if days >= 0.5:
            return {"kind": "buy_again", "text": f"you buy this {rhythm(days)}", "every_days": round(days, 1)}
    return {"kind": "buy_again", "text": "you bought this before"}


def rhythm(days: float) -> str:
    """A number of days as people say it.

    >>> [rhythm(days) for days in (1, 3, 7.5, 14, 31, 92)]
    ['every day', 'every 3 days', 'every week', 'every 2 weeks', 'every month', 'every 3 months']
    """
    for unit, length, until in (("day", 1.0, 6.0), ("week", 7.0, 26.0), ("month", 30.44, float("inf"))):
        if days < until:
            count = max(1, round(days / length))
            return f"every {unit}" if count == 1 else f"every {count} {unit}s"
    raise AssertionError("unreachable: the last unit has no end")


def _demand(assortment: ServingCatalog, scoring: ItemScores, code: int) -> Reason:
    kind = "trending" if scoring.scenario == "trending" else "popular"
    category = assortment.attributes.word("category", code)
    reason: Mapping[str, Any] = {"kind": kind, "text": f"{kind} in {category}" if category else f"{kind} now"}
    return dict(reason)
