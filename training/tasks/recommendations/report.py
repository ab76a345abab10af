"""report.html of a recommendations bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from training.report import Cell, metrics_table, page, section, table
from training.tasks.recommendations.model import Trained
from training.tasks.recommendations.options import RecommendationData
from training.tasks.recommendations.prepare import PreparedRecommendations

_AGAIN = "users buy again here, so what a user had may come first"
_ONCE = "what a user had comes last"


def recommendations_report(
    prepared: PreparedRecommendations, trained: Trained, metrics: Mapping[str, Any], data: RecommendationData
) -> str:
    """The whole page."""
    log, split, recommender = prepared.log, prepared.split, trained.recommender
    lead = (
        f"What to show next: {len(log):,} interactions of {log.users:,} users with {log.items:,} items, split "
        f"{data.split}. All items are ranked; {_AGAIN if recommender.repeat_buying else _ONCE}."
    )
    where = "validation" if split.test is None else "test"
    judged = {**metrics["baselines"], "sequence network alone": metrics["sequence_alone"]}
    parts = [_ranking(where, metrics[where], judged)]
    if split.test is not None:
        parts.append(_ranking("validation", metrics["validation"], metrics["baselines_validation"]))
    parts += [_mix(trained), _network(trained), _data(prepared)]
    return page("recommendations: what to show next", lead, metrics["notes"], parts)


def _ranking(where: str, own: Mapping[str, Any] | None, others: Mapping[str, Mapping[str, Any] | None]) -> str:
    if own is None:
        return section(f"Ranking, {where}", "<p>Not judged: nothing was held out.</p>")
    known = {name: values for name, values in others.items() if values}
    return section(f"Ranking, {where}", metrics_table("this model", own, known))


def _mix(trained: Trained) -> str:
    mix = trained.recommender.mix
    rows: list[list[Cell]] = [
        ["sequence network", mix.sequence],
    ]
    rows += [[f"{name} (log)", weight] for name, weight in mix.static.items()]
    rows += [[f"neighbours: {name}, newest basket", weights[0]] for name, weights in mix.matrices.items() if weights]
    rows += [[f"bought before: {name}", weight] for name, weight in mix.repeat.items()]
    return section("Weights of the components", table(["component", "weight"], rows), "Learnt on baskets held out for it.")


def _network(trained: Trained) -> str:
    rows = [[number + 1, e["loss"], e["validation_ndcg_at_10"]] for number, e in enumerate(trained.report.history)]
    note = f"{trained.config}; the weights of epoch {trained.report.best_epoch} were kept, {trained.report.seconds:.0f} s."
    return section("Training of the network", table(["epoch", "loss", "NDCG@10 on validation"], rows), note)


def _data(prepared: PreparedRecommendations) -> str:
    report = prepared.report
    rows = [[f["file"], f["rows"], f["used"], f["rejected"], f["duplicates"]] for f in report["files"]]
    content = table(["file", "rows", "used", "rejected", "duplicates"], rows)
    lengths = np.diff(prepared.log.offsets)
    note = f"Interactions a user: median {int(np.median(lengths))}, most {int(lengths.max(initial=0))}."
    return section("Data", content, note)
