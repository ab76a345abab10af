"""How the components are added up. The weights are learnt for each data set in training and lie in `mix.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class BlendWeights:
    """Weights of the components in a score.

    sequence   of user vector · item vector
    static     of each row of the static scores, for users with a history
    cold       the same for users without one: nothing else speaks for them
    matrices   for each neighbour matrix: weight by the rank of the history item's basket, 0 the newest
    repeat     of each of `components.REPEAT_FEATURES`; empty where the training data shows no repeat buying
    slope, intercept
               of `relevance`
    """

    sequence: float = 1.0
    static: Mapping[str, float] = field(default_factory=dict)
    cold: Mapping[str, float] = field(default_factory=dict)
    matrices: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    repeat: Mapping[str, float] = field(default_factory=dict)
    slope: float = 1.0
    intercept: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> BlendWeights:
        matrices = {name: tuple(weights) for name, weights in content["matrices"].items()}
        # Bundles of before November 2026 have `newcomer` and `margin` too, which placed cold items apart from the others.
        known = {field.name: content[field.name] for field in fields(BlendWeights) if field.name in content}
        return BlendWeights(**{**known, "matrices": matrices})

    def rank_weights(self, matrix: str) -> NDArray[np.float32]:
        """By the rank of the history item's basket; nothing for a matrix that the mix does without."""
        return np.array(self.matrices.get(matrix, (0.0,)), np.float32)

    def relevance(self, scores: NDArray[Any], total: NDArray[Any]) -> NDArray[np.float64]:
        """The chance that an item is what the user takes next, 0 … 1.

        scores   (N, k) of the items asked about
        total    (N,) log Σ exp of the scores of all items that the user could be shown
        """
        logit = self.slope * (scores.astype(np.float64) - total[:, None]) + self.intercept
        chance: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-logit))
        return chance


def log_total(scores: NDArray[Any]) -> NDArray[np.float64]:
    """(N,) log Σ exp over the items, without overflow; −inf scores (not eligible) count nothing."""
    high = scores.max(axis=1, keepdims=True)
    total: NDArray[np.float64] = high[:, 0] + np.log(np.exp((scores - high).astype(np.float64)).sum(axis=1))
    return total
