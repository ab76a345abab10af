"""Why these items: what each item of the history, and each static score, adds to their scores.

    score = base + Σ contributions

The base is what popularity gives an average item. The user embedding is a game over the different items of the history whose
worth is a vector, so its Shapley values are vectors too, and the share of a history item in a score is a dot product with
them: one sampling explains the whole list. Orders are drawn in antithetic pairs, one the reverse of the other (Castro, Gómez
and Tejada 2009; Mitchell et al. 2022), until a time budget is spent. A control variate (`control_variates`) removes most of
the noise.

Contributions of neighbours and of buying again come from single items of the history and are exact: baskets that a coalition
lacks leave their places empty. So contributions sum to the score however few orders are drawn.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.recommendations import control_variates
from personalization.recommendations.history import InteractionHistory
from personalization.recommendations.recommender import POPULARITY, STATIC
from personalization.recommendations.scenarios import ScenarioScores
from personalization.recommendations.scoring import user_embeddings
from personalization.recommendations.serving_catalog import ServingCatalog

PAIRS: Final = 32
_FEWEST_PAIRS: Final = 2  # fewer give no standard error
_LARGEST: Final = 10  # contributions that are listed one by one

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ItemExplanations:
    """Explanations of k items.

    base             float64 (k,)
    sources          (n,) codes of the different items of the history, or of the seed items
    contributions    float64 (k, n)
    standard_error   float64 (k, n), of the drawing of orders; 0 where nothing was drawn
    components       float64 (k,) by name: what does not come from the history
    orders           number of orders that were drawn
    """

    base: Floats
    sources: NDArray[np.int64]
    contributions: Floats
    standard_error: Floats
    components: dict[str, Floats]
    orders: int

    def totals(self) -> Floats:
        """(k,) base and contributions together: the scores."""
        totals: Floats = self.base + self.contributions.sum(axis=1) + sum(self.components.values())
        return totals

    def to_json(self, catalog: ServingCatalog) -> list[dict[str, Any]]:
        """For each item the largest contributions, and the others as one sum."""
        names = [{"item_id": catalog.items[code], "name": catalog.name(code)} for code in self.sources.tolist()]
        return [self._row(row, names) for row in range(len(self.base))]

    def _row(self, row: int, names: list[dict[str, str]]) -> dict[str, Any]:
        terms: list[dict[str, Any]] = [
            name | {"value": value, "standard_error": error}
            for name, value, error in zip(
                names, self.contributions[row].tolist(), self.standard_error[row].tolist(), strict=True
            )
        ]
        terms += [{"component": name, "value": float(v[row]), "standard_error": 0.0} for name, v in self.components.items()]
        terms.sort(key=lambda term: -abs(term["value"]))
        listed, rest = terms[:_LARGEST], terms[_LARGEST:]
        explanation: dict[str, Any] = {
            "base": round(float(self.base[row]), 6),
            "contributions": [term | {name: round(term[name], 6) for name in ("value", "standard_error")} for term in listed],
            "orders": self.orders,
        }
        if rest:
            explanation["others"] = {"count": len(rest), "value": round(sum(term["value"] for term in rest), 6)}
        return explanation


def explain_items(
    catalog: ServingCatalog,
    scores: ScenarioScores,
    codes: NDArray[np.int64],
    *,
    pairs: int = PAIRS,
    budget_seconds: float | None = None,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> ItemExplanations:
    """Explain the scores of the items `codes`.

    pairs            of orders, at most; more of them, smaller standard errors
    budget_seconds   no pair is begun after this, but for the first two
    """
    items = np.array(scores.seed_items, np.int64) if scores.seed_items else scores.history.item
    sources, source_of = np.unique(items, return_inverse=True)
    contributions = np.zeros((len(codes), len(sources)))
    errors, orders = np.zeros_like(contributions), 0
    if scores.scenario == "similar":  # all of it comes from the one item
        contributions[:, 0] = scores.exact(catalog, codes)
    else:
        if scores.embedding is not None and len(sources):
            sampling = _ShapleySampling(catalog, scores.history, source_of)
            contributions, errors, orders = sampling.run(catalog.vectors(codes), pairs, budget_seconds, seed, clock)
        row_of = {code: row for row, code in enumerate(codes.tolist())}
        for part in scores.contributions:
            for at in np.flatnonzero(np.isin(part.item, codes)).tolist():
                item, source = int(part.item[at]), int(part.source[at])
                column = int(np.searchsorted(sources, item)) if source < 0 else int(source_of[source])
                contributions[row_of[item], column] += float(part.value[at])
    base, components = _static(catalog, scores, codes)
    return ItemExplanations(base, sources.astype(np.int64), contributions, errors, components, orders)


def _static(catalog: ServingCatalog, scores: ScenarioScores, codes: NDArray[np.int64]) -> tuple[Floats, dict[str, Floats]]:
    """The mean of static scores as base, and for each what an item has beyond its mean."""
    base = np.zeros(len(codes))
    if scores.seed_items:
        return base, {}
    if scores.embedding is None:
        values = scores.approximate.astype(np.float64)
        name: str = POPULARITY if scores.scenario == "personal" else scores.scenario
        return base + values.mean(), {name: values[codes] - values.mean()}
    components: dict[str, Floats] = {}
    for static, values in zip(STATIC, catalog.static, strict=True):
        weight = catalog.recommender.blend.static.get(static, 0.0)
        if weight:
            mean = float(values.mean())
            base += weight * mean
            components[static] = weight * (values[codes].astype(np.float64) - mean)
    return base, components


class _ShapleySampling:
    """Shapley values of the user embedding by antithetic permutation sampling; players are the items of a history."""

    def __init__(self, catalog: ServingCatalog, history: InteractionHistory, source_of: NDArray[np.int64]) -> None:
        self._catalog, self._count = catalog, int(source_of.max()) + 1
        # Items that the encoder does not see have no part in the embedding.
        seen = slice(-catalog.recommender.longest, None)
        self._item, self._basket = history.item[seen], history.basket[seen]
        self._age, self._event = history.age[seen], history.event[seen]
        # Players are ordered by their newest event, from the oldest on, as `control_variates` needs it.
        players, last = np.unique(source_of[seen][::-1], return_index=True)
        self._players = players[np.argsort(-last)]
        position = np.zeros(self._count, np.int64)
        position[self._players] = np.arange(len(players))
        self._player = position[source_of[seen]]

    def run(
        self,
        vectors: NDArray[np.float32],
        pairs: int,
        budget: float | None,
        seed: int,
        clock: Callable[[], float],
    ) -> tuple[Floats, Floats, int]:
        """Contributions and their standard errors, both (k, sources), and the number of orders.

        vectors   float32 (k, D) embeddings of the items to explain
        """
        random = np.random.default_rng(seed)
        count = len(self._players)
        deadline = np.inf if budget is None else clock() + budget
        alone = self._embeddings(np.eye(count, dtype=bool)) @ vectors.T.astype(np.float64)
        drawn: list[Floats] = []
        weights: list[Floats] = []
        while len(drawn) < max(pairs, _FEWEST_PAIRS):
            order = random.permutation(count)
            turn = np.argsort(np.stack([order, order[::-1]]), axis=1)
            coalitions = _coalitions(turn)
            drawn.append(_marginal(self._embeddings(coalitions) @ vectors.T.astype(np.float64), turn))
            weights.append(
                np.stack([_marginal(control_variates.player_weights(coalitions, p), turn) for p in control_variates.POWERS])
            )
            if count == 1 or (len(drawn) >= _FEWEST_PAIRS and clock() >= deadline):
                break
        known, samples = _least_noise(np.stack(drawn), np.stack(weights), alone)
        contributions, errors = np.zeros((len(vectors), self._count)), np.zeros((len(vectors), self._count))
        contributions[:, self._players] = (known + samples.mean(axis=0)).T
        if len(samples) > 1:
            errors[:, self._players] = (samples.std(axis=0, ddof=1) / np.sqrt(len(samples))).T
        return contributions, errors, 2 * len(samples)

    def _embeddings(self, inside: NDArray[np.bool_]) -> Floats:
        """(coalitions, D) user embeddings of the histories that hold the items of `inside` (coalitions, players) alone."""
        rows, places = np.nonzero(inside[:, self._player])
        offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(inside)))]).astype(np.int64)
        coalitions = InteractionHistory(
            self._item[places], offsets, self._basket[places], self._age[places], self._event[places]
        )
        return user_embeddings(self._catalog, coalitions).astype(np.float64)


def _coalitions(turn: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(orders × (n + 1), n): the players inside before each step and after the last.

    turn   (orders, n) the step at which each player joins
    """
    count = turn.shape[1]
    inside = turn[:, None, :] < np.arange(count + 1)[None, :, None]
    return inside.reshape(-1, count)


def _marginal(worth: Floats, turn: NDArray[np.int64]) -> Floats:
    """(n, …): the change of the worth (orders × (n + 1), …) when each player joins, in the mean of the orders."""
    steps = np.diff(worth.reshape(len(turn), turn.shape[1] + 1, -1), axis=1)
    marginal: Floats = np.take_along_axis(steps, turn[:, :, None], axis=1).mean(axis=0)
    return marginal


def _least_noise(drawn: Floats, weights: Floats, alone: Floats) -> tuple[Floats, Floats]:
    """The Shapley values (n, k) of the control variate with the least noise, and the samples (pairs, n, k) beyond it.

    drawn     (pairs, n, k) marginal worths
    weights   (pairs, powers, n, n) marginal weights of the players in each control variate
    alone     (n, k) worth of each player alone
    """
    rests = [drawn - weights[:, place] @ alone for place in range(weights.shape[1])]
    best = int(np.argmin([rest.var(axis=0).sum() for rest in rests]))
    return control_variates.shapley_matrix(len(alone), control_variates.POWERS[best]) @ alone, rests[best]
