"""Feature selection, conservatively: a column goes only where it is proven, twice, that the model does better without."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from personalization.core.encoder import TableEncoder
from training.evaluation.importance import Importance, column_places, permutation_importance
from training.evaluation.metrics import row_log_loss
from training.fitting import Examples, FitOptions
from training.networks.tabular import TabularConfig
from training.tasks.tabular.model import TARGET, BinaryModel, train_binary
from training.tasks.tabular.prepare import PreparedTable


def importances(model: BinaryModel, encoder: TableEncoder, rows: Examples, seed: int) -> list[Importance]:
    """Permutation importance of each column of a model."""
    return permutation_importance(
        encoder, lambda inputs: model.probability(Examples(inputs, {})), rows.inputs, rows.targets[TARGET], seed=seed
    )


def without_harmful(
    prepared: PreparedTable, model: BinaryModel, found: list[Importance], config: TabularConfig, options: FitOptions
) -> tuple[PreparedTable, BinaryModel, list[Importance]]:
    """Train again without the columns that permutation shows as harmful on the validation rows, and keep that model only
    where its validation loss is lower by more than two standard errors (paired over rows).
    """
    harmful = [entry.column for entry in found if entry.harmful]
    if not harmful or len(harmful) == len(prepared.encoder.columns):
        return prepared, model, found
    smaller = dropped(prepared, harmful)
    rival = train_binary(smaller.encoder, smaller.train, smaller.valid, config, options)
    labels = prepared.valid.targets[TARGET]
    gain = row_log_loss(labels, model.probability(prepared.valid)) - row_log_loss(labels, rival.probability(smaller.valid))
    if len(gain) < 2 or gain.mean() <= 2 * gain.std(ddof=1) / np.sqrt(len(gain)):
        return prepared, model, found
    return smaller, rival, importances(rival, smaller.encoder, smaller.valid, options.seed)


def dropped(prepared: PreparedTable, names: Collection[str]) -> PreparedTable:
    """The same rows without some of their columns."""
    encoder = prepared.encoder
    kept = TableEncoder(tuple(column for column in encoder.columns if column.name not in names), encoder.zone)

    def narrowed(rows: Examples) -> Examples:
        return keep_columns(encoder, rows, names)

    decisions = [
        replace(d, action="dropped", column=None, reason=f"{d.reason}; made predictions on the validation rows worse")
        if d.name in names
        else d
        for d in prepared.decisions
    ]
    return replace(
        prepared,
        encoder=kept,
        train=narrowed(prepared.train),
        valid=narrowed(prepared.valid),
        test=narrowed(prepared.test),
        everything=narrowed(prepared.everything),
        decisions=decisions,
    )


def keep_columns(encoder: TableEncoder, rows: Examples, without: Collection[str]) -> Examples:
    """Encoded rows without the tensors' parts that belong to some columns."""
    places: dict[str, list[int]] = {}
    for column, (name, where) in column_places(encoder).items():
        places.setdefault(name, []).extend([] if column in without else range(where.start, where.stop))
    inputs = {name: rows.inputs[name][:, kept] for name, kept in places.items() if kept}
    return Examples(inputs, rows.targets, rows.weight)
