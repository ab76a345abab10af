"""report.html of a profile bundle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from training.evaluation.group_metrics import miscalibrated
from training.report import Cell, binary_charts, group_section, metrics_table, page, section, table
from training.task import Evaluation, Explanation, ExportedModel

if TYPE_CHECKING:
    from training.tasks.profiles.task import TrainedProfiles


def profile_report(trained: TrainedProfiles, evaluation: Evaluation, explanation: Explanation, exported: ExportedModel) -> str:
    """The whole page."""
    prepared, metrics = trained.prepared, evaluation.metrics
    report, horizon = prepared.report, trained.targets.horizon
    part = "test" if prepared.test is not None else "validation"
    lead = (
        f"Who buys within {horizon} days, who is lost for {prepared.data.churn_horizon}, what they spend, what they buy next: "
        f"from {report['events']:,} events of {report['users']:,} users, {report['first'][:10]} to {report['last'][:10]}."
    )
    own = "this model" if trained.model else "base rate"
    sections = [_target(name, result, part, own) for name, result in metrics["targets"].items()]
    if len(evaluation.labels):
        probabilities = evaluation.probabilities
        versus = ("LightGBM", probabilities["lightgbm"]) if "lightgbm" in probabilities else None
        curves = binary_charts(evaluation.labels, probabilities["model"], versus)
        sections.insert(1, section(f"Curves: buys within {horizon} days", curves))
    sections += [_segments(kind, outcomes, horizon) for kind, outcomes in metrics["segments"].items()]
    sections += [group_section(metrics["groups"]), _intervals(metrics["intervals"]), _cuts(metrics["cuts"])]
    sections += [_features(trained, explanation), explanation.html, _data(report), _network(trained, exported)]
    warning = [report["warning"]] if "warning" in report else []
    warnings = [*metrics["notes"], *warning, *miscalibrated(metrics["groups"])]
    return page("profiles: who is this customer, and what will they do", lead, warnings, sections)


def _target(name: str, result: dict[str, Any], part: str, own: str) -> str:
    title = f"{name.replace('_', ' ')}, {part} rows"
    if result[part] is None:
        return section(title, f"<p>Not evaluated: {result.get('note', 'no row covers the horizon')}.</p>")
    baselines = {baseline: metrics for baseline, metrics in result["baselines"].items() if metrics}
    content = metrics_table(own, result[part], baselines, result.get("uncertainty"))
    return section(title, content, result.get("baselines_note", ""))


def _segments(kind: str, outcomes: dict[str, Any], horizon: int) -> str:
    header = ["segment", "users", "share", "bought", "predicted", "stayed away", "predicted", "mean spend"]
    keys = ("name", "users", "share", "rate", "mean_probability", "churn_rate", "mean_churn_risk", "spend")
    rows: list[list[Cell]] = [[segment[key] for key in keys] for segment in outcomes["segments"]]
    separation = "unknown" if outcomes["separation"] is None else f"{outcomes['separation']:.1%}"
    note = (
        f"Observed after the cut. {outcomes['coverage']:.1%} of the users have ordered before; the segments are as diverse as "
        f"{outcomes['diversity']:.1f} of equal size; {separation} of the variance of buying within {horizon} days lies between "
        "segments."
    )
    title = "Segments by recency, frequency and value" if kind == "rfm" else "Segments by predicted behaviour"
    return section(title, table(header, rows), note)


def _intervals(intervals: Sequence[dict[str, Any]]) -> str:
    rows: list[list[Cell]] = [
        [f"{i['days']} days", i["predicted"], i["observed"], "yes" if i["extrapolated"] else ""] for i in intervals
    ]
    note = "Mean probability of a purchase within so many days, and the share of users who made one."
    return section("Time to the next purchase", table(["within", "predicted", "observed", "extrapolated"], rows), note)


def _cuts(cuts: dict[str, Any]) -> str:
    train = cuts["train"]
    validation = "the same cuts, other users" if cuts["validation_of_other_users"] else ", ".join(cuts["validation"])
    rows = [
        ["training cuts", f"{len(train)}: {train[0]} to {train[-1]}"],
        ["validation", validation],
        ["test", cuts["test"] or "none"],
    ]
    note = "Features see what was received before a cut, labels what happened after it."
    return section("Cuts in time", table(["", ""], rows), note)


def _features(trained: TrainedProfiles, explanation: Explanation) -> str:
    importance = {entry.column: entry for entry in explanation.importance}
    shown = {name: f"{entry.loss:.4f} ± {entry.error:.4f}" for name, entry in importance.items()}
    order = sorted(trained.prepared.decisions, key=lambda d: -importance[d.name].loss if d.name in importance else 1.0)
    rows = [[d.name, d.action, d.reason, f"{d.missing:.1%}", shown.get(d.name, "–")] for d in order]
    note = "Importance: rise of the log loss on validation rows when the feature is shuffled among the users."
    return section("Features", table(["feature", "used as", "reason", "missing", "importance"], rows), note)


def _data(report: dict[str, Any]) -> str:
    rows: list[tuple[str, Any]] = [
        (f["file"], f"{f['rows']:,} rows: {f['used']:,} used, {f['rejected']:,} rejected, {f['duplicates']:,} duplicates")
        for f in report["files"]
    ]
    rows += [(f"rejected: {reason}", count) for reason, count in report["rejected"].items()]
    rows += report["cleaned"].items()
    rows += [("copies of other events without an event_id, kept", report["suspected_duplicates"])]
    rows += [(f"events of type {name}", count) for name, count in report["event_types"].items()]
    rows += [(f"rows for {name}", count) for name, count in report["rows"].items()]
    return section("Data", table(["", ""], [[name, str(value)] for name, value in rows]))


def _network(trained: TrainedProfiles, exported: ExportedModel) -> str:
    model = trained.model
    if model is None:
        return section("Model", "<p>Constants: the rates of the training rows.</p>")
    rows = {
        "epochs, the best of them": f"{len(model.fitted.history)}, {model.fitted.best_epoch}",
        "rows a step": model.fitted.batch,
        "calibration of the log hazard": f"{model.hazard.slope:.3f} · η + {model.hazard.intercept:.3f}",
        "calibration of the spend": f"× {model.spend_level:.3f}",
        "categories of the next basket": len(trained.targets.categories),
        "rows a second on one core, in the graph": exported.rows_per_second,
    }
    return section("Model", table(["", ""], [[name, str(value)] for name, value in rows.items()]))
