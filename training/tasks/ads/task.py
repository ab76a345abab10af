"""`train ads --impressions F …`: from a log of impressions to a bundle."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.bundles.bundle import Bundle
from personalization.core.encoder import TableEncoder
from personalization.core.schema import IMPRESSIONS
from training.evaluation.group_metrics import named_columns
from training.evaluation.importance import Importance, permutation_importance
from training.fitting import Examples
from training.task import (
    BASE_RATE,
    TABULAR,
    Evaluation,
    Explanation,
    ExportedModel,
    Refitted,
    TabularOptions,
    Task,
    explain_tabular,
    export_tabular,
    run_graph,
)
from training.tasks.ads.evaluate import Floats, ScoredImpressions, evaluate
from training.tasks.ads.model import (
    ValidatedAdModel,
    base_rates,
    impression_probabilities,
    labels_of,
    position_examination,
    refit_ads_network,
    shown,
    train_and_validate,
)
from training.tasks.ads.prepare import AdData, PreparedAds, prepare_ads
from training.tasks.ads.report import ads_report

_HOURS_OF_A_WEEK: Final = 168
_SUPPORT_WORDS: Final = 200

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedAds:
    """The model of an ad log.

    train, valid, test   encoded impressions
    validated            None for the constants `rates`, by output
    """

    prepared: PreparedAds
    train: Examples
    valid: Examples
    test: Examples
    rates: dict[str, float]
    validated: ValidatedAdModel | None = None

    @property
    def examination(self) -> dict[str, list[float]]:
        """P(examined) of positions 1, 2, … by placement. A position without one has that of the position before."""
        if self.validated is None:
            return {}
        tables: dict[str, dict[int, float]] = {}
        for one, probability in zip(self.prepared.positions, self.validated.model.examination, strict=True):
            tables.setdefault(one.placement or "", {})[one.position] = float(probability)
        filled: dict[str, list[float]] = {}
        for placement, table in tables.items():
            values = filled[placement] = []
            for position in range(1, max(table) + 1):
                values.append(round(table.get(position, values[-1] if values else 1.0), 6))
        return filled


class AdsTask(Task[PreparedAds, TrainedAds]):
    """Clicks and conversions of ads, from a log of impressions."""

    name = "ads"
    kind = IMPRESSIONS.kind

    def __init__(self, data: AdData, options: TabularOptions) -> None:
        self.data, self.options = data, options

    def prepare(self) -> PreparedAds:
        prepared = prepare_ads(self.data)
        named_columns(prepared.encoder, self.options.groups)
        return prepared

    def fit(self, prepared: PreparedAds) -> TrainedAds:
        train, valid, test = (prepared.encode(rows) for rows in (prepared.train, prepared.valid, prepared.test))
        trained = TrainedAds(prepared, train, valid, test, base_rates(prepared.tasks, train))
        if self.options.model == BASE_RATE:
            return trained
        users = [prepared.train.log.user, prepared.valid.log.user]
        validated = train_and_validate(prepared.encoder, prepared.tasks, train, valid, users, self.options)
        return replace(trained, validated=validated)

    def export(self, trained: TrainedAds, directory: Path) -> ExportedModel:
        network = None if trained.validated is None else trained.validated.model.network
        return export_tabular(network, trained.rates, trained.train.inputs, directory)

    def manifest(self, trained: TrainedAds, directory: Path) -> dict[str, Any]:
        """``tasks`` are the graph's outputs. ``examination`` is P(examined) by placement and position, absent without any.
        ``traffic`` counts impressions by hour of the week from Monday 00:00 on, for pacing. ``support`` counts the impressions
        that a cell of a plan was trained on, by axis and word."""
        prepared, validated, data = trained.prepared, trained.validated, self.data
        content: dict[str, Any] = {
            "tasks": list(prepared.tasks.outputs),
            "fallback": trained.rates,
            "attribution_window_days": prepared.attribution_days,
            "history_window": {"max_events": data.window.max_events, "max_days": data.window.max_days},
            "lists": prepared.lists,
            "traffic": _traffic(prepared),
            "support": _support(prepared),
            "data_fingerprint": prepared.fingerprint,
            "rows": prepared.report["rows"],
            "notes": prepared.notes,
            "decisions": [decision.to_json() for decision in prepared.decisions],
            "options": {"seed": data.seed, "tune": self.options.tune, "no_test": data.no_test},
        }
        if validated is not None:
            model, config = validated.model, validated.options.config
            content["calibration"] = {
                "method": "platt",
                "slope": model.slope,
                "intercept": model.intercept,
                "rows": len(validated.rows),
                "folds": validated.folds,
            }
            content["network"] = {"members": config.members, "widths": list(config.widths), "bins": config.bins}
            if prepared.positions:
                content["examination"] = trained.examination
        return content

    def evaluate(self, trained: TrainedAds, draft: Bundle) -> Evaluation:
        prepared, validated = trained.prepared, trained.validated
        valid_rows, valid_user = trained.valid, prepared.valid.log.user
        if validated is None:
            valid_probabilities = _probabilities(trained, draft, valid_rows)
        else:  # the graph may be trained on them: they are scored by the networks that were not
            valid_rows, valid_user = validated.rows, validated.user
            valid_probabilities = validated.model.probabilities(validated.raw, valid_rows)
        _log.info("baselines: base rate, logistic regression, dense 64-32-1, LightGBM")
        evaluation = evaluate(
            prepared.encoder,
            prepared.tasks,
            trained.train,
            trained.valid,
            ScoredImpressions.of(valid_rows, valid_probabilities, valid_user),
            ScoredImpressions.of(trained.test, _probabilities(trained, draft, trained.test), prepared.test.log.user),
            self.data.seed,
            with_baselines=validated is not None,
            group_by=self.options.groups,
        )
        evaluation.metrics.update(data=prepared.report, notes=prepared.notes)
        if validated is not None and validated.trials:
            evaluation.metrics["tuning"] = validated.trials
        return evaluation

    def explain(self, trained: TrainedAds, draft: Bundle) -> Explanation:
        if trained.validated is None:
            return Explanation()
        first = trained.prepared.tasks.outputs[0]
        importance = _importance(trained, draft, self.data.seed)
        return explain_tabular(draft, trained.train.inputs, None, importance, lambda outputs: outputs[first])

    def report(self, trained: TrainedAds, evaluation: Evaluation, explanation: Explanation, exported: ExportedModel) -> str:
        return ads_report(trained, evaluation, explanation, exported)

    def refit(self, trained: TrainedAds, evaluation: Evaluation) -> Refitted[TrainedAds] | None:
        """A network trained on every mature impression; none are left to evaluate it, so its metrics are optimistic."""
        prepared, validated = trained.prepared, trained.validated
        if validated is None:
            return None
        rows = Examples.concatenate([part for part in (trained.train, trained.valid, trained.test) if len(part)])
        _log.info("training once more, on all %d rows", len(rows))
        model = refit_ads_network(prepared.encoder, rows, validated)
        note = "this model was trained on its validation and test rows too: their metrics are optimistic"
        prepared = replace(prepared, notes=[*prepared.notes, note])
        return Refitted(replace(trained, prepared=prepared, validated=replace(validated, model=model)))

    def encoder(self, trained: TrainedAds) -> TableEncoder:
        return trained.prepared.encoder

    def model_name(self, trained: TrainedAds) -> str:
        return BASE_RATE if trained.validated is None else TABULAR


def _probabilities(trained: TrainedAds, draft: Bundle, rows: Examples) -> dict[str, Floats]:
    """Probabilities of the impressions at their positions, by the exported graph."""
    tasks, validated = trained.prepared.tasks, trained.validated
    conditional = {name: values.astype(np.float64) for name, values in run_graph(draft, rows.inputs).items()}
    ones = np.ones(len(rows))
    examination = ones if validated is None else position_examination(tasks, validated.model.examination, rows)
    return impression_probabilities(tasks, conditional, examination)


def _importance(trained: TrainedAds, draft: Bundle, seed: int) -> list[Importance]:
    """Importance of the columns for the first output."""
    name = trained.prepared.tasks.outputs[0]

    def predict(inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        return draft.run(inputs)[name]

    rows = trained.valid.take(shown(trained.valid))
    return permutation_importance(
        trained.prepared.encoder, predict, rows.inputs, labels_of(rows, name), seed=seed, repeats=2, max_rows=2_000
    )


def _traffic(prepared: PreparedAds) -> list[int]:
    """Training impressions by hour of the week; empty where the log has days without hours."""
    columns, log = prepared.train.columns, prepared.train.log
    if not len(log) or np.ptp(columns["hour"]) == 0:
        return []
    hour = (columns["weekday"] * 24 + columns["hour"]).astype(np.int64)
    return [round(count) for count in np.bincount(hour, weights=log.weight, minlength=_HOURS_OF_A_WEEK).tolist()]


def _support(prepared: PreparedAds) -> dict[str, dict[str, int]]:
    """Training impressions by hour, channel and creative."""
    columns = prepared.train.columns
    support: dict[str, dict[str, int]] = {}
    for axis, name in (("hour", "hour"), ("channel", "channel"), ("creative", "ad.creative")):
        if name in columns:
            words = (str(int(cell)) if axis == "hour" else str(cell) for cell in columns[name].tolist() if cell is not None)
            support[axis] = dict(Counter(words).most_common(_SUPPORT_WORDS))
    return support
