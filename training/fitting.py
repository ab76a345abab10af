"""Training a network: one loop over epochs for every network, and the step that trains a tabular network.

Weights are averaged on the way, the validation score decides when to stop, and the weights of the best epoch are kept.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from training.networks.tabular import TabularNetwork

Weights = Sequence[NDArray[np.float32]]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Examples:
    """Encoded rows with their targets.

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

    @classmethod
    def concatenate(cls, parts: Sequence[Examples]) -> Examples:
        """The rows of all parts in their order. Parts without rows are allowed; all have the same tensors."""
        weight = None
        if any(part.weight is not None for part in parts):
            weight = np.concatenate([np.ones(len(p), np.float32) if p.weight is None else p.weight for p in parts])
        return cls(
            {name: np.concatenate([part.inputs[name] for part in parts]) for name in parts[0].inputs},
            {name: np.concatenate([part.targets[name] for part in parts]) for name in parts[0].targets},
            weight,
        )

    def tensors(self) -> dict[str, Any]:
        """``inputs``, ``targets`` and ``weight`` as TensorFlow constants."""
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
    patience        epochs without a better validation score before training stops
    batch           rows (of a sequence network: targets) a step; None: by size of the data
    learning_rate   of the optimizer; a tabular network reaches it after a short warm-up
    weight_decay    of a tabular network's matrices; biases and embeddings have none
    average         epochs over which weights are averaged (exponentially); 0 for none
    budget          seconds; no epoch begins that would end later, by the mean duration of the epochs so far; None: no limit
    quiet           no progress bar; it is also left out where standard error is no terminal
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
    """What a training did.

    history      for each epoch the training ``loss`` and, with validation, the step's `metric`
    best_epoch   the epoch whose weights were kept, from 1; 0 where none was trained
    best_score   its validation score, or its training loss without validation
    batch        rows or targets a step
    """

    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best_score: float = math.nan
    batch: int = 0
    seconds: float = 0.0


class TrainingStep(Protocol):
    """A network with its data, its loss and its optimizer, as `fit` trains it.

    batch       rows or targets a step
    variables   the weights that `fit` reads and writes
    metric      name of the validation score in the history
    maximize    whether a larger score is better
    """

    batch: int
    variables: Sequence[Any]
    metric: str
    maximize: bool

    def train_epoch(self) -> float:
        """Train one epoch in place; its mean loss."""
        ...

    def averaged(self) -> Weights:
        """Averages of `variables` over the last steps, in their order; before the first step the variables themselves."""
        ...

    def validate(self) -> float | None:
        """Validation score of the present weights; None where nothing is held out."""
        ...


def fit(step: TrainingStep, options: FitOptions) -> FitReport:
    """Train in place. The network ends with the averaged weights of the epoch with the best validation score.

    Without validation the averaged weights after `options.epochs` are kept. The score is that of the averaged weights.
    """
    started = time.perf_counter()
    best, best_epoch, best_score = step.averaged(), 0, -math.inf if step.maximize else math.inf
    history: list[dict[str, float]] = []
    writer = None if options.tensorboard is None else tf.summary.create_file_writer(str(options.tensorboard))
    quiet = options.quiet or not sys.stderr.isatty()
    bar = tqdm(range(1, options.epochs + 1), desc="training", unit="epoch", disable=quiet, leave=False)
    for epoch in bar:
        record = {"loss": step.train_epoch()}
        current, averaged = [variable.numpy() for variable in step.variables], step.averaged()
        _assign(step.variables, averaged)
        score = step.validate()
        _assign(step.variables, current)
        if score is not None:
            record[step.metric] = score
        history.append(record)
        bar.set_postfix(record)
        _log.debug("epoch %d: %s", epoch, record)
        if writer is not None:
            with writer.as_default(step=epoch):
                for name, value in record.items():
                    tf.summary.scalar(name, value)
        if score is None:
            best, best_epoch, best_score = averaged, epoch, record["loss"]
        elif (score > best_score) if step.maximize else (score < best_score):
            best, best_epoch, best_score = averaged, epoch, score
        if epoch - best_epoch >= options.patience:
            break
        if options.budget is not None and (time.perf_counter() - started) * (epoch + 1) / epoch > options.budget:
            _log.info("training stopped after %d epochs, at its time limit", epoch)
            break
    bar.close()
    _assign(step.variables, best)
    return FitReport(history, best_epoch, best_score, step.batch, time.perf_counter() - started)


def fit_tabular(
    network: TabularNetwork, train: Examples, valid: Examples | None, options: FitOptions | None = None
) -> FitReport:
    """Train a tabular network in place on `train`; the loss on `valid` decides when to stop and which epoch is kept.

    valid   None: nothing is held out, and the weights after `options.epochs` are kept

    The loss is the weighted sum of the heads' losses; on `valid` that of the merged prediction. Raises `ValueError` where
    `train` or `valid` has no rows.
    """
    options = options or FitOptions()
    if not len(train) or (valid is not None and not len(valid)):
        validation = "none" if valid is None else len(valid)
        raise ValueError(f"expected rows to train on and to validate on, received {len(train)} and {validation}")
    keras.utils.set_random_seed(options.seed)
    return fit(_TabularStep(network, train, valid, options), options)


def batch_size(rows: int) -> int:
    """A power of two with some 60 steps an epoch, from 8 to 1,024."""
    return int(2 ** np.clip(round(math.log2(max(rows, 1) / 60)), 3, 10))


class _TabularStep:
    """One epoch is one call into a graph.

    `keras.Model.fit` calls into Python more often: measured (Keras 3, 2 cores, 10 columns) with its steps of an epoch in one
    execution, it took 12 times as long an epoch on 500 rows and 1.7 times on 5,000; without, 19 and 2 times.
    """

    metric = "validation_loss"
    maximize = False

    def __init__(self, network: TabularNetwork, train: Examples, valid: Examples | None, options: FitOptions) -> None:
        self.network = network
        self.rows = len(train)
        self.batch = min(options.batch or batch_size(self.rows), self.rows)
        self.variables = network.training.trainable_variables
        self._random = np.random.default_rng(options.seed)
        steps = self.rows // self.batch
        self._optimizer = _adamw(options, steps)
        self._optimizer.build(self.variables)
        self._keep = 0.0 if options.average <= 0 else math.exp(-1.0 / max(1.0, options.average * steps))
        self._averages = [tf.Variable(v.numpy()) for v in self.variables]
        self._steps = tf.Variable(0.0)
        self._train, self._valid = train.tensors(), None if valid is None else valid.tensors()
        self._epoch = tf.function(self._epoch_graph)
        self._loss = tf.function(self._loss_graph, reduce_retracing=True)

    def train_epoch(self) -> float:
        # The rows after the last whole batch are left out: other ones in every epoch.
        order = self._random.permutation(self.rows)[: self.rows // self.batch * self.batch]
        return float(self._epoch(tf.constant(order.reshape(-1, self.batch), tf.int32), self._train))

    def averaged(self) -> Weights:
        return [average.numpy() for average in self._averages]

    def validate(self, batch: int = 16_384) -> float | None:
        if self._valid is None:
            return None
        total = weight = 0.0
        for start in range(0, int(self._valid["weight"].shape[0]), batch):
            part = tf.nest.map_structure(lambda values, at=start: values[at : at + batch], self._valid)
            loss, mass = self._loss(part)
            total, weight = total + float(loss), weight + float(mass)
        value = total / weight if weight > 0 else math.inf
        return value if math.isfinite(value) else math.inf

    def _epoch_graph(self, order: Any, data: Any) -> Any:
        total = tf.constant(0.0)
        for step in tf.range(tf.shape(order)[0]):
            part = tf.nest.map_structure(lambda values, rows=order[step]: tf.gather(values, rows), data)
            with tf.GradientTape() as tape:
                raw = self.network.training(part["inputs"], training=True)
                loss = self._weighted(part, raw) / tf.maximum(tf.reduce_sum(part["weight"]), 1e-9)
            self._optimizer.apply(tape.gradient(loss, self.variables))
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


def _adamw(options: FitOptions, steps: int) -> Any:
    warm = max(1, min(100, 2 * steps))
    rate = keras.optimizers.schedules.CosineDecay(0.0, 1, alpha=1.0, warmup_target=options.learning_rate, warmup_steps=warm)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=options.weight_decay, global_clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "embedding_"])
    return optimizer


def _assign(variables: Sequence[Any], weights: Weights) -> None:
    for variable, value in zip(variables, weights, strict=True):
        variable.assign(value)
