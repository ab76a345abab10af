"""Training a tabular network: batches by size of table, averaged weights, early stopping on the validation loss."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from training.networks.tabular import TabularNetwork

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Examples:
    """Rows to learn from or to judge by.

    inputs    tensors by input name (`TableEncoder.encode(…).inputs`)
    targets   by head name, first axis the row
    weight    (N,) of each row's loss, or None for 1
    """

    inputs: Mapping[str, NDArray[Any]]
    targets: Mapping[str, NDArray[Any]]
    weight: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(next(iter((self.inputs or self.targets).values())))

    def take(self, rows: NDArray[Any]) -> Examples:
        """The examples at these indices or under this mask."""
        return Examples(
            {name: values[rows] for name, values in self.inputs.items()},
            {name: values[rows] for name, values in self.targets.items()},
            None if self.weight is None else self.weight[rows],
        )

    def tensors(self) -> dict[str, Any]:
        weight = np.ones(len(self), np.float32) if self.weight is None else self.weight
        return {
            "inputs": {name: tf.constant(values) for name, values in self.inputs.items()},
            "targets": {name: tf.constant(values, tf.float32) for name, values in self.targets.items()},
            "weight": tf.constant(weight, tf.float32),
        }


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How a network is trained.

    seed            of the order of rows and of dropout
    epochs          at most
    patience        epochs without a better validation loss before it stops
    batch           rows a step; None: by size of the table
    learning_rate   of AdamW, reached after a short warm-up
    weight_decay    of the matrices; biases and embeddings have none
    average         epochs over which weights are averaged (exponentially); 0 for none
    budget          seconds after which no further epoch begins; None for no limit
    quiet           no progress bar (it is also left out where nobody watches: standard error is no terminal)
    tensorboard     directory for its logs, or None
    """

    seed: int = 0
    epochs: int = 200
    patience: int = 16
    batch: int | None = None
    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    average: float = 1.0
    budget: float | None = None
    quiet: bool = True
    tensorboard: Path | None = None


@dataclass(frozen=True)
class FitReport:
    """What happened: losses by epoch, the epoch whose weights were kept (from 1), rows a step, seconds."""

    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = math.nan
    batch: int = 0
    seconds: float = 0.0


def batch_size(rows: int) -> int:
    """A power of two with some 60 steps an epoch, from 8 to 1,024."""
    return int(2 ** np.clip(round(math.log2(max(rows, 1) / 60)), 3, 10))


def fit(network: TabularNetwork, train: Examples, valid: Examples | None, options: FitOptions | None = None) -> FitReport:
    """Train in place; the network ends with the weights of the epoch whose validation loss was lowest.

    valid   None: nothing is held out, and the weights after `options.epochs` are kept

    The loss is the weighted sum of the heads' losses; on `valid` that of the merged prediction. Raises `ValueError` where
    `train` or `valid` has no rows.
    """
    options = options or FitOptions()
    if not len(train) or (valid is not None and not len(valid)):
        held = "none" if valid is None else len(valid)
        raise ValueError(f"expected rows to train on and to validate on, received {len(train)} and {held}")
    keras.utils.set_random_seed(options.seed)
    started = time.perf_counter()
    loop = _Loop(network, train, valid, options)
    best, history, best_epoch, best_loss = loop.weights(), [], 0, math.inf
    writer = None if options.tensorboard is None else tf.summary.create_file_writer(str(options.tensorboard))
    quiet = options.quiet or not sys.stderr.isatty()
    bar = tqdm(range(1, options.epochs + 1), desc="training", unit="epoch", disable=quiet, leave=False)
    for epoch in bar:
        losses = {"loss": loop.train_epoch()}
        if valid is not None:
            losses["validation_loss"] = loop.validate()
        history.append(losses)
        bar.set_postfix(losses)
        if writer is not None:
            with writer.as_default(step=epoch):
                for name, value in losses.items():
                    tf.summary.scalar(name, value)
        if valid is None:
            best, best_epoch, best_loss = loop.averaged(), epoch, losses["loss"]
        elif losses["validation_loss"] < best_loss:
            best, best_epoch, best_loss = loop.averaged(), epoch, losses["validation_loss"]
        if epoch - best_epoch >= options.patience:
            break
        if options.budget is not None and time.perf_counter() - started > options.budget:
            _log.info("training stopped after %d epochs, at its time limit", epoch)
            break
    bar.close()
    loop.assign(best)
    return FitReport(history, best_epoch, best_loss, loop.batch, time.perf_counter() - started)


class _Loop:
    """One epoch is one call into a graph: a small table's steps cost less than Python's way in and out of each."""

    def __init__(self, network: TabularNetwork, train: Examples, valid: Examples | None, options: FitOptions) -> None:
        self.network = network
        self.rows = len(train)
        self.batch = min(options.batch or batch_size(self.rows), self.rows)
        self.variables = network.training.trainable_variables
        self._random = np.random.default_rng(options.seed)
        steps = self.rows // self.batch
        self.optimizer = _optimizer(options, steps)
        self.optimizer.build(self.variables)
        self._keep = 0.0 if options.average <= 0 else math.exp(-1.0 / max(1.0, options.average * steps))
        self._averages = [tf.Variable(v.numpy()) for v in self.variables]
        self._steps = tf.Variable(0.0)
        self._train, self._valid = train.tensors(), valid.tensors() if valid is not None else {}
        self._epoch = tf.function(self._epoch_graph)
        self._loss = tf.function(self._loss_graph, reduce_retracing=True)

    def train_epoch(self) -> float:
        # Every epoch leaves out other rows: what is over after the last whole batch.
        order = self._random.permutation(self.rows)[: self.rows // self.batch * self.batch]
        return float(self._epoch(tf.constant(order.reshape(-1, self.batch), tf.int32), self._train))

    def validate(self, batch: int = 16_384) -> float:
        """The loss of the averaged weights on the validation rows."""
        current = self.weights()
        self.assign(self.averaged())
        total = weight = 0.0
        for start in range(0, int(self._valid["weight"].shape[0]), batch):
            part = tf.nest.map_structure(lambda values, at=start: values[at : at + batch], self._valid)
            loss, mass = self._loss(part)
            total, weight = total + float(loss), weight + float(mass)
        self.assign(current)
        value = total / weight if weight > 0 else math.inf
        return value if math.isfinite(value) else math.inf

    def weights(self) -> list[NDArray[np.float32]]:
        return [v.numpy() for v in self.variables]

    def averaged(self) -> list[NDArray[np.float32]]:
        return [a.numpy() for a in self._averages]

    def assign(self, weights: list[NDArray[np.float32]]) -> None:
        for variable, value in zip(self.variables, weights, strict=True):
            variable.assign(value)

    def _epoch_graph(self, order: Any, data: Any) -> Any:
        total = tf.constant(0.0)
        for step in tf.range(tf.shape(order)[0]):
            part = tf.nest.map_structure(lambda values, rows=order[step]: tf.gather(values, rows), data)
            with tf.GradientTape() as tape:
                raw = self.network.training(part["inputs"], training=True)
                loss = self._weighted(part, raw) / tf.maximum(tf.reduce_sum(part["weight"]), 1e-9)
            self.optimizer.apply(tape.gradient(loss, self.variables))
            self._steps.assign_add(1.0)
            # The first steps count little: a plain mean until the average's own span is reached.
            keep = tf.minimum(self._keep, (self._steps - 1.0) / self._steps)
            for average, variable in zip(self._averages, self.variables, strict=True):
                average.assign(keep * average + (1.0 - keep) * variable)
            total += loss
        return total / tf.cast(tf.shape(order)[0], tf.float32)

    def _loss_graph(self, part: Any) -> Any:
        merged = self.network.merged(part["inputs"], training=False)
        raw = {name: tf.expand_dims(value, 1) for name, value in merged.items()}  # an ensemble of one
        return self._weighted(part, raw), tf.reduce_sum(part["weight"])

    def _weighted(self, part: Any, raw: Any) -> Any:
        losses = [head.weight * head.loss(part["targets"][head.name], raw[head.name]) for head in self.network.heads]
        return tf.reduce_sum(tf.add_n(losses) * part["weight"])


def _optimizer(options: FitOptions, steps: int) -> Any:
    warm = max(1, min(100, 2 * steps))
    rate = keras.optimizers.schedules.CosineDecay(0.0, 1, alpha=1.0, warmup_target=options.learning_rate, warmup_steps=warm)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=options.weight_decay, global_clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "embedding_"])
    return optimizer
