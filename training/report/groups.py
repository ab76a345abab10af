"""Is the model as good for everybody: the errors of each group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.evaluation.by_group import FAR, LEAST_ROWS
from training.report.page import Cell, section, table

_HEADER = ["column", "group", "rows", "observed", "predicted", "±", "AUC", "log loss", "precision", "recall", ""]
_METRICS = ("rate", "mean_probability", "standard_error", "auc", "log_loss", "precision", "recall")


def group_section(groups: Mapping[str, Sequence[Mapping[str, Any]]] | None) -> str:
    """A section of the report; empty where there was nothing to group rows by."""
    if not groups:
        return ""
    rows: list[list[Cell]] = [
        [
            column if place == 0 else "",
            row["group"],
            row["rows"],
            *(row[name] for name in _METRICS),
            "off" if row["off"] else "",
        ]
        for column, found in groups.items()
        for place, row in enumerate(found)
    ]
    note = (
        f"Each group by itself; those of fewer than {LEAST_ROWS} rows are told of together. ±: how far predicted and observed "
        f"lie apart by chance; off: {FAR:.0f} times as far. --groups names other columns."
    )
    return section("Errors by group", table(_HEADER, rows), note)
