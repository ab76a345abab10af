"""Training of the sequence network and the item embeddings: cross-entropy over all items, or over samples of many items."""

from __future__ import annotations

import itertools
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from training.networks.sequence import SequenceNetwork
from training.tasks.recommendations.item_embeddings import ItemEmbeddings
from training.tasks.recommendations.sequence_windows import SequenceBatch, SequenceWindows

_log = logging.getLogger(__name__)
# With more items than this the loss is over sampled ones: the same loss in expectation, and seconds instead of minutes.
MAX_SOFTMAX_ITEMS: Final = 20_000
_STEPS: Final = 256  # of an epoch, about, where a step has …
_TARGETS: Final = (64, 4_096)  # … at least and at most so many targets
_MAX_STEPS: Final = 1_000  # between two validations: the epochs of a large log are shorter than one pass over it
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True, slots=True)
class SequenceFitOptions:
    """How the network is trained.

    targets         of a step, about; None: by the size of the data
    patience        epochs without a better validation NDCG@10 before training stops
    negatives       sampled items, where the loss is not over all items
    average         epochs over which weights are averaged (exponentially), where the loss is over all items; the averages are
                    validated and kept
    budget          seconds after which no further epoch begins
    quiet           no progress bar; there is none either where standard error is no terminal
    tensorboard     directory of TensorBoard logs, or None
    """

    seed: int = 0
    epochs: int = 100
    patience: int = 4
    targets: int | None = None
    learning_rate: float = 1e-3
    negatives: int = 2048
    average: float = 1.0
    budget: float = 1_200.0
    quiet: bool = True
    tensorboard: Path | None = None


@dataclass(frozen=True)
class SequenceFitReport:
    """Loss and validation NDCG@10 by epoch, the epoch whose weights were kept (from 1), seconds."""

    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    seconds: float = 0.0


def fit_sequence_network(
    network: SequenceNetwork,
    embeddings: ItemEmbeddings,
    windows: SequenceWindows,
    validate: Callable[[], float],
    options: SequenceFitOptions,
) -> SequenceFitReport:
    """Train in place. The weights of the epoch with the highest value of `validate` are kept."""
    if not len(windows.starts):
        return SequenceFitReport()
    started = time.perf_counter()
    step = SequenceStep(network, embeddings, windows, options)
    random = np.random.default_rng(options.seed)
    best, best_epoch, best_value = step.optimizer.averages(), 0, -np.inf
    history: list[dict[str, float]] = []
    batches = _endless(windows, step.targets, random)
    writer = None if options.tensorboard is None else tf.summary.create_file_writer(str(options.tensorboard))
    quiet = options.quiet or not sys.stderr.isatty()
    bar = tqdm(range(1, options.epochs + 1), desc="training", unit="epoch", disable=quiet, leave=False)
    for epoch in bar:
        losses = [step(codes, targets) for codes, targets in itertools.islice(batches, step.steps)]
        current, averaged = [v.numpy() for v in step.variables], step.optimizer.averages()
        _assign(step.variables, averaged)
        value = validate()
        _assign(step.variables, current)
        history.append({"loss": float(np.mean([float(loss) for loss in losses])), "validation_ndcg_at_10": value})
        bar.set_postfix(history[-1])
        _log.debug("epoch %d: %s", epoch, history[-1])
        if writer is not None:
            with writer.as_default(step=epoch):
                for name, number in history[-1].items():
                    tf.summary.scalar(name, number)
        if value > best_value:
            best, best_epoch, best_value = averaged, epoch, value
        if epoch - best_epoch >= options.patience:
            break
        spent = time.perf_counter() - started
        if spent * (epoch + 1) / epoch > options.budget:
            _log.info("training stopped after %d epochs, at its time limit", epoch)
            break
    bar.close()
    _assign(step.variables, best)
    seconds = time.perf_counter() - started
    _log.info("network: %d epochs, the best was %d, %.0f s", len(history), best_epoch, seconds)
    return SequenceFitReport(history, best_epoch, seconds)


def _endless(windows: SequenceWindows, targets: int, random: np.random.Generator) -> Iterator[SequenceBatch]:
    while True:
        yield from windows.batches(targets, random)


def _assign(variables: Sequence[Any], values: Sequence[NDArray[np.float32]]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


class SequenceStep:
    """One optimiser step on a batch, compiled once for all batch shapes.

    targets   of a batch, about
    steps     of an epoch
    """

    def __init__(
        self, network: SequenceNetwork, embeddings: ItemEmbeddings, windows: SequenceWindows, options: SequenceFitOptions
    ) -> None:
        self.network, self.embeddings = network, embeddings
        items = windows.log.num_items
        self.negatives = 0 if items <= MAX_SOFTMAX_ITEMS else min(options.negatives, items // 4)
        self.variables = [*embeddings.variables, *network.training.trainable_variables]
        self.targets = options.targets or int(np.clip(windows.num_targets / _STEPS, *_TARGETS))
        self.steps = min(_MAX_STEPS, windows.num_batches(self.targets))
        span = options.average * self.steps
        decay = 0.0 if self.negatives or span <= 0 else float(np.exp(-1.0 / span))
        self.optimizer = LazyAdam(self.variables, options.learning_rate, decay)
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

    def __call__(self, codes: dict[str, NDArray[np.int64]], targets: NDArray[np.int64]) -> Any:
        """The mean loss of the batch, a scalar tensor."""
        return self._step({name: tf.constant(codes[name]) for name in self._names}, tf.constant(targets))

    def _graph(self, codes: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            items = tf.maximum(codes["items"], 0)
            table = None if self.negatives else self.embeddings.all(training=True)
            vectors = self.embeddings.lookup(items, training=True) if table is None else tf.gather(table, items)
            inputs = {"vectors": vectors, **{name: codes[name] for name in self._names[1:]}}
            hidden = self.network.training(inputs, training=True)
            places = tf.where(targets >= 0)
            users, labels = tf.gather_nd(hidden, places), tf.gather_nd(targets, places)
            losses = self._sampled_softmax(users, labels) if table is None else self._softmax(users, labels, table)
            loss = tf.reduce_mean(losses)
        self.optimizer.apply(tape.gradient(loss, self.variables))
        return loss

    def _softmax(self, users: Any, labels: Any, table: Any) -> Any:
        logits = tf.matmul(users, table, transpose_b=True) + self._logit_mask
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)

    def _sampled_softmax(self, users: Any, labels: Any) -> Any:
        """Logits of samples are corrected by their expected number in the sample (Bengio & Senécal 2008)."""
        uniform = tf.random.uniform((self.negatives,), dtype=tf.float64)
        drawn = tf.searchsorted(self._cumulative_share, uniform, out_type=tf.int64)
        drawn = tf.minimum(drawn, tf.cast(tf.shape(self._log_share)[0] - 1, tf.int64))
        positive = tf.reduce_sum(users * self.embeddings.lookup(labels, training=True), axis=1, keepdims=True)
        negative = tf.matmul(users, self.embeddings.lookup(drawn, training=True), transpose_b=True)
        negative -= tf.gather(self._log_share, drawn) + tf.math.log(float(self.negatives))
        negative = tf.where(labels[:, None] == drawn[None, :], -1e9, negative)
        return tf.reduce_logsumexp(tf.concat([positive, negative], axis=1), axis=1) - positive[:, 0]


class LazyAdam:
    """Adam (Kingma & Ba 2015) that updates only the table rows of a step, and an exponential average of the weights.

    Gradients of looked-up rows come as `tf.IndexedSlices`. Keras 3's Adam makes them dense and updates the whole table and
    both moments at each step; with a million items that is most of the time of a step.

    decay   of the average in each step; 0: the averages are the weights themselves, as rows that are looked up seldom would lag
    """

    def __init__(self, variables: Sequence[Any], learning_rate: float, decay: float) -> None:
        self._variables = list(variables)
        self._means = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
        self._squares = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
        self._averages = [tf.Variable(v, trainable=False) for v in variables]
        self._learning_rate, self._decay = learning_rate, decay
        self._steps = tf.Variable(0.0, trainable=False)

    def averages(self) -> list[NDArray[np.float32]]:
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
    rows, place = tf.unique(gradient.indices)
    summed = tf.math.unsorted_segment_sum(gradient.values, place, tf.size(rows))
    new_mean = _BETA_1 * tf.gather(mean, rows) + (1.0 - _BETA_1) * summed
    new_square = _BETA_2 * tf.gather(square, rows) + (1.0 - _BETA_2) * tf.square(summed)
    value = tf.gather(variable, rows) - rate * new_mean / (tf.sqrt(new_square) + _EPSILON)
    new_average = decay * tf.gather(average, rows) + (1.0 - decay) * value
    for state, new in ((mean, new_mean), (square, new_square), (variable, value), (average, new_average)):
        state.scatter_update(tf.IndexedSlices(new, rows))
