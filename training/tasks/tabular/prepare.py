"""From files to examples: read, label, split, type the columns, encode; with an account of every row and column."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personalization.core.encoder import DATE_PARTS, TableEncoder
from personalization.core.errors import InvalidInput
from personalization.core.time import parse_timezone
from training.bundle_writer import fingerprint
from training.evaluation.importance import column_places
from training.fitting import Examples
from training.io.tables import FlatTable, read_flat_table
from training.tasks.tabular.columns import ColumnDecision, decide_columns, is_key
from training.tasks.tabular.labels import Label, apply_label, parse_label
from training.tasks.tabular.leaks import AWAY, single_column_auc
from training.tasks.tabular.model import TARGET, examples_of
from training.tasks.tabular.options import TableOptions
from training.tasks.tabular.splits import groups_of, split

SHARES = (0.70, 0.15, 0.15)
LEAST_ROWS = 8


@dataclass(frozen=True)
class PreparedTable:
    """groups     (rows of `everything`,) rows that stay on one side
    held_groups
               (rows of `judged`,) the same of those
    decisions  one for each column of the table but the label
    counts     of rows: read, rejected, set aside for want of a label, duplicates, train, validation, test
    """

    encoder: TableEncoder
    train: Examples
    valid: Examples
    test: Examples
    everything: Examples
    groups: NDArray[np.int64]
    held_groups: NDArray[np.int64]
    label: Label
    decisions: list[ColumnDecision]
    counts: dict[str, int]
    notes: list[str]
    warnings: list[str]
    fingerprint: str

    @property
    def judged(self) -> Examples:
        """The rows that headline numbers are about: test, or validation where nothing was held out."""
        return self.test if len(self.test) else self.valid


def prepare_table(options: TableOptions) -> PreparedTable:
    """Raises `InvalidInput` for whatever the user can put right: no such column, a label of three values, too few rows."""
    table = read_flat_table(options.table, options.mapping)
    if options.label not in table.columns:
        names = ", ".join(repr(name) for name in list(table.columns)[:20])
        raise InvalidInput(f"expected a label column {options.label!r} in {options.table.name}; its columns are {names}")
    label = parse_label(options.label, table.columns[options.label], options.positive)
    columns, label, counts = _labelled(table, options.label, label)
    rows = len(label.values)
    if rows < LEAST_ROWS:
        raise InvalidInput(f"expected at least {LEAST_ROWS} rows with a label, received {rows}")
    groups, together, duplicates = _together(columns, label)
    parts = split(label.values, groups, _shares(options), options.seed)
    notes, warnings = _split_notes(options, together), []
    print_ = fingerprint(options.files)
    salt = hashlib.blake2b(f"{print_}/{options.seed}".encode(), digest_size=16).hexdigest()
    decisions = decide_columns({name: _pick(cells, parts[0]) for name, cells in columns.items()}, len(parts[0]), salt=salt)
    used = tuple(decision.column for decision in decisions if decision.column)
    encoder = TableEncoder(used, parse_timezone(options.timezone))
    everything, _ = examples_of(encoder, columns, label.values)
    notes += [
        f"the rows are in the order of {name}, and were split at random all the same: --test takes later rows of their own"
        for name in in_order(encoder, everything)
    ]
    train, valid, test = (_Held(everything.take(part), groups[part]) for part in parts)
    valid = _other(options.valid, options, encoder, label, counts, "validation") or valid
    test = _other(options.test, options, encoder, label, counts, "test") or test
    if not len(valid.rows):
        warnings.append("there are too few rows to validate on: the training rows are used, and early stopping means little")
        valid = train
    counts |= {"duplicates": duplicates, "train": len(train.rows), "validation": len(valid.rows), "test": len(test.rows)}
    warnings += _row_warnings(counts, label, valid.rows, table)
    warnings += [f"column {d.name!r}: {d.warning}" for d in decisions if d.warning]
    if used:
        alone = single_column_auc(encoder, dict(train.rows.inputs), train.rows.targets[TARGET], options.seed)
        warnings += [
            f"column {name!r} gives the label away: it alone has an AUC of {auc:.3f}. Is it known before the label is?"
            for name, auc in alone.items()
            if auc >= AWAY
        ]
    held = test if len(test.rows) else valid
    return PreparedTable(
        encoder, train.rows, valid.rows, test.rows, everything, groups, held.groups, label, decisions, counts, notes, warnings,
        print_,
    )  # fmt: skip


@dataclass(frozen=True)
class _Held:
    """Rows, and (rows,) codes of those that belong together."""

    rows: Examples
    groups: NDArray[np.int64]


def _labelled(table: FlatTable, name: str, label: Label) -> tuple[dict[str, Sequence[Any]], Label, dict[str, int]]:
    """The rows that have a label; the others are counted, not forgotten."""
    columns = table.without(name)
    counts = {"read": table.rows, "rejected": len(table.rejects), "without_label": int((~label.known).sum())}
    if label.known.all():
        return columns, label, counts
    kept = np.flatnonzero(label.known)
    columns = {column: _pick(cells, kept) for column, cells in columns.items()}
    return columns, Label(label.values[kept], label.known[kept], label.positive, label.negative), counts


def _shares(options: TableOptions) -> tuple[float, float, float]:
    _, valid, test = SHARES
    if options.valid is not None:
        valid = 0.0
    if options.test is not None or options.no_test:
        test = 0.0
    return 1.0 - valid - test, valid, test


def _other(
    path: Path | None, options: TableOptions, encoder: TableEncoder, like: Label, counts: dict[str, int], name: str
) -> _Held | None:
    """Examples of a validation or test file, read as the training table was."""
    if path is None:
        return None
    table = read_flat_table(path, options.mapping)
    if options.label not in table.columns:
        raise InvalidInput(f"expected the label column {options.label!r} in the {name} table {path.name}")
    label = apply_label(options.label, table.columns[options.label], like)
    columns, label, other = _labelled(table, options.label, label)
    for key, count in other.items():
        counts[key] += count
    rows = len(label.values)
    user = next((column for column in columns if is_key(column)), None)
    groups = np.arange(rows) if user is None else groups_of(columns, rows, user)
    return _Held(examples_of(encoder, columns, label.values)[0], groups)


def in_order(encoder: TableEncoder, rows: Examples) -> list[str]:
    """The date columns that (but for one row in a hundred) only rise, or only fall, from the first row to the last."""
    found = []
    for column, (name, where) in column_places(encoder).items():
        if where.stop - where.start == len(DATE_PARTS):
            days = rows.inputs[name][:, where.start]
            steps = np.diff(days[~np.isnan(days)])
            if np.any(steps != 0) and max((steps >= 0).mean(), (steps <= 0).mean()) >= 0.99:
                found.append(column)
    return found


def _pick(cells: Sequence[Any], rows: NDArray[np.int64]) -> Sequence[Any]:
    if isinstance(cells, np.ndarray):
        return cells[rows]
    return [cells[row] for row in rows.tolist()]


def _together(columns: dict[str, Sequence[Any]], label: Label) -> tuple[NDArray[np.int64], str, int]:
    """Groups of rows that stay on one side, in words why, and the number of rows that are exact copies of others.

    Rows of one user, or copies: else a test row's twin is trained on. Where copies are common (columns of few values) they
    are no accident, and a group of more than a tenth of the rows would leave nothing to split.
    """
    rows = len(label.values)
    copies = groups_of({**columns, "": label.values.tolist()}, rows, None)
    duplicates = rows - _count(copies)
    key = next((name for name in columns if is_key(name)), None)
    users = copies if key is None else groups_of(columns, rows, key)
    most = max(2, rows // 10)
    if key is not None and _count(users) < rows and np.bincount(users).max() <= most:
        return users, f"all rows of one {key} are on the same side, so that nobody is both trained on and tested", duplicates
    if 0 < duplicates <= rows // 10 and np.bincount(copies).max() <= most:
        return copies, "exact copies of a row are on the same side", duplicates
    return np.arange(rows), "row by row", duplicates


def _count(groups: NDArray[np.int64]) -> int:
    return int(groups.max(initial=-1)) + 1


def _split_notes(options: TableOptions, together: str) -> list[str]:
    if options.valid is not None and (options.test is not None or options.no_test):
        return ["every row of the table is trained on; validation and test are files of their own"]
    shares = " / ".join(f"{share:.0%}" for share in _shares(options))
    return [
        f"training / validation / test are {shares} of the table, at random with seed {options.seed}, alike in their labels",
        together,
    ]


def _row_warnings(counts: dict[str, int], label: Label, valid: Examples, table: FlatTable) -> list[str]:
    found = []
    if counts["rejected"]:
        first = table.rejects[0] if table.rejects else None
        where = f"; the first is line {first.line}: {first.reason}" if first else ""
        found.append(f"{counts['rejected']} lines are no rows and were left out{where}")
    if counts["without_label"]:
        found.append(f"{counts['without_label']} rows without a label were set aside")
    if counts["duplicates"]:
        found.append(f"{counts['duplicates']} rows are exact copies of others; they were kept")
    positives = int(label.values.sum())
    if min(positives, len(label.values) - positives) < 50:
        found.append(f"{positives} positive labels among {len(label.values)} rows: the metrics below are rough")
    if valid.targets[TARGET].min() == valid.targets[TARGET].max():
        found.append("the validation rows are all of one class: early stopping and the threshold mean little")
    return found
