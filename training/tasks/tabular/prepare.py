"""From the files of a flat table to examples: read, label, split, decide on the columns, encode; every row is accounted for."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.encoder import TableEncoder
from personalization.core.errors import InvalidInput
from personalization.core.time import parse_timezone
from training.bundle_writer import fingerprint
from training.evaluation.importance import column_slices
from training.fitting import Examples
from training.io.tables import FlatTable, read_flat_table
from training.tasks.tabular.columns import ColumnDecision, decide_columns, is_key
from training.tasks.tabular.label import Label, apply_label, leaking_columns, parse_label, sorted_date_columns
from training.tasks.tabular.splits import row_groups, split, user_groups

TARGET: Final = "label"
_VALIDATION_SHARE: Final = 0.15
_TEST_SHARE: Final = 0.15
_MIN_ROWS: Final = 8

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FlatTableData:
    """The data of `train JOB --table`.

    job                  profiles | recommendations | ads: the bundle is named ``<job>-table``
    table, valid, test   files; without `valid` and `test` rows of `table` are split off
    label                its column; `positive` the word that counts as 1, where it does not follow from the two words
    mapping              our name → their column
    no_test              nothing is held out for test
    folds                of a cross-validation, 0 for none
    timezone             of dates without an offset
    """

    job: str
    table: Path
    label: str
    valid: Path | None = None
    test: Path | None = None
    no_test: bool = False
    folds: int = 0
    positive: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    timezone: str = "UTC"
    seed: int = 0

    @property
    def files(self) -> list[Path]:
        return [path for path in (self.table, self.valid, self.test) if path is not None]

    @property
    def shares(self) -> tuple[float, float, float]:
        """Shares of `table` for training, validation and test."""
        valid = 0.0 if self.valid is not None else _VALIDATION_SHARE
        test = 0.0 if self.test is not None or self.no_test else _TEST_SHARE
        return 1.0 - valid - test, valid, test


@dataclass(frozen=True)
class PreparedTable:
    """Examples of a flat table, and what became of its rows and columns.

    table             all labelled rows of the table, and `groups` (rows,) codes of those that stay on one side
    evaluation_groups codes of the rows of `evaluation_rows` that belong together
    decisions         one for each column but the label
    counts            of rows: read, rejected, without label, duplicates, train, validation, test
    """

    encoder: TableEncoder
    train: Examples
    valid: Examples
    test: Examples
    table: Examples
    groups: NDArray[np.int64]
    evaluation_groups: NDArray[np.int64]
    label: Label
    decisions: list[ColumnDecision]
    counts: dict[str, int]
    notes: list[str]
    warnings: list[str]
    fingerprint: str

    @property
    def evaluation_rows(self) -> Examples:
        """The rows of the headline metrics: test, or validation where nothing is held out."""
        return self.test if len(self.test) else self.valid

    def without_columns(self, names: Collection[str], reason: str) -> PreparedTable:
        """The same rows without some columns; `reason` is added to the decisions."""
        encoder = TableEncoder(tuple(c for c in self.encoder.columns if c.name not in names), self.encoder.zone)
        kept: dict[str, list[int]] = {}
        for column, (tensor, where) in column_slices(self.encoder).items():
            kept.setdefault(tensor, []).extend([] if column in names else range(where.start, where.stop))

        def narrowed(rows: Examples) -> Examples:
            return replace(rows, inputs={tensor: rows.inputs[tensor][:, places] for tensor, places in kept.items() if places})

        decisions = [
            replace(d, action="dropped", column=None, reason=f"{d.reason}; {reason}") if d.name in names else d
            for d in self.decisions
        ]
        return replace(
            self,
            encoder=encoder,
            decisions=decisions,
            train=narrowed(self.train),
            valid=narrowed(self.valid),
            test=narrowed(self.test),
            table=narrowed(self.table),
        )


def prepare_table(data: FlatTableData) -> PreparedTable:
    """Read, split and encode a flat table.

    Raises `InvalidInput` for what the user can put right: no such column, a label of three values, too few rows.
    """
    table = _read(data.table, data)
    columns, label, counts = _labelled(table, data.label, parse_label(data.label, table.columns[data.label], data.positive))
    rows = len(label.values)
    if rows < _MIN_ROWS:
        raise InvalidInput(f"expected at least {_MIN_ROWS} rows with a label, received {rows}")
    groups, grouping_note, duplicates = row_groups(columns, label.values)
    parts = split(label.values, groups, data.shares, data.seed)
    data_fingerprint = fingerprint(data.files)
    salt = hashlib.blake2b(f"{data_fingerprint}/{data.seed}".encode(), digest_size=16).hexdigest()
    training_columns = {name: _pick(cells, parts[0]) for name, cells in columns.items()}
    decisions = decide_columns(training_columns, len(parts[0]), salt=salt)
    encoder = TableEncoder(tuple(d.column for d in decisions if d.column), parse_timezone(data.timezone))
    examples = _examples(encoder, columns, label)
    train, valid, test = ((examples.take(part), groups[part]) for part in parts)
    if data.valid is not None:
        valid = _other_file(data.valid, data, encoder, label, counts)
    if data.test is not None:
        test = _other_file(data.test, data, encoder, label, counts)
    warnings = []
    if not len(valid[0]):
        warnings.append("there are too few rows to validate on: the training rows are used, and early stopping means little")
        valid = train
    counts |= {"duplicates": duplicates, "train": len(train[0]), "validation": len(valid[0]), "test": len(test[0])}
    warnings += _row_warnings(counts, label, valid[0], table)
    warnings += [f"column {d.name!r}: {d.warning}" for d in decisions if d.warning]
    leaking = leaking_columns(encoder, train[0].inputs, train[0].targets[TARGET], data.seed) if encoder.columns else {}
    warnings += [
        f"column {name!r} gives the label away: it alone has an AUC of {auc:.3f}. Is it known before the label is?"
        for name, auc in leaking.items()
    ]
    prepared = PreparedTable(
        encoder=encoder,
        train=train[0],
        valid=valid[0],
        test=test[0],
        table=examples,
        groups=groups,
        evaluation_groups=(test if len(test[0]) else valid)[1],
        label=label,
        decisions=decisions,
        counts=counts,
        notes=_notes(data, grouping_note, sorted_date_columns(encoder, examples.inputs)),
        warnings=warnings,
        fingerprint=data_fingerprint,
    )
    _log_summary(prepared)
    return prepared


def _read(path: Path, data: FlatTableData) -> FlatTable:
    table = read_flat_table(path, data.mapping)
    if data.label not in table.columns:
        names = ", ".join(repr(name) for name in list(table.columns)[:20])
        raise InvalidInput(f"expected a label column {data.label!r} in {path.name}; its columns are {names}")
    return table


def _labelled(table: FlatTable, name: str, label: Label) -> tuple[dict[str, Sequence[Any]], Label, dict[str, int]]:
    """Columns and labels of the rows that have a label, and counts of the others."""
    columns = table.without(name)
    counts = {"read": table.rows, "rejected": len(table.rejects), "without_label": int((~label.known).sum())}
    if label.known.all():
        return columns, label, counts
    kept = np.flatnonzero(label.known)
    return {column: _pick(cells, kept) for column, cells in columns.items()}, label.take(kept), counts


def _examples(encoder: TableEncoder, columns: dict[str, Any], label: Label) -> Examples:
    return Examples(encoder.encode(columns, len(label.values)).inputs, {TARGET: label.values})


def _other_file(
    path: Path, data: FlatTableData, encoder: TableEncoder, like: Label, counts: dict[str, int]
) -> tuple[Examples, NDArray[np.int64]]:
    """Examples of a validation or test file, read like the training table, and codes of rows that belong together."""
    table = _read(path, data)
    columns, label, file_counts = _labelled(table, data.label, apply_label(data.label, table.columns[data.label], like))
    for key, count in file_counts.items():
        counts[key] += count
    user = next((column for column in columns if is_key(column)), None)
    groups = np.arange(len(label.values)) if user is None else user_groups(columns[user])
    return _examples(encoder, columns, label), groups


def _pick(cells: Sequence[Any], rows: NDArray[np.int64]) -> Sequence[Any]:
    if isinstance(cells, np.ndarray):
        return cells[rows]
    return [cells[row] for row in rows.tolist()]


def _notes(data: FlatTableData, grouping_note: str, date_columns: Sequence[str]) -> list[str]:
    if data.valid is not None and (data.test is not None or data.no_test):
        notes = ["every row of the table is trained on; validation and test are files of their own"]
    else:
        shares = " / ".join(f"{share:.0%}" for share in data.shares)
        notes = [
            f"training / validation / test are {shares} of the table, at random with seed {data.seed}, stratified by label",
            grouping_note,
        ]
    return notes + [
        f"the rows are in the order of {name}, and were split at random all the same; give later rows with --test"
        for name in date_columns
    ]


def _row_warnings(counts: dict[str, int], label: Label, valid: Examples, table: FlatTable) -> list[str]:
    warnings = []
    if counts["rejected"]:
        first = table.rejects[0] if table.rejects else None
        where = f"; the first is line {first.line}: {first.reason}" if first else ""
        warnings.append(f"{counts['rejected']} lines are no rows and were left out{where}")
    if counts["without_label"]:
        warnings.append(f"{counts['without_label']} rows without a label were set aside")
    if counts["duplicates"]:
        warnings.append(f"{counts['duplicates']} rows are exact copies of others; they were kept")
    positives = int(label.values.sum())
    if min(positives, len(label.values) - positives) < 50:
        warnings.append(f"{positives} positive labels among {len(label.values)} rows: the metrics below are rough")
    if valid.targets[TARGET].min() == valid.targets[TARGET].max():
        warnings.append("the validation rows are all of one class: early stopping and the threshold mean little")
    return warnings


def _log_summary(prepared: PreparedTable) -> None:
    counts, label = prepared.counts, prepared.label
    _log.info(
        "%d rows: %d for training, %d for validation, %d for test; %.1f %% positive (%s)",
        counts["read"], counts["train"], counts["validation"], counts["test"], 100 * label.values.mean(), label.positive,
    )  # fmt: skip
    for decision in prepared.decisions:
        if decision.column is None:
            _log.info("column %s is not used: %s", decision.name, decision.reason)
    for warning in prepared.warnings:
        _log.warning("%s", warning)
