"""Adam that touches only the rows of a table that a step has looked up, and the average of the weights on its way.

Keras' own Adam walks over the whole table in each step; with a million items that is most of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

_FIRST, _SECOND, _SMALL = 0.9, 0.999, 1e-8


class Adam:
    """Adam (Kingma & Ba 2015); lazy, row by row, for gradients that come as rows (`tf.IndexedSlices`).

    keep   of the exponential average of the weights in each step, 0 for none; rows that are looked up seldom would lag
    """

    def __init__(self, variables: Sequence[Any], learning_rate: float, keep: float) -> None:
        self._variables = list(variables)
        self._means = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
        self._squares = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
        self._averages = [tf.Variable(v, trainable=False) for v in variables]
        self._rate, self._keep = learning_rate, keep
        self._steps = tf.Variable(0.0, trainable=False)

    def averages(self) -> list[NDArray[np.float32]]:
        """Averages of the variables, in their order."""
        return [average.numpy() for average in self._averages]

    def apply(self, gradients: Sequence[Any]) -> None:
        """One step. A variable without a gradient stays."""
        self._steps.assign_add(1.0)
        correction = tf.sqrt(1.0 - _SECOND**self._steps) / (1.0 - _FIRST**self._steps)
        rate = self._rate * correction
        # The first steps count little: a plain mean until the average's own span is reached.
        keep = tf.minimum(self._keep, (self._steps - 1.0) / self._steps)
        state = zip(self._variables, gradients, self._means, self._squares, self._averages, strict=True)
        for variable, gradient, mean, square, average in state:
            if gradient is None:
                continue
            if isinstance(gradient, tf.IndexedSlices) and isinstance(variable, tf.Variable):
                _apply_rows(variable, gradient, mean, square, average, rate, keep)
            else:
                dense = tf.convert_to_tensor(gradient)  # Keras' own small tables come as rows too
                mean.assign(_FIRST * mean + (1.0 - _FIRST) * dense)
                square.assign(_SECOND * square + (1.0 - _SECOND) * tf.square(dense))
                variable.assign_sub(rate * mean / (tf.sqrt(square) + _SMALL))
                average.assign(keep * average + (1.0 - keep) * variable)


def _apply_rows(variable: Any, gradient: Any, mean: Any, square: Any, average: Any, rate: Any, keep: Any) -> None:
    rows, place = tf.unique(gradient.indices)
    summed = tf.math.unsorted_segment_sum(gradient.values, place, tf.size(rows))
    new_mean = _FIRST * tf.gather(mean, rows) + (1.0 - _FIRST) * summed
    new_square = _SECOND * tf.gather(square, rows) + (1.0 - _SECOND) * tf.square(summed)
    value = tf.gather(variable, rows) - rate * new_mean / (tf.sqrt(new_square) + _SMALL)
    new_average = keep * tf.gather(average, rows) + (1.0 - keep) * value
    for state, new in ((mean, new_mean), (square, new_square), (variable, value), (average, new_average)):
        state.scatter_update(tf.IndexedSlices(new, rows))
