"""report.html of a bundle of ads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.evaluation.group_metrics import miscalibrated
from training.evaluation.importance import Importance
from training.report import Cell, binary_charts, group_section, metrics_table, page, section, table
from training.tasks.ads.evaluate import AdsEvaluation
from training.tasks.ads.learn import TrainedAds
from training.tasks.ads.manifest import examination
from training.tasks.ads.prepare import PreparedAds


def ad_report(
    prepared: PreparedAds, learnt: TrainedAds | None, evaluation: AdsEvaluation, importance: Sequence[Importance], speed: int
) -> str:
    """The whole page."""
    metrics, report = evaluation.metrics, prepared.report
    where = "test" if len(prepared.test) else "validation"
    lead = (
        f"How likely an ad is clicked and pays: from {report['rows_in_log']:,} impressions of {report['ads']:,} ads to "
        f"{report['users']:,} users, outcomes within {prepared.attribution_days:g} days."
    )
    own = "this model" if learnt else "base rate"
    parts = [
        section(f"{name}, {where} rows", metrics_table(own, found[where], found["baselines"], found["uncertainty"]))
        for name, found in metrics["targets"].items()
    ]
    if len(evaluation.labels):
        probabilities = evaluation.probabilities
        versus = ("LightGBM", probabilities["lightgbm"]) if "lightgbm" in probabilities else None
        charts = binary_charts(evaluation.labels, probabilities["model"], versus)
        parts.insert(1, section(f"Curves: {next(iter(metrics['targets']))}", charts))
    if learnt is not None and prepared.places:
        parts.append(_places(prepared, learnt))
    parts += [group_section(metrics["groups"]), _columns(prepared, importance), _data(report), _network(learnt, speed)]
    return page("ads: which ad, to whom, at what worth", lead, [*prepared.notes, *miscalibrated(metrics["groups"])], parts)


def _places(prepared: PreparedAds, learnt: TrainedAds) -> str:
    rows: list[list[Cell]] = [
        [placement or "any", str(position), f"{chance:.3f}"]
        for placement, chances in examination(prepared, learnt).items()
        for position, chance in enumerate(chances, 1)
    ]
    note = "How likely an ad at a position is looked at, where the first position counts as seen."
    return section("Places", table(["placement", "position", "P(seen)"], rows), note)


def _columns(prepared: PreparedAds, importance: Sequence[Importance]) -> str:
    worth = {entry.column: entry for entry in importance}
    shown = {name: f"{entry.loss:.4f} ± {entry.error:.4f}" for name, entry in worth.items()}
    order = sorted(prepared.decisions, key=lambda d: -worth[d.name].loss if d.name in worth else 1.0)
    rows: list[list[Cell]] = [[d.name, d.action, d.reason, f"{d.missing:.1%}", shown.get(d.name, "–")] for d in order]
    note = "Importance: how much the log loss on validation rows rises when the column is shuffled among them."
    return section("Columns", table(["column", "used as", "what was found", "missing", "importance"], rows), note)


def _data(report: dict[str, Any]) -> str:
    rows: list[list[Cell]] = [[f"rejected: {reason}", f"{count:,}"] for reason, count in report["rejected"].items()]
    names = {
        "clicks": "clicks", "conversions": "conversions",
        "conversions_after_the_window": "conversions after the window, not counted",
        "conversions_without_a_click": "conversions without a click, counted as one", "held_back": "held back on purpose",
        "immature": "too young: their outcome may still come", "not_known_in_time": "not known when the test began",
        "events": "interactions of these users",
    }  # fmt: skip
    rows += [[label, f"{report[key]:,}"] for key, label in names.items() if report.get(key) is not None]
    rows += [[f"rows for {name}", f"{count:,}"] for name, count in report["rows"].items()]
    return section("Data", table(["", ""], rows))


def _network(learnt: TrainedAds | None, speed: int) -> str:
    if learnt is None:
        return section("Model", "<p>Constants: the rates of the training rows.</p>")
    model = learnt.model
    rows: list[list[Cell]] = [
        ["epochs", str(model.fitted.best_epoch)],
        ["validated on", f"{learnt.folds} folds of the users" if learnt.folds else "later impressions"],
        ["rows a second on one core, in the graph", f"{speed:,}"],
    ]
    rows += [
        [f"calibration of {name}", f"{model.slope[name]:.3f} · logit + {model.intercept[name]:.3f}"] for name in model.slope
    ]
    return section("Model", table(["", ""], rows))
