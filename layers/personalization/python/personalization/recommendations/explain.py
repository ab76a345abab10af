"""Why these items: what each item of the history, and each simple component, adds to their scores.

    score = base + Σ contributions

base is what an average item gets from popularity alone. The user vector is a game over the different items of the history
whose worth is a vector, so its Shapley values are vectors too, and an item's share of its score is a dot product with them:
one sampling explains the whole list. Orders are drawn in pairs, one the reverse of the other (Castro, Gómez and Tejada, 2009;
Mitchell et al., 2022). A user vector is much like a mean of what its items say alone, in which newer ones weigh more: such a
mean's Shapley values are known (`surrogate`), and orders are drawn for the difference alone, which varies far less.

What neighbours and buying again add belongs to single items of the history, exactly: baskets that a coalition lacks leave
their places empty. So contributions sum to the score however few orders there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.recommendations import InteractionHistory, control_variates
from personalization.recommendations.recommender import STATIC
from personalization.recommendations.scenarios import ItemScores
from personalization.recommendations.scorers import user_embedding
from personalization.recommendations.serving_catalog import ServingCatalog

PAIRS: Final = 32
_FEWEST_PAIRS: Final = 2  # below there is no standard error
_TOLD: Final = 10  # contributions in an answer; the others are summed up


@dataclass(frozen=True, slots=True)
class Explanations:
    """Of k items.

    base             float64 (k,)
    players          codes of the different items of the history (or of the question), (n,)
    contributions    float64 (k, n)
    standard_error   float64 (k, n), of the drawing of orders; 0 where nothing was drawn
    components       float64 (k,) by name: what does not come from the history
    orders           that were walked
    """

    base: NDArray[np.float64]
    players: NDArray[np.int64]
    contributions: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    components: dict[str, NDArray[np.float64]]
    orders: int

    def totals(self) -> NDArray[np.float64]:
        """(k,) base and contributions together: the scores."""
        totals: NDArray[np.float64] = self.base + self.contributions.sum(axis=1) + sum(self.components.values())
        return totals

    def described(self, here: ServingCatalog) -> list[dict[str, Any]]:
        """For an answer: the largest contributions of each item, the others as one sum."""
        names = [{"item_id": here.items[code], "name": here.name(code)} for code in self.players.tolist()]
        return [self._of(row, names) for row in range(len(self.base))]

    def _of(self, row: int, names: list[dict[str, str]]) -> dict[str, Any]:
        told: list[dict[str, Any]] = [
            name | {"value": value, "standard_error": error}
            for name, value, error in zip(
                names, self.contributions[row].tolist(), self.standard_error[row].tolist(), strict=True
            )
        ]
        told += [
            {"component": name, "value": float(values[row]), "standard_error": 0.0} for name, values in self.components.items()
        ]
        told.sort(key=lambda each: -abs(each["value"]))
        rest = told[_TOLD:]
        explanation: dict[str, Any] = {
            "base": round(float(self.base[row]), 6),
            "contributions": [
                each | {name: round(each[name], 6) for name in ("value", "standard_error")} for each in told[:_TOLD]
            ],
            "orders": self.orders,
        }
        if rest:
            explanation["others"] = {"count": len(rest), "value": round(sum(each["value"] for each in rest), 6)}
        return explanation


def explain_items(
    here: ServingCatalog,
    scoring: ItemScores,
    codes: NDArray[np.int64],
    *,
    pairs: int = PAIRS,
    budget_seconds: float | None = None,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> Explanations:
    """Explain the scores of some items.

    pairs            of orders, at most; more of them, less noise
    budget_seconds   no pair is begun after this, but for the first two
    """
    history = scoring.history
    if scoring.anchors:
        players, player_of = np.unique(np.array(scoring.anchors), return_inverse=True)
    else:
        players, player_of = np.unique(history.item, return_inverse=True)
    players = players.astype(np.int64)
    contributions = np.zeros((len(codes), len(players)))
    errors = np.zeros_like(contributions)
    orders = 0
    if scoring.query is not None and len(players):
        game = _Game(here, history, player_of, len(players))
        contributions, errors, orders = game.played(here.vectors(codes), pairs, budget_seconds, seed, clock)
    place = {code: row for row, code in enumerate(codes.tolist())}
    for part in scoring.parts:
        for at in np.flatnonzero(np.isin(part.item, codes)).tolist():
            source = int(part.source[at])
            player = int(np.searchsorted(players, part.item[at])) if source < 0 else int(player_of[source])
            contributions[place[int(part.item[at])], player] += float(part.value[at])
    base, components = _simple(here, scoring, codes)
    if scoring.scenario == "similar":  # what is left of it is the likeness of the vectors
        contributions[:, 0] = scoring.values[codes]
    return Explanations(base, players, contributions, errors, components, orders)


def _simple(
    here: ServingCatalog, scoring: ItemScores, codes: NDArray[np.int64]
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Base and components of items: what static scores add to those of an average item."""
    zeros = np.zeros(len(codes))
    if scoring.anchors:
        return zeros, {}
    if scoring.query is None:
        values = scoring.values.astype(np.float64)
        mean = float(values.mean())
        return zeros + mean, {scoring.scenario if scoring.scenario != "personal" else "popularity": values[codes] - mean}
    base, components = 0.0, {}
    for row, name in enumerate(STATIC):
        weight = here.recommender.mix.static.get(name, 0.0)
        if weight:
            mean = float(here.static[row].mean())
            base += weight * mean
            components[name] = weight * (here.static[row][codes].astype(np.float64) - mean)
    return zeros + base, components


class _Game:
    """The user vector as a game over the items of a history."""

    def __init__(self, here: ServingCatalog, history: InteractionHistory, player_of: NDArray[np.int64], players: int) -> None:
        # What the encoder does not see has no part in it.
        seen = slice(-here.recommender.longest, None)
        self._here, self._all = here, players
        self._item, self._basket = history.item[seen], history.basket[seen]
        self._age, self._event = history.age[seen], history.event[seen]
        # By the newest of their items, from the oldest on: surrogates go by that.
        heard, first = np.unique(player_of[seen][::-1], return_index=True)
        self._players = heard[np.argsort(-first)]
        place = np.zeros(players, np.int64)
        place[self._players] = np.arange(len(heard))
        self._player = place[player_of[seen]]

    def played(
        self,
        vectors: NDArray[np.float32],
        pairs: int,
        budget: float | None,
        seed: int,
        clock: Callable[[], float],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        """Contributions and their standard errors, both (k, players of the whole history), and the number of orders."""
        random = np.random.default_rng(seed)
        count = len(self._players)
        until = np.inf if budget is None else clock() + budget
        alone = self._worth(np.eye(count, dtype=bool)) @ vectors.T.astype(np.float64)
        drawn: list[NDArray[np.float64]] = []
        shares: list[NDArray[np.float64]] = []
        while len(drawn) < max(pairs, _FEWEST_PAIRS):
            order = random.permutation(count)
            inside, turn = _walk(np.stack([order, order[::-1]]))
            worth = self._worth(inside) @ vectors.T.astype(np.float64)
            drawn.append(_changes(worth, turn))
            shares.append(
                np.stack([_changes(control_variates.shares(inside, power), turn) for power in control_variates.POWERS])
            )
            if count == 1 or (len(drawn) >= _FEWEST_PAIRS and clock() >= until):
                break
        known, rest = _least_noise(np.stack(drawn), np.stack(shares), alone)
        contributions, errors = np.zeros((len(vectors), self._all)), np.zeros((len(vectors), self._all))
        contributions[:, self._players] = (known + rest.mean(axis=0)).T
        if len(rest) > 1:
            errors[:, self._players] = (rest.std(axis=0, ddof=1) / np.sqrt(len(rest))).T
        return contributions, errors, 2 * len(rest)

    def _worth(self, inside: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(coalitions, D) user vectors of those who are inside, (coalitions, players)."""
        rows, places = np.nonzero(inside[:, self._player])
        offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(inside)))]).astype(np.int64)
        coalitions = InteractionHistory(
            self._item[places], offsets, self._basket[places], self._age[places], self._event[places]
        )
        return user_embedding(self._here, coalitions).astype(np.float64)


def _walk(orders: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Who is inside before each step and after the last, (orders × (n + 1), n); and when each player comes in, (orders, n)."""
    turn = np.argsort(orders, axis=1)
    count = orders.shape[1]
    inside = turn[:, None, :] < np.arange(count + 1)[None, :, None]
    return inside.reshape(-1, count), turn


def _changes(worth: NDArray[np.float64], turn: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, …): what each player changed when it came in, in the mean of the orders; worth (orders × (n + 1), …)."""
    orders, count = turn.shape
    steps = np.diff(worth.reshape(orders, count + 1, -1), axis=1)
    found: NDArray[np.float64] = np.take_along_axis(steps, turn[:, :, None], axis=1).mean(axis=0)
    return found


def _least_noise(
    drawn: NDArray[np.float64], shares: NDArray[np.float64], alone: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The surrogate with which least is left to chance: its values (n, k), and what was drawn beyond them (pairs, n, k).

    drawn    (pairs, n, k) changes of the worth
    shares   (pairs, powers, n, n) changes of what each player weighs in the surrogates
    alone    (n, k) what each player is worth alone
    """
    rests = [drawn - shares[:, place] @ alone for place in range(shares.shape[1])]
    place = int(np.argmin([rest.var(axis=0).sum() for rest in rests]))
    return control_variates.values(len(alone), control_variates.POWERS[place]) @ alone, rests[place]
