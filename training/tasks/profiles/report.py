"""report.html of a profile bundle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.evaluation.by_group import off
from training.evaluation.importance import Importance
from training.report import Cell, binary_charts, group_section, metrics_table, page, section, table
from training.tasks.profiles.evaluate import ProfilesEvaluation
from training.tasks.profiles.model import ProfileModel, ProfileTargets
from training.tasks.profiles.options import ProfileData
from training.tasks.profiles.prepare import PreparedProfiles


def profile_report(
    prepared: PreparedProfiles,
    targets: ProfileTargets,
    model: ProfileModel | None,
    evaluation: ProfilesEvaluation,
    importance: Sequence[Importance],
    data: ProfileData,
    speed: int,
    examples: str = "",
) -> str:
    """The whole page. `examples` is the section of explained rows."""
    metrics, report = evaluation.metrics, prepared.report
    where = "test" if prepared.test is not None else "validation"
    lead = (
        f"Who buys within {targets.horizon} days, who is lost for {data.churn_horizon}, what they spend, what they buy next: "
        f"from {report['events']:,} events of {report['users']:,} users, {report['first'][:10]} to {report['last'][:10]}."
    )
    own = "this model" if model else "base rate"
    parts = [_target(name, result, where, own) for name, result in metrics["targets"].items()]
    if len(evaluation.labels):
        probabilities = evaluation.probabilities
        versus = ("LightGBM", probabilities["lightgbm"]) if "lightgbm" in probabilities else None
        curves = binary_charts(evaluation.labels, probabilities["model"], versus)
        parts.insert(1, section(f"Curves: buys within {targets.horizon} days", curves))
    parts += [_segments(title, found, targets.horizon) for title, found in metrics["segments"].items()]
    parts += [group_section(metrics["groups"]), _intervals(metrics["intervals"]), _cuts(metrics["cuts"])]
    parts += [_features(prepared, importance), examples, _data(report), _network(prepared, model, speed)]
    warnings = [*metrics["notes"], *([report["warning"]] if "warning" in report else []), *off(metrics["groups"])]
    return page("profiles: who is this customer, and what will they do", lead, warnings, parts)


def _target(name: str, result: dict[str, Any], where: str, own: str) -> str:
    title = f"{name.replace('_', ' ')}, {where} rows"
    if result[where] is None:
        return section(title, f"<p>Not judged: {result.get('note', 'no row saw the outcome')}.</p>")
    baselines = {label: values for label, values in result["baselines"].items() if values}
    content = metrics_table(own, result[where], baselines, result.get("uncertainty"))
    return section(title, content, result.get("baselines_note", ""))


def _segments(kind: str, found: dict[str, Any], horizon: int) -> str:
    header = ["segment", "users", "share", "bought", "predicted", "stayed away", "predicted", "mean spend"]
    keys = ("name", "users", "share", "rate", "mean_probability", "churn_rate", "mean_churn_risk", "spend")
    rows: list[list[Cell]] = [[segment[key] for key in keys] for segment in found["segments"]]
    separation = "unknown" if found["separation"] is None else f"{found['separation']:.1%}"
    note = (
        f"What the users of each did afterwards. {found['coverage']:.1%} of the users have ordered before; they spread as over "
        f"{found['diversity']:.1f} segments of one size; {separation} of the variance of buying within {horizon} days lies "
        f"between segments."
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
    rows: list[list[Cell]] = [
        ["training cuts", f"{len(train)}: {train[0]} to {train[-1]}"],
        ["validation", "the same cuts, other users" if cuts["validation_of_other_users"] else ", ".join(cuts["validation"])],
        ["test", cuts["test"] or "none"],
    ]
    note = "Features see what was known before a cut, labels what came after it."
    return section("TemporalSplit in time", table(["", ""], rows), note)


def _features(prepared: PreparedProfiles, importance: Sequence[Importance]) -> str:
    worth = {entry.column: entry for entry in importance}
    shown = {name: f"{entry.loss:.4f} ± {entry.error:.4f}" for name, entry in worth.items()}
    order = sorted(prepared.decisions, key=lambda d: -worth[d.name].loss if d.name in worth else 1.0)
    rows: list[list[Cell]] = [[d.name, d.action, d.reason, f"{d.missing:.1%}", shown.get(d.name, "–")] for d in order]
    note = "Importance: how much the log loss on validation rows rises when the feature is shuffled among the users."
    return section("Features", table(["feature", "used as", "what was found", "missing", "importance"], rows), note)


def _data(report: dict[str, Any]) -> str:
    rows: list[list[Cell]] = [
        [f"{f['file']}", f"{f['rows']:,} rows: {f['used']:,} used, {f['rejected']:,} rejected, {f['duplicates']:,} duplicates"]
        for f in report["files"]
    ]
    rows += [[f"rejected: {reason}", count] for reason, count in report["rejected"].items()]
    rows += [[reason, count] for reason, count in report["cleaned"].items()]
    rows += [["copies of other events without an event_id, kept", report["suspected_duplicates"]]]
    rows += [[f"events of type {name}", count] for name, count in report["event_types"].items()]
    rows += [[f"rows for {name}", count] for name, count in report["rows"].items()]
    return section("Data", table(["", ""], [[str(name), str(value)] for name, value in rows]))


def _network(prepared: PreparedProfiles, model: ProfileModel | None, speed: int) -> str:
    if model is None:
        return section("Model", "<p>Constants: the rates of the training rows.</p>")
    rows: list[list[Cell]] = [
        ["epochs, the best of them", f"{len(model.fitted.history)}, {model.fitted.best_epoch}"],
        ["rows a step", model.fitted.batch],
        ["calibration of the log risk", f"{model.hazard.slope:.3f} · η + {model.hazard.intercept:.3f}"],
        ["calibration of the spend", f"× {model.spend_level:.3f}"],
        ["categories of the next basket", len(prepared.question.categories)],
        ["rows a second on one core, in the graph", speed],
    ]
    return section("Model", table(["", ""], [[str(cell) for cell in row] for row in rows]))
