"""report.html of a bundle of ads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from training.evaluation.group_metrics import miscalibrated
from training.report import Cell, binary_charts, group_section, metrics_table, page, section, table
from training.task import Evaluation, Explanation, ExportedModel
from training.tasks.ads.prepare import PreparedAds

if TYPE_CHECKING:
    from training.tasks.ads.task import TrainedAds

_COUNTS: Final = {
    "clicks": "clicks",
    "conversions": "conversions",
    "conversions_after_the_window": "conversions after the attribution window, not counted",
    "conversions_without_a_click": "conversions without a click, counted as one",
    "held_back": "impressions of the control group",
    "immature": "too young: outcomes may still come",
    "not_known_in_time": "outcome not known when the test began",
    "events": "interactions of these users",
}


def ads_report(trained: TrainedAds, evaluation: Evaluation, explanation: Explanation, exported: ExportedModel) -> str:
    """The whole page."""
    prepared, metrics = trained.prepared, evaluation.metrics
    counts = prepared.report
    part = "test" if len(prepared.test) else "validation"
    lead = (
        f"How likely an ad is clicked and converts: from {counts['rows_in_log']:,} impressions of {counts['ads']:,} ads to "
        f"{counts['users']:,} users, outcomes within {prepared.attribution_days:g} days."
    )
    own = "this model" if trained.validated else "base rate"
    sections = [
        section(f"{name}, {part} rows", metrics_table(own, target[part], target["baselines"], target["uncertainty"]))
        for name, target in metrics["targets"].items()
    ]
    lightgbm = evaluation.probabilities.get("lightgbm")
    versus = None if lightgbm is None else ("LightGBM", lightgbm)
    charts = binary_charts(evaluation.labels, evaluation.probabilities["model"], versus)
    sections.insert(1, section(f"Curves: {next(iter(metrics['targets']))}", charts))
    sections += [
        _positions(trained.examination),
        group_section(metrics["groups"]),
        _columns(prepared, explanation),
        _data(counts),
        _network(trained, exported),
    ]
    notes = [*prepared.notes, *miscalibrated(metrics["groups"])]
    return page("ads: which ad, to whom, at what value", lead, notes, sections)


def _positions(examination: dict[str, list[float]]) -> str:
    if not examination:
        return ""
    rows: list[list[Cell]] = [
        [placement or "any", str(position), f"{probability:.3f}"]
        for placement, probabilities in examination.items()
        for position, probability in enumerate(probabilities, 1)
    ]
    note = "How likely an ad at a position is looked at; the first position counts as always looked at."
    return section("Positions", table(["placement", "position", "P(examined)"], rows), note)


def _columns(prepared: PreparedAds, explanation: Explanation) -> str:
    importance = {entry.column: entry for entry in explanation.importance}
    shown = {name: f"{entry.loss:.4f} ± {entry.error:.4f}" for name, entry in importance.items()}
    order = sorted(prepared.decisions, key=lambda d: -importance[d.name].loss if d.name in importance else 1.0)
    rows: list[list[Cell]] = [[d.name, d.action, d.reason, f"{d.missing:.1%}", shown.get(d.name, "–")] for d in order]
    note = "Importance: how much the log loss on validation rows rises when the column is shuffled among them."
    return section("Columns", table(["column", "used as", "reason", "missing", "importance"], rows), note)


def _data(counts: dict[str, Any]) -> str:
    rows: list[list[Cell]] = [[f"rejected: {reason}", f"{count:,}"] for reason, count in counts["rejected"].items()]
    rows += [[label, f"{counts[key]:,}"] for key, label in _COUNTS.items() if counts.get(key) is not None]
    rows += [[f"rows for {name}", f"{count:,}"] for name, count in counts["rows"].items()]
    return section("Data", table(["", ""], rows))


def _network(trained: TrainedAds, exported: ExportedModel) -> str:
    validated = trained.validated
    if validated is None:
        return section("Model", "<p>Constants: the rates of the training rows.</p>")
    model = validated.model
    rows: list[list[Cell]] = [
        ["epochs", str(model.fitted.best_epoch)],
        ["validated on", f"{validated.folds} folds of the users" if validated.folds else "later impressions"],
        ["rows a second on one core, in the graph", f"{exported.rows_per_second or 0:,}"],
    ]
    rows += [
        [f"calibration of {name}", f"{model.slope[name]:.3f} · logit + {model.intercept[name]:.3f}"] for name in model.slope
    ]
    return section("Model", table(["", ""], rows))
