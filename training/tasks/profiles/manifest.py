"""What a profile bundle says about itself in bundle.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.evaluation.importance import Importance
from training.fitting import FitOptions
from training.networks.tabular import TabularConfig
from training.tasks.profiles.model import ProfileModel, ProfileTargets
from training.tasks.profiles.options import ProfileData
from training.tasks.profiles.prepare import PreparedProfiles
from training.tasks.profiles.rfm_quintiles import quintile_edges


@dataclass(frozen=True)
class TrainedProfiles:
    """What training found, before it is written down. `model` is None for the constants `rates`."""

    prepared: PreparedProfiles
    targets: ProfileTargets
    model: ProfileModel | None
    rates: dict[str, Any]
    config: TabularConfig
    fit: FitOptions
    tried: list[dict[str, Any]]


def bundle_content(outcome: TrainedProfiles, data: ProfileData, importance: Sequence[Importance]) -> dict[str, Any]:
    """Keys of bundle.json beside those that every bundle has."""
    prepared, targets, model = outcome.prepared, outcome.targets, outcome.model
    rates = outcome.rates
    within = rates["probability_within"]
    content: dict[str, Any] = {
        "timezone": data.timezone,
        "history_window": {"max_events": data.window.max_events, "max_days": data.window.max_days},
        "horizon": data.horizon,
        "churn_horizon": data.churn_horizon,
        "hazard_days": list(targets.days),
        "next_category_names": list(targets.categories),
        "rfm": quintile_edges(prepared.latest),
        "currency": prepared.currency,
        "fallback": {"probability": float(within[targets.interval])} | {n: np.asarray(v).tolist() for n, v in rates.items()},
        "data_fingerprint": prepared.fingerprint,
        "rows": prepared.report["rows"],
        "decisions": [
            {"column": d.name, "action": d.action, "reason": d.reason, "missing": round(d.missing, 6), "distinct": d.distinct}
            for d in prepared.decisions
        ],
        "importance": [{"column": i.column, "log_loss": i.loss, "error": i.error} for i in importance],
        "notes": notes_of(outcome),
        "options": {"seed": data.seed, "no_test": data.no_test, "cutoff": data.cutoff and data.cutoff.isoformat()},
    }
    if model is not None:
        content["calibration"] = {
            "method": "log risk: slope · η + intercept",
            "slope": model.hazard.slope,
            "intercept": model.hazard.intercept,
            "intervals": model.hazard.observed,
            "spend_level": model.spend_level,
            "category_temperature": model.temperature,
            "rows": len(prepared.valid),
        }
        config, fit = outcome.config, outcome.fit
        content["network"] = {"members": config.members, "widths": list(config.widths), "bins": config.bins}
        content["options"] |= {
            "learning_rate": fit.learning_rate,
            "weight_decay": fit.weight_decay,
            "dropout": config.dropout,
            "epochs": model.fitted.best_epoch,
        }
    return content


def notes_of(outcome: TrainedProfiles) -> list[str]:
    """What a reader of metrics and answers has to know."""
    notes, days = list(outcome.prepared.cuts.notes), outcome.targets.days
    if outcome.targets.observed < len(days):
        seen = days[outcome.targets.observed - 1]
        notes.append(f"training saw at most {seen} days after a cut: longer probabilities go on with the last daily risk")
    if outcome.model is not None and outcome.model.hazard.observed < outcome.targets.observed:
        seen = days[outcome.model.hazard.observed - 1]
        notes.append(f"validation saw {seen} days after its cut: longer intervals take over the calibration of those")
    return notes
