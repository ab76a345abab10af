"""What a bundle of ads says about itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.evaluation.importance import Importance
from training.task import TabularOptions
from training.tasks.ads.learn import TrainedAds
from training.tasks.ads.options import AdData
from training.tasks.ads.prepare import PreparedAds

WEEK_HOURS = 168


def bundle_content(
    prepared: PreparedAds,
    learnt: TrainedAds | None,
    rates: dict[str, float],
    importance: Sequence[Importance],
    data: AdData,
    training: TabularOptions,
) -> dict[str, Any]:
    """Further keys of bundle.json.

    ``tasks`` names what the graph answers; ``examination`` P(seen) by placement and position, absent without positions;
    ``traffic`` impressions by hour of the week from Monday 00:00 on, for pacing; ``support`` by axis and word how many
    impressions a plan's cell was learnt from.
    """
    content: dict[str, Any] = {
        "tasks": list(prepared.tasks.outputs),
        "fallback": rates,
        "attribution_window_days": prepared.attribution_days,
        "history_window": {"max_events": data.window.max_events, "max_days": data.window.max_days},
        "lists": prepared.lists,
        "traffic": traffic(prepared),
        "support": support(prepared),
        "data_fingerprint": prepared.fingerprint,
        "rows": prepared.report["rows"],
        "notes": prepared.notes,
        "decisions": [
            {"column": d.name, "action": d.action, "reason": d.reason, "missing": round(d.missing, 6)}
            for d in prepared.decisions
        ],
        "options": {"seed": data.seed, "tune": training.tune, "no_test": data.no_test},
    }
    if learnt is not None:
        model = learnt.model
        content["calibration"] = {
            "method": "platt",
            "slope": model.slope,
            "intercept": model.intercept,
            "rows": len(learnt.rows),
            "folds": learnt.folds,
        }
        content["importance"] = [{"column": i.column, "log_loss": i.loss, "error": i.error} for i in importance]
        config = learnt.config
        content["network"] = {"members": config.members, "widths": list(config.widths), "bins": config.bins}
        if prepared.places:
            content["examination"] = examination(prepared, learnt)
    return content


def examination(prepared: PreparedAds, learnt: TrainedAds) -> dict[str, list[float]]:
    """P(seen) of positions 1, 2, … by placement, as `PositionModel` reads it; a gap has what the position before it has."""
    table: dict[str, dict[int, float]] = {}
    for place, seen in zip(prepared.places, learnt.model.seen, strict=True):
        table.setdefault(place.placement or "", {})[place.position] = float(seen)
    out = {}
    for placement, known in table.items():
        chances: list[float] = []
        for position in range(1, max(known) + 1):
            chances.append(round(known.get(position, chances[-1] if chances else 1.0), 6))
        out[placement] = chances
    return out


def traffic(prepared: PreparedAds) -> list[int]:
    """Training impressions by hour of the week; empty where the log has days without hours."""
    columns, log = prepared.train.columns, prepared.train.log
    if not len(log) or np.ptp(columns["hour"]) == 0:
        return []
    hour = (columns["weekday"] * 24 + columns["hour"]).astype(np.int64)
    counts = np.bincount(hour, weights=log.weight, minlength=WEEK_HOURS)
    return [round(count) for count in counts.tolist()]


def support(prepared: PreparedAds) -> dict[str, dict[str, int]]:
    """Training impressions by hour, channel and creative."""
    columns = prepared.train.columns
    found: dict[str, dict[str, int]] = {}
    for axis, name in (("hour", "hour"), ("channel", "channel"), ("creative", "ad.creative")):
        if name not in columns:
            continue
        counts: dict[str, int] = {}
        for cell in columns[name].tolist():
            word = str(int(cell)) if axis == "hour" else cell
            if word is not None:
                counts[str(word)] = counts.get(str(word), 0) + 1
        found[axis] = dict(sorted(counts.items(), key=lambda entry: -entry[1])[:200])
    return found
