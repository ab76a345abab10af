"""One network for one binary target: trained, calibrated, with its threshold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from personalization.core.encoder import TableEncoder
from training.calibration import platt
from training.evaluation.metrics import best_threshold
from training.fitting import Examples, FitOptions, FitReport, fit
from training.networks.crosses import CrossedBinaryHead
from training.networks.tabular import TabularConfig, TabularNetwork, build_tabular, encoder_statistics

TARGET = "label"


@dataclass(frozen=True)
class BinaryModel:
    """network       with the calibration settled in its serving view
    slope, intercept   of the calibration
    threshold          with the best F1 on the validation rows
    """

    network: TabularNetwork
    fitted: FitReport
    slope: float
    intercept: float
    threshold: float

    def probability(self, rows: Examples) -> NDArray[np.float64]:
        """(N,) calibrated probability of the positive label."""
        if not len(rows):
            return np.zeros(0)
        logits = self.network.raw(dict(rows.inputs))[TARGET][:, 0].astype(np.float64)
        return np.asarray(expit(self.slope * logits + self.intercept))


def train_binary(
    encoder: TableEncoder, train: Examples, valid: Examples, config: TabularConfig, options: FitOptions
) -> BinaryModel:
    """Train on `train`; `valid` says when to stop, how to calibrate, and where the threshold lies."""
    statistics = encoder_statistics(encoder, dict(train.inputs), config, options.seed)
    head = CrossedBinaryHead(TARGET, statistics, len(train))
    network = build_tabular(encoder, statistics, (head,), config)
    fitted = fit(network, train, valid, options)
    logits = network.raw(dict(valid.inputs))[TARGET][:, 0]
    slope, intercept = platt(logits, valid.targets[TARGET], valid.weight)
    head.calibration.settle(slope, intercept)
    model = BinaryModel(network, fitted, slope, intercept, 0.5)
    return replace(model, threshold=best_threshold(valid.targets[TARGET], model.probability(valid)))


def examples_of(encoder: TableEncoder, columns: dict[str, Any], labels: NDArray[np.float32]) -> tuple[Examples, int]:
    """Encoded rows with their label, and the number of cells that counted as missing because they were bad."""
    encoded = encoder.encode(columns, len(labels))
    return Examples(encoded.inputs, {TARGET: labels}), len(encoded.bad_cells)


def refit_binary(
    encoder: TableEncoder, rows: Examples, like: BinaryModel, config: TabularConfig, options: FitOptions
) -> BinaryModel:
    """One trained on all rows for as many epochs as were best for `like`, with that one's calibration and threshold."""
    statistics = encoder_statistics(encoder, dict(rows.inputs), config, options.seed)
    head = CrossedBinaryHead(TARGET, statistics, len(rows))
    network = build_tabular(encoder, statistics, (head,), config)
    fitted = fit(network, rows, None, replace(options, epochs=max(1, like.fitted.best_epoch)))
    head.calibration.settle(like.slope, like.intercept)
    return replace(like, network=network, fitted=fitted)
