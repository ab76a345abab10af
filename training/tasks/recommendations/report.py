"""The report.html of a recommendations bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from personalization.recommendations.blend import BlendWeights
from personalization.recommendations.recommender import Recommender
from training.report import Cell, metrics_table, page, section, table
from training.tasks.recommendations.model import SequenceModel
from training.tasks.recommendations.prepare import PreparedRecommendations

_REPEAT = "users buy items again, so items of the history may come first"
_NO_REPEAT = "items of the history come last"


def recommendations_report(
    prepared: PreparedRecommendations, recommender: Recommender, model: SequenceModel, metrics: Mapping[str, Any]
) -> str:
    """The page as HTML."""
    log, split = prepared.log, prepared.split
    lead = (
        f"What to show next: {len(log):,} interactions of {log.num_users:,} users with {log.num_items:,} items, split "
        f"{prepared.data.split}. All items are ranked; {_REPEAT if recommender.repeat_buying else _NO_REPEAT}."
    )
    where = "validation" if split.test is None else "test"
    scores = {**metrics["baselines"], "sequence network alone": metrics["sequence_alone"]}
    parts = [_ranking(where, metrics[where], scores)]
    if split.test is not None:
        parts.append(_ranking("validation", metrics["validation"], metrics["baselines_validation"]))
    parts += [_blend(recommender.blend), _network(model), _data(prepared)]
    return page("recommendations: what to show next", lead, metrics["notes"], parts)


def _ranking(where: str, own: Mapping[str, Any] | None, others: Mapping[str, Mapping[str, Any] | None]) -> str:
    if own is None:
        return section(f"Ranking, {where}", "<p>No metrics: nothing was held out.</p>")
    rivals = {name: values for name, values in others.items() if values}
    return section(f"Ranking, {where}", metrics_table("this model", own, rivals))


def _blend(blend: BlendWeights) -> str:
    rows: list[list[Cell]] = [["sequence network", blend.sequence]]
    rows += [[f"{name} (log)", weight] for name, weight in blend.static.items()]
    rows += [[f"neighbors: {name}, newest basket", weights[0]] for name, weights in blend.matrices.items() if weights]
    rows += [[f"bought before: {name}", weight] for name, weight in blend.repeat.items()]
    return section("Weights of the components", table(["component", "weight"], rows), "Learned on baskets held out for it.")


def _network(model: SequenceModel) -> str:
    rows = [[number + 1, e["loss"], e["validation_ndcg_at_10"]] for number, e in enumerate(model.report.history)]
    note = f"{model.network.config}; the weights of epoch {model.report.best_epoch} were kept, {model.report.seconds:.0f} s."
    return section("Training of the network", table(["epoch", "loss", "NDCG@10 on validation"], rows), note)


def _data(prepared: PreparedRecommendations) -> str:
    report = prepared.report
    rows = [[f["file"], f["rows"], f["used"], f["rejected"], f["duplicates"]] for f in report["files"]]
    content = table(["file", "rows", "used", "rejected", "duplicates"], rows)
    lengths = np.diff(prepared.log.offsets)
    note = f"Interactions a user: median {int(np.median(lengths))}, most {int(lengths.max(initial=0))}."
    return section("Data", content, note)
