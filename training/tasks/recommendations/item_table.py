"""Item vectors in training: a vector of its own for each item, plus what its content says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from personalization.recommendations.item_content import content_vectors
from personalization.recommendations.sparse import NeighborMatrix

_MOST_FEATURES = 24  # of one item that are looked at where rows are looked up one by one
_DEVIATION = 0.02


@dataclass
class ItemTable:
    """vector of an item = its own + Σ weight · vector of its features.

    own        (items, D) variable
    content    (features, D) variable, or None without an items file
    drop       share of the items whose own vector is left out in a training step, so that content learns to stand alone
    """

    own: Any
    content: Any
    features: NeighborMatrix | None
    drop: float

    def __post_init__(self) -> None:
        if self.features is None:
            return
        items = len(self.features.indptr) - 1
        place, feature, value = self.features.rows(np.arange(items, dtype=np.int32))
        indices = np.stack([place, feature], axis=1).astype(np.int64)
        self._sparse = tf.SparseTensor(indices, value, (items, int(self.content.shape[0])))
        counts = np.minimum(np.diff(self.features.indptr), _MOST_FEATURES)
        width = max(1, int(counts.max(initial=1)))
        number = np.zeros((items, width), np.int32)
        weight = np.zeros((items, width), np.float32)
        column = np.arange(len(place)) - self.features.indptr[place]
        few = column < width
        number[place[few], column[few]], weight[place[few], column[few]] = feature[few], value[few]
        self._number, self._weight = tf.constant(number), tf.constant(weight)

    @property
    def variables(self) -> list[Any]:
        return [self.own] if self.content is None else [self.own, self.content]

    def all(self, training: bool) -> Any:
        """(items, D)."""
        own = self.own
        if self.content is None:
            return own + 0.0
        if training and self.drop > 0:
            own = own * _kept((int(own.shape[0]), 1), self.drop)
        return own + tf.sparse.sparse_dense_matmul(self._sparse, self.content)

    def some(self, codes: Any, training: bool) -> Any:
        """(…, D) of these items, without touching the others."""
        own = tf.gather(self.own, codes)
        if self.content is None:
            return own
        if training and self.drop > 0:
            own = own * _kept(tf.concat([tf.shape(own)[:-1], [1]], 0), self.drop)
        weight = tf.expand_dims(tf.gather(self._weight, codes), -1)
        return own + tf.reduce_sum(tf.gather(self.content, tf.gather(self._number, codes)) * weight, axis=-2)

    def vectors(self) -> NDArray[np.float32]:
        """(items, D), as the bundle holds them."""
        own: NDArray[np.float32] = self.own.numpy()
        return own if self.features is None else own + content_vectors(self.features, self.content.numpy())


def make_item_table(
    known: NDArray[np.bool_], size: int, features: NeighborMatrix | None, count: int, drop: float, seed: int
) -> ItemTable:
    """A new table.

    known   (items,) which of them are in the training interactions; the others have nothing of their own
    count   of features, 0 for none
    """
    random = np.random.default_rng(seed)

    def initial(rows: int) -> NDArray[np.float32]:
        return random.normal(0.0, _DEVIATION, (rows, size)).astype(np.float32)

    own = tf.Variable(initial(len(known)) * known[:, None], name="own", dtype=tf.float32)
    if features is None or not count:
        return ItemTable(own, None, None, 0.0)
    return ItemTable(own, tf.Variable(initial(count), name="content"), features, drop)


def _kept(shape: Any, drop: float) -> Any:
    return tf.cast(tf.random.uniform(shape) >= drop, tf.float32)
