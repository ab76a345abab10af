"""report.html of a model of a flat table."""

from __future__ import annotations

from training.evaluation.by_group import off
from training.report import Cell, binary_charts, group_section, metrics_table, page, section, table
from training.tasks.tabular.learn import TrainedTable
from training.tasks.tabular.model import TARGET
from training.tasks.tabular.options import TableOptions, TrainOptions

_COUNTS = {
    "read": "rows read",
    "rejected": "lines that are no rows",
    "without_label": "rows without a label, set aside",
    "duplicates": "exact copies of other rows, kept",
    "train": "trained on",
    "validation": "validation",
    "test": "test",
}


def table_report(outcome: TrainedTable, source: TableOptions, options: TrainOptions, speed: int, examples: str = "") -> str:
    """The whole page. `examples` is the section of explained rows."""
    prepared, metrics = outcome.prepared, outcome.metrics
    label = prepared.label
    where = "test" if len(prepared.test) else "validation"
    own = "this model" if outcome.model else "base rate"
    shown = metrics[where]
    lead = (
        f"Probability that {source.label} is {label.positive} (not {label.negative}), from {source.table.name}: "
        f"{outcome.rate:.1%} of the training rows are. Made for {options.job}."
    )
    versus = ("LightGBM", outcome.probabilities["lightgbm"]) if "lightgbm" in outcome.probabilities else None
    parts = [
        section(
            f"How good it is on {where} rows",
            metrics_table(own, shown, metrics["baselines"], metrics.get("uncertainty")),
            f"Accuracy, precision, recall and F1: at {metrics['threshold']:.3f}, which is best for F1 on validation rows.",
        ),
        section("Curves", binary_charts(outcome.judged.targets[TARGET], outcome.probabilities["model"], versus)),
    ]
    if "folds" in metrics:
        parts.append(_folds(outcome, own))
    parts += [group_section(metrics.get("groups")), _columns(outcome), examples, _rows(outcome), _network(outcome, speed)]
    warnings = [*prepared.warnings, *off(metrics.get("groups"))]
    return page(f"{options.job}: a table with a label", lead, warnings, parts)


def _folds(outcome: TrainedTable, own: str) -> str:
    found = outcome.metrics["folds"]
    rows = [
        [name, *(_with_error(one["mean"].get(m), one["standard_error"].get(m)) for m in found["mean"])]
        for name, one in [(own, found), *found["baselines"].items()]
    ]
    header = ["", *(name.replace("_", " ") for name in found["mean"])]
    return section(f"Over {found['count']} folds", table(header, rows, own=0), "Mean ± standard error over the folds.")


def _with_error(mean: float | None, error: float | None) -> str:
    if mean is None:
        return "–"
    return f"{mean:.4f}" + (f" ± {error:.4f}" if error is not None else "")


def _columns(outcome: TrainedTable) -> str:
    worth = {entry.column: entry for entry in outcome.importance}
    rows: list[list[Cell]] = [
        [
            d.name,
            d.action,
            d.reason,
            f"{d.missing:.1%}",
            d.distinct,
            _with_error(worth[d.name].loss, worth[d.name].error) if d.name in worth else "–",
        ]
        for d in sorted(outcome.prepared.decisions, key=lambda d: -worth[d.name].loss if d.name in worth else 1.0)
    ]
    return section(
        "Columns",
        table(["column", "used as", "what was found", "missing", "different values", "importance"], rows),
        "Importance: how much the log loss on validation rows rises when the column is shuffled. Below 0: better without it.",
    )


def _rows(outcome: TrainedTable) -> str:
    counts = outcome.prepared.counts
    rows: list[list[Cell]] = [[words, counts[name]] for name, words in _COUNTS.items() if name in counts]
    return section("Rows", table(["", "rows"], rows), "; ".join(outcome.prepared.notes) + ".")


def _network(outcome: TrainedTable, speed: int) -> str:
    if outcome.model is None:
        return section("Model", "<p>A constant: the share of positives among the training rows.</p>")
    model, config = outcome.model, outcome.config
    rows: list[list[Cell]] = [
        ["members × units of each layer", f"{config.members} × {', '.join(map(str, config.widths))}"],
        ["epochs, the best of them", f"{len(model.fitted.history)}, {model.fitted.best_epoch}"],
        ["rows a step", model.fitted.batch],
        [
            "learning rate, weight decay, dropout",
            f"{outcome.fit.learning_rate:.4g}, {outcome.fit.weight_decay:.4g}, {config.dropout:.2g}",
        ],
        ["calibration of the logit", f"{model.slope:.3f} × logit + {model.intercept:.3f}"],
        ["rows a second on one core, in the graph", speed],
    ]
    return section("Model", table(["", ""], rows))
