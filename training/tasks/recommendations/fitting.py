"""Training of the sequence network: cross-entropy over all items, or over sampled ones where there are many."""

from __future__ import annotations

import itertools
import logging
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from training.networks.sequence import SequenceNetwork
from training.tasks.recommendations.item_table import ItemTable
from training.tasks.recommendations.optimizer import Adam
from training.tasks.recommendations.sequences import Batch, SequenceWindows

_log = logging.getLogger(__name__)
# With more items than this the loss is over sampled ones: the same loss in expectation, and seconds instead of minutes.
ALL_ITEMS: Final = 20_000
_STEPS: Final = 256  # of an epoch, about, where a step has …
_TARGETS: Final = (64, 4_096)  # … at least and at most so many targets
_MOST_STEPS: Final = 1_000  # between two looks at validation: a large log's epoch has several


@dataclass(frozen=True, slots=True)
class SequenceFitOptions:
    """How the network is trained.

    targets         in a step, about; None: by the size of the data
    patience        epochs without a better validation NDCG@10 before it stops
    negatives       sampled items, where not all are used
    average         epochs over which weights are averaged (exponentially), where all items are used; what is judged and kept
    budget          seconds after which no further epoch begins
    quiet           no progress bar (it is also left out where nobody watches: standard error is no terminal)
    tensorboard     directory for its logs, or None
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


def fit(
    network: SequenceNetwork,
    table: ItemTable,
    windows: SequenceWindows,
    judge: Callable[[], float],
    options: SequenceFitOptions,
) -> SequenceFitReport:
    """Train in place; ends with the weights of the epoch that `judge` (more is better) liked best."""
    started = time.perf_counter()
    step = _Step(network, table, windows, options)
    random = np.random.default_rng(options.seed)
    best, best_epoch, best_value = step.averaged(), 0, -np.inf
    history: list[dict[str, float]] = []
    stream = _endless(windows, step.targets, random)
    writer = None if options.tensorboard is None else tf.summary.create_file_writer(str(options.tensorboard))
    quiet = options.quiet or not sys.stderr.isatty()
    bar = tqdm(range(1, options.epochs + 1), desc="training", unit="epoch", disable=quiet, leave=False)
    for epoch in bar:
        losses = [step(codes, targets) for codes, targets in itertools.islice(stream, step.steps)]
        current, averaged = step.weights(), step.averaged()
        step.assign(averaged)
        value = judge()
        step.assign(current)
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
    step.assign(best)
    return SequenceFitReport(history, best_epoch, time.perf_counter() - started)


def _endless(windows: SequenceWindows, targets: int, random: np.random.Generator) -> Iterator[Batch]:
    while True:
        yield from windows.batches(targets, random)


class _Step:
    def __init__(
        self, network: SequenceNetwork, table: ItemTable, windows: SequenceWindows, options: SequenceFitOptions
    ) -> None:
        self.network, self.table = network, table
        self.items = windows.log.items
        self.negatives = 0 if self.items <= ALL_ITEMS else min(options.negatives, self.items // 4)
        self.variables = [*table.variables, *network.training.trainable_variables]
        self.targets = options.targets or int(np.clip(windows.targets / _STEPS, *_TARGETS))
        self.steps = min(_MOST_STEPS, windows.steps(self.targets))
        span = options.average * self.steps
        keep = 0.0 if self.negatives or span <= 0 else float(np.exp(-1.0 / span))
        self.optimizer = Adam(self.variables, options.learning_rate, keep)
        counts = np.bincount(windows.log.item, minlength=self.items)
        self._draw = _Draw(counts) if self.negatives else None
        # Items that nobody had yet are no wrong answers: content alone speaks for them.
        self._unknown = tf.constant(np.where(counts > 0, 0.0, -1e9), tf.float32)
        names = ("items", *network.config.inputs[1:])
        signature = {name: tf.TensorSpec((None, None), tf.int64) for name in names}
        self._names = names
        self._step = tf.function(self._graph, input_signature=[signature, tf.TensorSpec((None, None), tf.int64)])

    def __call__(self, codes: dict[str, NDArray[np.int64]], targets: NDArray[np.int64]) -> Any:
        return self._step({name: tf.constant(codes[name]) for name in self._names}, tf.constant(targets))

    def averaged(self) -> list[NDArray[np.float32]]:
        return self.optimizer.averages()

    def weights(self) -> list[NDArray[np.float32]]:
        return [v.numpy() for v in self.variables]

    def assign(self, weights: list[NDArray[np.float32]]) -> None:
        for variable, value in zip(self.variables, weights, strict=True):
            variable.assign(value)

    def _graph(self, codes: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            items = tf.maximum(codes["items"], 0)
            every = None if self.negatives else self.table.all(training=True)
            vectors = self.table.some(items, training=True) if every is None else tf.gather(every, items)
            inputs = {"vectors": vectors, **{name: codes[name] for name in self._names[1:]}}
            hidden = self.network.training(inputs, training=True)
            places = tf.where(targets >= 0)
            users, wanted = tf.gather_nd(hidden, places), tf.gather_nd(targets, places)
            loss = tf.reduce_mean(self._over_all(users, wanted, every) if every is not None else self._over_some(users, wanted))
        self.optimizer.apply(tape.gradient(loss, self.variables))
        return loss

    def _over_all(self, users: Any, wanted: Any, every: Any) -> Any:
        logits = tf.matmul(users, every, transpose_b=True) + self._unknown
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=wanted, logits=logits)

    def _over_some(self, users: Any, wanted: Any) -> Any:
        """Sampled softmax; logits of samples are corrected by how often they are drawn (Bengio & Senécal 2008)."""
        assert self._draw is not None
        drawn, log_chance = self._draw(self.negatives)
        positive = tf.reduce_sum(users * self.table.some(wanted, training=True), axis=1, keepdims=True)
        negative = tf.matmul(users, self.table.some(drawn, training=True), transpose_b=True)
        negative -= log_chance + tf.math.log(float(self.negatives))
        negative = tf.where(wanted[:, None] == drawn[None, :], -1e9, negative)
        return tf.reduce_logsumexp(tf.concat([positive, negative], axis=1), axis=1) - positive[:, 0]


class _Draw:
    """Items drawn in proportion to the root of their count, with replacement; and the log of each one's chance."""

    def __init__(self, counts: NDArray[np.int64]) -> None:
        chance = np.sqrt(counts)
        chance /= chance.sum()
        self._cumulated = tf.constant(np.cumsum(chance), tf.float64)
        self._log = tf.constant(np.log(np.maximum(chance, 1e-30)), tf.float32)

    def __call__(self, count: int) -> tuple[Any, Any]:
        uniform = tf.random.uniform((count,), dtype=tf.float64)
        drawn = tf.searchsorted(self._cumulated, uniform, out_type=tf.int64)
        drawn = tf.minimum(drawn, tf.cast(tf.shape(self._log)[0] - 1, tf.int64))
        return drawn, tf.gather(self._log, drawn)
