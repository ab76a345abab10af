"""report.html of a model of a flat table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from training.evaluation.group_metrics import miscalibrated
from training.report import Cell, binary_charts, group_section, metrics_table, page, section, table
from training.task import Evaluation, Explanation, ExportedModel
from training.tasks.tabular.prepare import FlatTableData, PreparedTable

if TYPE_CHECKING:
    from training.tasks.tabular.task import FlatTableModel

_ROW_COUNTS: Final = {
    "read": "rows read",
    "rejected": "lines that are no rows",
    "without_label": "rows without a label, set aside",
    "duplicates": "exact copies of other rows, kept",
    "train": "trained on",
    "validation": "validation",
    "test": "test",
}


def table_report(
    data: FlatTableData, trained: FlatTableModel, evaluation: Evaluation, explanation: Explanation, exported: ExportedModel
) -> str:
    """The whole page."""
    prepared, metrics, label = trained.prepared, evaluation.metrics, trained.prepared.label
    part = "test" if len(prepared.test) else "validation"
    own = "this model" if trained.classifier else "base rate"
    lead = (
        f"Probability that {data.label} is {label.positive} (not {label.negative}), from {data.table.name}: "
        f"{trained.rate:.1%} of the training rows are. Made for {data.job}."
    )
    lightgbm = evaluation.probabilities.get("lightgbm")
    versus = None if lightgbm is None else ("LightGBM", lightgbm)
    sections = [
        section(
            f"How good it is on {part} rows",
            metrics_table(own, metrics[part], metrics["baselines"], metrics.get("uncertainty")),
            f"Accuracy, precision, recall and F1: at {metrics['threshold']:.3f}, which is best for F1 on validation rows.",
        ),
        section("Curves", binary_charts(evaluation.labels, evaluation.probabilities["model"], versus)),
        _folds(metrics["folds"], own) if "folds" in metrics else "",
        group_section(metrics.get("groups")),
        _columns(prepared, explanation),
        explanation.html,
        _rows(prepared),
        _network(trained, exported),
    ]
    return page(
        f"{data.job}: a table with a label", lead, [*prepared.warnings, *miscalibrated(metrics.get("groups"))], sections
    )


def _folds(folds: dict[str, Any], own: str) -> str:
    rows = [
        [name, *(_with_error(one["mean"].get(m), one["standard_error"].get(m)) for m in folds["mean"])]
        for name, one in [(own, folds), *folds["baselines"].items()]
    ]
    header = ["", *(name.replace("_", " ") for name in folds["mean"])]
    return section(f"Over {folds['count']} folds", table(header, rows, own=0), "Mean ± standard error over the folds.")


def _with_error(mean: float | None, error: float | None) -> str:
    if mean is None:
        return "–"
    return f"{mean:.4f}" + (f" ± {error:.4f}" if error is not None else "")


def _columns(prepared: PreparedTable, explanation: Explanation) -> str:
    importance = {entry.column: entry for entry in explanation.importance}
    rows: list[list[Cell]] = [
        [
            d.name,
            d.action,
            d.reason,
            f"{d.missing:.1%}",
            d.distinct,
            _with_error(importance[d.name].loss, importance[d.name].error) if d.name in importance else "–",
        ]
        for d in sorted(prepared.decisions, key=lambda d: -importance[d.name].loss if d.name in importance else 1.0)
    ]
    return section(
        "Columns",
        table(["column", "used as", "reason", "missing", "different values", "importance"], rows),
        "Importance: how much the log loss on validation rows rises when the column is shuffled. Below 0: better without it.",
    )


def _rows(prepared: PreparedTable) -> str:
    counts = prepared.counts
    rows: list[list[Cell]] = [[words, counts[name]] for name, words in _ROW_COUNTS.items() if name in counts]
    return section("Rows", table(["", "rows"], rows), "; ".join(prepared.notes) + ".")


def _network(trained: FlatTableModel, exported: ExportedModel) -> str:
    model, config, fit = trained.classifier, trained.options.config, trained.options.fit
    if model is None:
        return section("Model", "<p>A constant: the share of positives among the training rows.</p>")
    rows: list[list[Cell]] = [
        ["members × units of each layer", f"{config.members} × {', '.join(map(str, config.widths))}"],
        ["epochs, the best of them", f"{len(model.fit.history)}, {model.fit.best_epoch}"],
        ["rows a step", model.fit.batch],
        ["learning rate, weight decay, dropout", f"{fit.learning_rate:.4g}, {fit.weight_decay:.4g}, {config.dropout:.2g}"],
        ["calibration of the logit", f"{model.slope:.3f} × logit + {model.intercept:.3f}"],
        ["rows a second on one core, in the graph", exported.rows_per_second],
    ]
    return section("Model", table(["", ""], rows))
