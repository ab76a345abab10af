"""The loop of training: it learns, stops, keeps the best epoch, and is deterministic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from personalization.core.encoder import Column, TableEncoder
from training.runtime import prepare

prepare(0)

from training.evaluation.metrics import log_loss  # noqa: E402
from training.fitting import Examples, FitOptions, FitReport, batch_size, fit_tabular  # noqa: E402
from training.networks.tabular import TabularConfig, TabularNetwork, build_tabular, encoder_statistics  # noqa: E402

ENCODER = TableEncoder((Column("x", "numeric"), Column("y", "numeric")))


def exclusive_or(rows: int, seed: int) -> Examples:
    """Label 1 where exactly one of two columns is above 0: no single column predicts it."""
    numeric = np.random.default_rng(seed).normal(size=(rows, 2)).astype(np.float32)
    return Examples({"numeric": numeric}, {"label": ((numeric > 0).sum(axis=1) == 1).astype(np.float32)})


TRAIN, VALID = exclusive_or(600, 1), exclusive_or(300, 2)


def trained(options: FitOptions, valid: Examples | None = VALID, train: Examples = TRAIN) -> tuple[TabularNetwork, FitReport]:
    prepare(options.seed)
    network = build_tabular(ENCODER, encoder_statistics(ENCODER, dict(train.inputs)), config=TabularConfig(members=4))
    return network, fit_tabular(network, train, valid, options)


def probability(network: TabularNetwork, rows: Examples) -> np.ndarray:
    return 1 / (1 + np.exp(-network.raw(dict(rows.inputs))["label"][:, 0].astype(np.float64)))


def test_it_learns_an_interaction_of_columns() -> None:
    network, report = trained(FitOptions(epochs=40))
    predicted = probability(network, VALID) > 0.5
    assert (predicted == (VALID.targets["label"] == 1)).mean() > 0.9
    assert report.history[0]["loss"] > report.history[-1]["loss"]


def test_it_ends_with_the_weights_of_the_best_epoch() -> None:
    network, report = trained(FitOptions(epochs=60, patience=3, learning_rate=0.05, average=0.0))
    losses = [losses["validation_loss"] for losses in report.history]
    assert report.best_epoch == int(np.argmin(losses)) + 1
    assert len(losses) == min(60, report.best_epoch + 3)
    assert report.best_score == min(losses)
    assert log_loss(VALID.targets["label"], probability(network, VALID)) == pytest.approx(min(losses), abs=1e-5)


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    first, again, other = (trained(FitOptions(epochs=2, seed=seed))[0].raw(dict(VALID.inputs))["label"] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_rows_of_weight_0_do_not_count() -> None:
    """With half of the labels inverted at weight 0, the other half is learnt."""
    turned = np.arange(600) % 2 == 0
    labels = np.where(turned, 1 - TRAIN.targets["label"], TRAIN.targets["label"]).astype(np.float32)
    train = Examples(TRAIN.inputs, {"label": labels}, np.where(turned, 0.0, 1.0).astype(np.float32))
    network, _ = trained(FitOptions(epochs=40), train=train)
    assert ((probability(network, VALID) > 0.5) == (VALID.targets["label"] == 1)).mean() > 0.85


def test_without_validation_all_epochs_are_trained() -> None:
    _, report = trained(FitOptions(epochs=3), valid=None)
    assert len(report.history) == report.best_epoch == 3
    assert "validation_loss" not in report.history[0]


def test_an_average_starts_as_a_plain_mean() -> None:
    """After one step the averaged weights are that step's weights: validation sees them, not the start."""
    network, report = trained(FitOptions(epochs=1, batch=600, average=50.0))
    assert log_loss(VALID.targets["label"], probability(network, VALID)) == pytest.approx(report.best_score, abs=1e-5)


def test_training_stops_at_its_time_limit() -> None:
    _, report = trained(FitOptions(epochs=50, budget=0.0))
    assert len(report.history) == 1


def test_no_rows_are_refused() -> None:
    nothing = TRAIN.take(np.zeros(0, int))
    for train, valid in ((nothing, VALID), (TRAIN, nothing)):
        network = build_tabular(ENCODER, encoder_statistics(ENCODER, dict(TRAIN.inputs)))
        with pytest.raises(ValueError, match="expected rows"):
            fit_tabular(network, train, valid)


def test_tensorboard_gets_its_logs(tmp_path: Path) -> None:
    trained(FitOptions(epochs=2, tensorboard=tmp_path))
    assert [path.name for path in tmp_path.iterdir() if "tfevents" in path.name]


@pytest.mark.parametrize(("rows", "expected"), [(5, 8), (480, 8), (4_000, 64), (60_000, 1024), (10_000_000, 1024)])
def test_batches_grow_with_the_table(rows: int, expected: int) -> None:
    assert batch_size(rows) == expected
