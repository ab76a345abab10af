"""Weights of the components of a score. Training learns them for each data set; a bundle holds them in `mix.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

COOCCURRENCE: Final = "cooccurrence"
TRANSITION: Final = "transition"
CONTENT_SIMILARITY: Final = "content_similarity"
# What a bundle calls the item-to-item matrices: in `mix.json` and at the beginning of their files' names.
MATRIX_KEYS: Final = {COOCCURRENCE: "together", TRANSITION: "next", CONTENT_SIMILARITY: "alike"}


@dataclass(frozen=True, slots=True)
class BlendWeights:
    """Weights of the components of a score.

    sequence   of user embedding · item embedding
    static     of each of `recommender.STATIC`, for users with a history
    cold       the same for users without one
    matrices   for each item-to-item matrix: weight by the rank of the history item's basket, 0 the newest
    repeat     of each of `components.REPEAT_FEATURES`; empty where the training data shows no repeat buying
    cold_item_scale
               factor of the content embeddings of items that came after training; `newcomer` in `mix.json`
    slope, intercept
               of `relevance`
    """

    sequence: float = 1.0
    static: Mapping[str, float] = field(default_factory=dict)
    cold: Mapping[str, float] = field(default_factory=dict)
    matrices: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    repeat: Mapping[str, float] = field(default_factory=dict)
    cold_item_scale: float = 1.0
    slope: float = 1.0
    intercept: float = 0.0

    def to_json(self) -> dict[str, Any]:
        content = asdict(self)
        content["newcomer"] = content.pop("cold_item_scale")
        return content | {"matrices": {MATRIX_KEYS[name]: weights for name, weights in self.matrices.items()}}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> BlendWeights:
        # Bundles of before November 2026 also have a `margin`, by which new items took the last places of a list.
        known = {field.name: content[field.name] for field in fields(BlendWeights) if field.name in content}
        known["cold_item_scale"] = content.get("newcomer", 1.0)
        stored: Mapping[str, list[float]] = content["matrices"]
        matrices = {name: tuple(stored[key]) for name, key in MATRIX_KEYS.items() if key in stored}
        return BlendWeights(**{**known, "matrices": matrices})

    def rank_weights(self, matrix: str) -> NDArray[np.float32]:
        """Weights of a matrix by the rank of the history item's basket; a single 0 where the blend does without it."""
        return np.array(self.matrices.get(matrix, (0.0,)), np.float32)

    def relevance(self, scores: NDArray[Any], total: float) -> NDArray[np.float64]:
        """Calibrated probability (0 … 1) that an item is what the user takes next.

        scores   (n,) of items
        total    `log_total` of all items that the user could be shown
        """
        logit = self.slope * (scores.astype(np.float64) - total) + self.intercept
        probability: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-logit))
        return probability


def log_total(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N,) log Σ exp over the items of (N, items), without overflow; scores of −inf count nothing.

    Exponentials keep the precision of the scores: a million of them are to take a few milliseconds.
    """
    high = scores.max(axis=1, keepdims=True)
    total: NDArray[np.float64] = high[:, 0] + np.log(np.exp(scores - high).sum(axis=1, dtype=np.float64))
    return total
