"""A recommender, loaded from a bundle or put together in training: scores of all items for histories.

    score = [w · user vector | static weights] · [item vector | static scores]  +  additions to a few items

so that retrieval is one exact product over all items and a sparse correction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from personalization.bundles.bundle import Bundle
from personalization.features.window import Window
from personalization.recommendations.blend import BlendWeights
from personalization.recommendations.components import REPEAT_FEATURES, encoder_inputs, neighbour_additions, repeat_features
from personalization.recommendations.history import BasketPace, InteractionHistory
from personalization.recommendations.sparse import NeighborMatrix, SparseScores, joined

ITEMS_JSON: Final = "items.json"
MIX_JSON: Final = "mix.json"
VECTORS_NPY: Final = "item_vectors.npy"
STATIC_NPY: Final = "static.npy"
REPURCHASE_NPY: Final = "repurchase.npy"
MATRICES: Final = ("together", "next", "alike")
STATIC: Final = ("popularity", "recent")

Encode = Callable[[Mapping[str, NDArray[Any]]], NDArray[np.float32]]


@dataclass(frozen=True)
class Recommender:
    """Everything that scores items.

    items        ids by code
    vectors      float32 (items, D)
    static       float32 (len(STATIC), items): scores that are the same for all users
    matrices     item-to-item neighbours by name
    repurchase   float32 (items,): log odds of buying it again in the next basket
    mix          weights
    encode       encoder inputs → user vectors float32 (N, D); of the inputs it takes those that it needs
    inputs       names of the encoder's inputs
    longest      items of a history that the encoder sees
    pace, window of histories
    repeat_buying
                 False: what a user had already comes after everything else
    """

    items: Sequence[str]
    vectors: NDArray[np.float32]
    static: NDArray[np.float32]
    matrices: Mapping[str, NeighborMatrix]
    repurchase: NDArray[np.float32]
    mix: BlendWeights
    encode: Encode
    inputs: tuple[str, ...] = ("vectors", "known")
    longest: int = 50
    pace: BasketPace = field(default_factory=BasketPace)
    window: Window = field(default_factory=Window)
    repeat_buying: bool = False

    @cached_property
    def code_of_item(self) -> Mapping[str, int]:
        """Code by item id."""
        return {item: code for code, item in enumerate(self.items)}

    def user_vectors(self, histories: InteractionHistory) -> NDArray[np.float32]:
        """(N, D); zeros for users without a history."""
        out = np.zeros((len(histories), self.vectors.shape[1]), np.float32)
        warm = np.flatnonzero(histories.lengths > 0)
        lengths = np.minimum(histories.lengths[warm], self.longest)
        for some in length_buckets(lengths):
            inputs = encoder_inputs(histories.take(warm[some]), self.vectors, self.longest)
            out[warm[some]] = self.encode({name: inputs[name] for name in self.inputs})
        return out

    def dense_query(self, histories: InteractionHistory) -> NDArray[np.float32]:
        """(N, D + S): what is multiplied with `[vectors | static]` of all items."""
        users = self.mix.sequence * self.user_vectors(histories)
        warm = np.array([self.mix.static.get(name, 0.0) for name in STATIC], np.float32)
        cold = np.array([self.mix.cold.get(name, 0.0) for name in STATIC], np.float32)
        static = np.where((histories.lengths > 0)[:, None], warm, cold)
        return np.concatenate([users, static], axis=1).astype(np.float32)

    def parts(self, histories: InteractionHistory) -> dict[str, SparseScores]:
        """Weighted additions by component, not summed: `together`, `next`, `alike`, `repeat`, where the mix has them."""
        parts = {
            name: neighbour_additions(histories, matrix, self.mix.rank_weights(name))
            for name, matrix in self.matrices.items()
            if any(self.mix.matrices.get(name, ()))
        }
        if self.mix.repeat:
            weights = np.array([self.mix.repeat.get(name, 0.0) for name in REPEAT_FEATURES], np.float32)
            user, item, features = repeat_features(histories, self.repurchase)
            parts["repeat"] = SparseScores(user, item, features @ weights)
        return parts

    def additions(self, histories: InteractionHistory) -> SparseScores:
        """All sparse parts of the scores."""
        return joined(list(self.parts(histories).values()))

    def scores(self, histories: InteractionHistory) -> NDArray[np.float32]:
        """(N, items), exact."""
        query = self.dense_query(histories)
        size = self.vectors.shape[1]
        scores = query[:, :size] @ self.vectors.T
        scores += query[:, size:] @ self.static
        self.additions(histories).add_to(scores)
        return scores

    def placed(self, scores: NDArray[np.float32], histories: InteractionHistory) -> NDArray[np.float32]:
        """What to rank by: the scores, with what a user had already below everything else unless there is repeat buying."""
        return scores if self.repeat_buying else demote_seen(scores, histories)


def demote_seen(scores: NDArray[np.float32], histories: InteractionHistory) -> NDArray[np.float32]:
    """The scores with the items of each history moved below all others, in their order; a copy."""
    ranking = scores.copy()
    below = scores.max(axis=1) - scores.min(axis=1) + 1.0
    user, item = histories.user, histories.item
    ranking[user, item] = scores[user, item] - below[user]
    return ranking


def length_buckets(lengths: NDArray[np.int64], rows: int = 512) -> list[NDArray[np.int64]]:
    """Groups of at most `rows` histories of about the same length, so that little of a batch is padding."""
    order = np.argsort(lengths, kind="stable")
    groups: list[NDArray[np.int64]] = []
    start = 0
    while start < len(order):
        limit = max(4, 1.5 * lengths[order[start]])
        end = min(start + rows, int(np.searchsorted(lengths[order], limit, side="right")))
        groups.append(order[start:end])
        start = end
    return groups


def load(bundle: Bundle) -> Recommender:
    """The bundle's recommender; a version is loaded once. Large arrays stay on disk until they are touched."""
    return _load(_Version(bundle))


class _Version:
    """A bundle as the key of a cache: bundles of the same directory and hash are the same."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._key = (bundle.directory, bundle.sha256)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Version) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@lru_cache(maxsize=4)
def _load(version: _Version) -> Recommender:
    bundle = version.bundle
    settings = bundle.manifest["recommendations"]
    return Recommender(
        items=orjson.loads(bundle.file(ITEMS_JSON).read_bytes())["items"],
        vectors=_array(bundle, VECTORS_NPY),
        static=_array(bundle, STATIC_NPY),
        matrices={
            name: NeighborMatrix(*(_array(bundle, f"{name}_{part}.npy") for part in ("indptr", "indices", "values")))
            for name in MATRICES
            if f"{name}_indptr.npy" in bundle.manifest["files"]
        },
        repurchase=_array(bundle, REPURCHASE_NPY),
        mix=BlendWeights.from_json(orjson.loads(bundle.file(MIX_JSON).read_bytes())),
        encode=lambda inputs: bundle.run(inputs)["user_vector"],
        inputs=tuple(node["name"] for node in bundle.manifest["inputs"]),
        longest=int(settings["longest"]),
        pace=BasketPace(**settings["pace"]),
        window=Window(**bundle.manifest["history_window"]),
        repeat_buying=bool(bundle.manifest["repeat_buying"]),
    )


def _array(bundle: Bundle, name: str) -> NDArray[Any]:
    array: NDArray[Any] = np.load(bundle.file(name), mmap_mode="r")
    return array
