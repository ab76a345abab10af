"""Sections that several reports share: errors by group, and explained rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.bundles.bundle import Bundle
from personalization.tabular.explain import Explainer
from training.background import spaced_rows
from training.evaluation.group_metrics import MAX_STANDARD_ERRORS, MIN_ROWS
from training.report.page import Cell, section, table

_EXPLAINED_AT: Final = (0.1, 0.5, 0.95)  # quantiles of the predicted probability, at which rows are explained
_CANDIDATES: Final = 2_048
_ROUNDS: Final = 4
_COLUMNS: Final = 6  # that are shown of each row
_GROUP_HEADER: Final = ("column", "group", "rows", "observed", "predicted", "±", "AUC", "log loss", "precision", "recall", "")
_GROUP_METRICS: Final = ("rate", "mean_probability", "standard_error", "auc", "log_loss", "precision", "recall")


def group_section(groups: Mapping[str, Sequence[Mapping[str, Any]]] | None) -> str:
    """Errors by group, from `metrics_by_group`; empty without groups."""
    if not groups:
        return ""
    rows: list[list[Cell]] = []
    for column, of_column in groups.items():
        for group in of_column:
            name = "" if group is not of_column[0] else column
            off = "off" if group["off"] else ""
            rows.append([name, group["group"], group["rows"], *(group[metric] for metric in _GROUP_METRICS), off])
    note = (
        f"Groups of fewer than {MIN_ROWS} rows are pooled. ±: standard error of predicted − observed; off: the difference is "
        f"more than {MAX_STANDARD_ERRORS:.0f} of them. --groups names other columns."
    )
    return section("Errors by group", table(_GROUP_HEADER, rows), note)


def explained_rows(bundle: Bundle, inputs: Mapping[str, NDArray[Any]]) -> str:
    """Shapley values of an unlikely, a typical and a likely row; empty without rows or without a background.

    inputs   encoded rows that were not trained on, by input name; ids are not among a model's columns
    """
    rows = len(next(iter(inputs.values()))) if inputs else 0
    explainer = Explainer.for_bundle(bundle, rounds=_ROUNDS) if rows else None
    if explainer is None:
        return ""
    sample = spaced_rows(inputs, _CANDIDATES)
    probability = np.asarray(explainer.probability(bundle.run(sample)), np.float64).reshape(-1)
    order = np.argsort(probability, kind="stable")
    parts = []
    for share in _EXPLAINED_AT:
        row = int(order[round(share * (len(order) - 1))])
        explanation = explainer.explain(sample, row)
        shown = explanation["contributions"][:_COLUMNS]
        lines: list[list[Cell]] = [
            [c["name"], "–" if c["value"] is None else str(c["value"]), f"{c['contribution']:+.3f} ± {c['standard_error']:.3f}"]
            for c in shown
        ]
        rest = explanation["logit"] - explanation["base"] - sum(c["contribution"] for c in shown)
        lines.append(["all others", "", f"{rest:+.3f}"])
        words = f"Probability {probability[row]:.1%}, above {share:.0%} of the rows: logit {explanation['logit']:.3f}, "
        words += f"mean of the background {explanation['base']:.3f}."
        parts.append(f"<p>{words}</p>" + table(["column", "value", "moves the logit by"], lines))
    note = f"Shapley values of the logit of {explainer.target}, against a background of training rows."
    return section("Three rows, explained", "".join(parts), note)
