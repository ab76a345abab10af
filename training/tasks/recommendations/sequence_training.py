"""Training of the sequence network and the item embeddings: cross-entropy over all items, or over samples of many items."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import tensorflow as tf

from training.fitting import FitOptions, FitReport, Weights, fit
from training.networks.sequence import SequenceNetwork
from training.tasks.recommendations.item_embeddings import ItemEmbeddings
from training.tasks.recommendations.sequence_windows import SequenceBatch, SequenceWindows

VALIDATION_METRIC: Final = "validation_ndcg_at_10"
PATIENCE: Final = 4  # epochs
LEARNING_RATE: Final = 1e-3
# With more items than this the loss is over sampled ones: the same loss in expectation, and seconds instead of minutes.
MAX_SOFTMAX_ITEMS: Final = 20_000
_STEPS: Final = 256  # of an epoch, about, where a step has …
_TARGETS: Final = (64, 4_096)  # … at least and at most so many targets
_MAX_STEPS: Final = 1_000  # between two validations: the epochs of a large log are shorter than one pass over it
_NEGATIVES: Final = 2_048  # sampled items of a step
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


def fit_sequence_network(
    network: SequenceNetwork,
    embeddings: ItemEmbeddings,
    windows: SequenceWindows,
    validate: Callable[[], float],
    options: FitOptions,
) -> FitReport:
    """Train network and embeddings in place. Those of the epoch with the highest value of `validate` are kept."""
    if not len(windows.starts):
        return FitReport()
    return fit(SequenceStep(network, embeddings, windows, validate, options), options)


class SequenceStep:
    """Training of the sequence network for `training.fitting.fit`: one compiled graph for the batches of all shapes."""

    metric = VALIDATION_METRIC
    maximize = True

    def __init__(
        self,
        network: SequenceNetwork,
        embeddings: ItemEmbeddings,
        windows: SequenceWindows,
        validate: Callable[[], float],
        options: FitOptions,
    ) -> None:
        self.validate = validate
        self.variables: Sequence[Any] = [*embeddings.variables, *network.training.trainable_variables]
        self.batch = options.batch or int(np.clip(windows.num_targets / _STEPS, *_TARGETS))
        self._network, self._embeddings = network, embeddings
        self._epoch_steps = min(_MAX_STEPS, windows.num_batches(self.batch))
        self._batches = _endless_batches(windows, self.batch, np.random.default_rng(options.seed))
        items = windows.log.num_items
        self._negatives = 0 if items <= MAX_SOFTMAX_ITEMS else min(_NEGATIVES, items // 4)
        span = options.average * self._epoch_steps
        decay = 0.0 if self._negatives or span <= 0 else float(np.exp(-1.0 / span))
        self._optimizer = LazyAdam(self.variables, options.learning_rate, decay)
        counts = np.bincount(windows.log.item, minlength=items)
        # Negatives are drawn with replacement, in proportion to the root of an item's count.
        share = np.sqrt(counts) / np.sqrt(counts).sum()
        self._cumulative_share = tf.constant(np.cumsum(share), tf.float64)
        self._log_share = tf.constant(np.log(np.maximum(share, 1e-30)), tf.float32)
        # An item without training interactions is no negative: its embedding comes from content alone.
        self._logit_mask = tf.constant(np.where(counts > 0, 0.0, -1e9), tf.float32)
        self._names = ("items", *network.config.inputs[1:])
        signature = {name: tf.TensorSpec((None, None), tf.int64) for name in self._names}
        self._step = tf.function(self._graph, input_signature=[signature, tf.TensorSpec((None, None), tf.int64)])

    def train_epoch(self) -> float:
        # The losses are read after the last step: reading one waits for its step.
        losses = [
            self._step({name: tf.constant(codes[name]) for name in self._names}, tf.constant(targets))
            for codes, targets in itertools.islice(self._batches, self._epoch_steps)
        ]
        return float(np.mean([float(loss) for loss in losses]))

    def averaged(self) -> Weights:
        return self._optimizer.averages()

    def _graph(self, codes: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            items = tf.maximum(codes["items"], 0)
            table = None if self._negatives else self._embeddings.all(training=True)
            vectors = self._embeddings.lookup(items, training=True) if table is None else tf.gather(table, items)
            inputs = {"vectors": vectors, **{name: codes[name] for name in self._names[1:]}}
            hidden = self._network.training(inputs, training=True)
            positions = tf.where(targets >= 0)
            users, labels = tf.gather_nd(hidden, positions), tf.gather_nd(targets, positions)
            losses = self._sampled_softmax(users, labels) if table is None else self._softmax(users, labels, table)
            loss = tf.reduce_mean(losses)
        self._optimizer.apply(tape.gradient(loss, self.variables))
        return loss

    def _softmax(self, users: Any, labels: Any, table: Any) -> Any:
        logits = tf.matmul(users, table, transpose_b=True) + self._logit_mask
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)

    def _sampled_softmax(self, users: Any, labels: Any) -> Any:
        """Logits of samples are corrected by their expected number in the sample (Bengio & Senécal 2008)."""
        uniform = tf.random.uniform((self._negatives,), dtype=tf.float64)
        drawn = tf.searchsorted(self._cumulative_share, uniform, out_type=tf.int64)
        drawn = tf.minimum(drawn, tf.cast(tf.shape(self._log_share)[0] - 1, tf.int64))
        positive = tf.reduce_sum(users * self._embeddings.lookup(labels, training=True), axis=1, keepdims=True)
        negative = tf.matmul(users, self._embeddings.lookup(drawn, training=True), transpose_b=True)
        negative -= tf.gather(self._log_share, drawn) + tf.math.log(float(self._negatives))
        negative = tf.where(labels[:, None] == drawn[None, :], -1e9, negative)
        return tf.reduce_logsumexp(tf.concat([positive, negative], axis=1), axis=1) - positive[:, 0]


def _endless_batches(windows: SequenceWindows, targets: int, random: np.random.Generator) -> Iterator[SequenceBatch]:
    while True:
        yield from windows.batches(targets, random)


class LazyAdam:
    """Adam (Kingma & Ba 2015) that updates only the table rows of a step, and an exponential average of the weights.

    Gradients of looked-up rows come as `tf.IndexedSlices`. Adam of Keras 3.15 makes them dense and updates the whole table and
    both moments in each step: 232 ms for 4,096 rows of a table of 300,000 × 64 on two cores, against 20 ms here.

    decay   of the average in each step; 0: no averaging, because the averages of seldom looked-up rows would lag behind
    """

    def __init__(self, variables: Sequence[Any], learning_rate: float, decay: float) -> None:
        self._variables = list(variables)
        self._means = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
        self._squares = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
        self._averages = [tf.Variable(v, trainable=False) for v in variables]
        self._learning_rate, self._decay = learning_rate, decay
        self._steps = tf.Variable(0.0, trainable=False)

    def averages(self) -> Weights:
        """Averages of the variables, in their order."""
        return [average.numpy() for average in self._averages]

    def apply(self, gradients: Sequence[Any]) -> None:
        """One step. A variable whose gradient is None keeps its value."""
        self._steps.assign_add(1.0)
        correction = tf.sqrt(1.0 - _BETA_2**self._steps) / (1.0 - _BETA_1**self._steps)
        rate = self._learning_rate * correction
        # A plain mean of the first steps, until the average spans as many steps as `decay` implies.
        decay = tf.minimum(self._decay, (self._steps - 1.0) / self._steps)
        state = zip(self._variables, gradients, self._means, self._squares, self._averages, strict=True)
        for variable, gradient, mean, square, average in state:
            if gradient is None:
                continue
            if isinstance(gradient, tf.IndexedSlices) and isinstance(variable, tf.Variable):
                _apply_rows(variable, gradient, mean, square, average, rate, decay)
            else:
                dense = tf.convert_to_tensor(gradient)  # gradients of Keras' own small tables come as rows too
                mean.assign(_BETA_1 * mean + (1.0 - _BETA_1) * dense)
                square.assign(_BETA_2 * square + (1.0 - _BETA_2) * tf.square(dense))
                variable.assign_sub(rate * mean / (tf.sqrt(square) + _EPSILON))
                average.assign(decay * average + (1.0 - decay) * variable)


def _apply_rows(variable: Any, gradient: Any, mean: Any, square: Any, average: Any, rate: Any, decay: Any) -> None:
    rows, group = tf.unique(gradient.indices)
    summed = tf.math.unsorted_segment_sum(gradient.values, group, tf.size(rows))
    new_mean = _BETA_1 * tf.gather(mean, rows) + (1.0 - _BETA_1) * summed
    new_square = _BETA_2 * tf.gather(square, rows) + (1.0 - _BETA_2) * tf.square(summed)
    value = tf.gather(variable, rows) - rate * new_mean / (tf.sqrt(new_square) + _EPSILON)
    new_average = decay * tf.gather(average, rows) + (1.0 - decay) * value
    for state, new in ((mean, new_mean), (square, new_square), (variable, value), (average, new_average)):
        state.scatter_update(tf.IndexedSlices(new, rows))
