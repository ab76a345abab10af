"""What training learnt: item embeddings, static scores, item-to-item matrices, blend weights and the user encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from personalization.bundles.bundle import Bundle
from personalization.core.csr import CsrMatrix
from personalization.features.history_window import HistoryWindow
from personalization.recommendations.blend import MATRIX_KEYS, BlendWeights
from personalization.recommendations.components import encoder_inputs
from personalization.recommendations.history import BasketPace, InteractionHistory

ITEMS_JSON: Final = "items.json"
MIX_JSON: Final = "mix.json"
VECTORS_NPY: Final = "item_vectors.npy"
STATIC_NPY: Final = "static.npy"
REPURCHASE_NPY: Final = "repurchase.npy"
POPULARITY: Final = "popularity"
RECENT: Final = "recent"
STATIC: Final = (POPULARITY, RECENT)
_ENCODED_AT_ONCE: Final = 512  # histories

Encode = Callable[[Mapping[str, NDArray[Any]]], NDArray[np.float32]]


@dataclass(frozen=True)
class Recommender:
    """Everything that training knows of the items in its data. `scoring.score_users` computes scores from it.

    items        ids by code
    vectors      float32 (items, D) embeddings
    static       float32 (len(STATIC), items): scores that are the same for all users
    matrices     item-to-item matrices by name (`blend.MATRIX_KEYS`): row j lists items and how strongly j speaks for them
    repurchase   float32 (items,): log odds of buying it again in the next basket
    blend        weights of the components
    encode       encoder inputs → user embeddings float32 (N, D); of the inputs it takes those that it needs
    inputs       names of the encoder's inputs
    longest      items of a history that the encoder sees
    pace, window of histories
    repeat_buying
                 False: items of the history come after all others
    """

    items: Sequence[str]
    vectors: NDArray[np.float32]
    static: NDArray[np.float32]
    matrices: Mapping[str, CsrMatrix]
    repurchase: NDArray[np.float32]
    blend: BlendWeights
    encode: Encode
    inputs: tuple[str, ...] = ("vectors", "known")
    longest: int = 50
    pace: BasketPace = field(default_factory=BasketPace)
    window: HistoryWindow = field(default_factory=HistoryWindow)
    repeat_buying: bool = False

    @cached_property
    def code_of_item(self) -> Mapping[str, int]:
        """Code by item id."""
        return {item: code for code, item in enumerate(self.items)}

    def user_embeddings(self, histories: InteractionHistory, vectors: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """(N, D) of the encoder, not weighted; zeros for users without a history.

        vectors   (items, D) embeddings that the histories' codes index, where these are not the recommender's own
        """
        vectors = self.vectors if vectors is None else vectors
        out = np.zeros((len(histories), self.vectors.shape[1]), np.float32)
        warm = np.flatnonzero(histories.lengths > 0)
        for some in _length_buckets(np.minimum(histories.lengths[warm], self.longest)):
            inputs = encoder_inputs(histories.take(warm[some]), vectors, self.longest)
            out[warm[some]] = self.encode({name: inputs[name] for name in self.inputs})
        return out


def load_recommender(bundle: Bundle) -> Recommender:
    """Read the bundle's recommender. Large arrays stay on disk until they are touched."""
    settings = bundle.manifest["recommendations"]
    items = orjson.loads(bundle.file(ITEMS_JSON).read_bytes())["items"]
    return Recommender(
        items=items,
        vectors=read_array(bundle, VECTORS_NPY),
        static=read_array(bundle, STATIC_NPY),
        matrices={
            name: read_matrix(bundle, key, len(items))
            for name, key in MATRIX_KEYS.items()
            if f"{key}_indptr.npy" in bundle.manifest["files"]
        },
        repurchase=read_array(bundle, REPURCHASE_NPY),
        blend=BlendWeights.from_json(orjson.loads(bundle.file(MIX_JSON).read_bytes())),
        encode=lambda inputs: bundle.run(inputs)["user_vector"],
        inputs=tuple(node["name"] for node in bundle.manifest["inputs"]),
        longest=int(settings["longest"]),
        pace=BasketPace(**settings["pace"]),
        window=HistoryWindow(**bundle.manifest["history_window"]),
        repeat_buying=bool(bundle.manifest["repeat_buying"]),
    )


def read_array(bundle: Bundle, name: str) -> NDArray[Any]:
    """An array of the bundle, mapped from its file."""
    return np.asarray(np.load(bundle.file(name), mmap_mode="r"))  # numpy's class for mapped files costs at each access


def read_matrix(bundle: Bundle, key: str, columns: int) -> CsrMatrix:
    """A sparse matrix of the bundle, mapped from its three files."""
    indptr, indices, values = (read_array(bundle, f"{key}_{part}.npy") for part in ("indptr", "indices", "values"))
    return CsrMatrix(indptr, indices, values, columns)


def _length_buckets(lengths: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Groups of histories of about the same length, so that little of a batch is padding."""
    order = np.argsort(lengths, kind="stable")
    groups: list[NDArray[np.int64]] = []
    start = 0
    while start < len(order):
        limit = max(4, 1.5 * lengths[order[start]])
        end = min(start + _ENCODED_AT_ONCE, int(np.searchsorted(lengths[order], limit, side="right")))
        groups.append(order[start:end])
        start = end
    return groups
