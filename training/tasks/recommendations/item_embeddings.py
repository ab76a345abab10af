"""Item embeddings in training: an own embedding for each item plus the sum of the embeddings of its content features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from personalization.core.csr import CsrMatrix
from personalization.recommendations.item_content import content_vectors
from training.networks.sequence import SequenceConfig
from training.tasks.recommendations.training_items import TrainingItems

_MAX_FEATURES: Final = 24  # of one item that `lookup` sums
_INITIAL_DEVIATION: Final = 0.02


@dataclass
class ItemEmbeddings:
    """embedding of an item = own embedding + Σ weight · embedding of each of its content features.

    own        (items, D) variable
    content    (features, D) variable, or None without content
    features   sparse (items, features) weights, or None
    drop       share of the items whose own embedding is left out in a training step: so the content part alone becomes a
               usable embedding of an item without interactions
    """

    own: Any
    content: Any
    features: CsrMatrix | None
    drop: float

    def __post_init__(self) -> None:
        if self.features is None:
            return
        items = len(self.features)
        item, feature, value = self.features.gather(np.arange(items))
        indices = np.stack([item, feature], axis=1).astype(np.int64)
        self._sparse = tf.SparseTensor(indices, value, (items, int(self.content.shape[0])))
        # The same in rows of one length, for lookups of single items.
        width = int(np.clip(np.diff(self.features.indptr).max(initial=1), 1, _MAX_FEATURES))
        codes, weights = np.zeros((items, width), np.int32), np.zeros((items, width), np.float32)
        column = np.arange(len(item)) - self.features.indptr[item]
        inside = column < width
        codes[item[inside], column[inside]] = feature[inside]
        weights[item[inside], column[inside]] = value[inside]
        self._codes, self._weights = tf.constant(codes), tf.constant(weights)

    @property
    def variables(self) -> list[Any]:
        return [self.own] if self.content is None else [self.own, self.content]

    def all(self, training: bool) -> Any:
        """(items, D) embeddings of all items."""
        if self.content is None:
            return self.own + 0.0
        own = self.own
        if training and self.drop > 0:
            own = own * _mask((int(own.shape[0]), 1), self.drop)
        return own + tf.sparse.sparse_dense_matmul(self._sparse, self.content)

    def lookup(self, codes: Any, training: bool) -> Any:
        """(…, D) embeddings of the items `codes`, computed without those of the others."""
        own = tf.gather(self.own, codes)
        if self.content is None:
            return own
        if training and self.drop > 0:
            own = own * _mask(tf.concat([tf.shape(own)[:-1], [1]], 0), self.drop)
        weights = tf.expand_dims(tf.gather(self._weights, codes), -1)
        return own + tf.reduce_sum(tf.gather(self.content, tf.gather(self._codes, codes)) * weights, axis=-2)

    def numpy(self) -> NDArray[np.float32]:
        """(items, D), as a bundle holds them."""
        own: NDArray[np.float32] = self.own.numpy()
        return own if self.features is None else own + content_vectors(self.features, self.content.numpy())

    def cold_item_scale(self, interacted: NDArray[np.bool_]) -> float:
        """Square root of the median ratio of the lengths of items' embeddings to those of their content parts; 1 without any.

        interacted   (items,) True for items with training interactions; the others have no own embedding
        """
        if self.features is None:
            return 1.0
        content = np.linalg.norm(content_vectors(self.features, self.content.numpy()), axis=1)
        counted = interacted & (content > 0)
        if not counted.any():
            return 1.0
        return float(np.sqrt(np.median(np.linalg.norm(self.numpy()[counted], axis=1) / content[counted])))


def new_embeddings(interacted: NDArray[np.bool_], config: SequenceConfig, items: TrainingItems, seed: int) -> ItemEmbeddings:
    """Random embeddings.

    interacted   (items,) True for items with training interactions; the own embedding of the others is 0
    """
    random = np.random.default_rng(seed)

    def initial(rows: int) -> NDArray[np.float32]:
        return random.normal(0.0, _INITIAL_DEVIATION, (rows, config.size)).astype(np.float32)

    own = tf.Variable(initial(len(interacted)) * interacted[:, None], name="own", dtype=tf.float32)
    if items.features is None or not items.num_features:
        return ItemEmbeddings(own, None, None, 0.0)
    return ItemEmbeddings(own, tf.Variable(initial(items.num_features), name="content"), items.features, config.item_dropout)


def _mask(shape: Any, drop: float) -> Any:
    return tf.cast(tf.random.uniform(shape) >= drop, tf.float32)
