"""`train profiles --interactions F …`: from raw events to a bundle."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from personalization.bundles.bundle import ITEM_CATEGORIES, Bundle
from personalization.core.encoder import TableEncoder
from personalization.core.schema import INTERACTIONS
from training.bundle_writer import draft_bundle
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
from training.tasks.profiles.evaluate import ProfilesEvaluator
from training.tasks.profiles.labels import bought_within
from training.tasks.profiles.model import ProfileModel, refit_profiles_network, train_profiles_network
from training.tasks.profiles.prepare import PreparedProfiles, ProfileData, prepare_profiles
from training.tasks.profiles.report import profile_report
from training.tasks.profiles.samples import Sample, stack
from training.tasks.profiles.segments import behaviour_thresholds, quintile_edges, segment_outcomes
from training.tasks.profiles.targets import (
    ProfileTargets,
    attribute_dropout,
    base_rates,
    encode_sample,
    has_attributes,
    without_attributes,
)
from training.tuning import TabularSearchSpace, tune

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedProfiles:
    """model     None for the constants `rates`
    options   with tuned settings
    trials    settings and validation losses of the tuning
    """

    prepared: PreparedProfiles
    targets: ProfileTargets
    rates: dict[str, Any]
    options: TabularOptions
    model: ProfileModel | None = None
    trials: Sequence[dict[str, Any]] = ()

    def encode(self, sample: Sample) -> Examples:
        """The rows as the network takes them, with the target of each head."""
        return encode_sample(self.prepared.encoder, sample, self.targets)

    @property
    def evaluation_rows(self) -> Sample:
        """The rows of the test, or those of validation where nothing is held out."""
        return self.prepared.test if self.prepared.test is not None else self.prepared.valid

    @property
    def notes(self) -> list[str]:
        """Remarks for readers of metrics and predictions."""
        notes, days = list(self.prepared.cuts.notes), self.targets.days
        if self.targets.observed < len(days):
            longest = days[self.targets.observed - 1]
            notes.append(
                f"training observed at most {longest} days after a cut: longer probabilities use the last daily hazard"
            )
        if self.model is not None and self.model.hazard.observed < self.targets.observed:
            longest = days[self.model.hazard.observed - 1]
            notes.append(f"validation observed {longest} days after its cut: longer intervals use the calibration of those")
        return notes


class ProfilesTask(Task[PreparedProfiles, TrainedProfiles]):
    """Profiles of users from interactions: who buys when, how much, and what."""

    name = "profiles"
    kind = INTERACTIONS.kind

    def __init__(self, data: ProfileData, options: TabularOptions) -> None:
        self.data, self.options = data, options

    def prepare(self) -> PreparedProfiles:
        prepared = prepare_profiles(self.data)
        named_columns(prepared.encoder, self.options.groups)
        return prepared

    def fit(self, prepared: PreparedProfiles) -> TrainedProfiles:
        seed = self.options.fit.seed
        targets = prepared.targets(seed)
        trained = TrainedProfiles(prepared, targets, base_rates(prepared.train, targets), self.options)
        if self.options.model == BASE_RATE:
            return trained
        train = attribute_dropout(prepared.encoder, trained.encode(prepared.train), seed)
        valid = trained.encode(prepared.valid)

        def attempt(options: TabularOptions) -> tuple[float, ProfileModel]:
            model = train_profiles_network(prepared.encoder, targets, train, valid, options.config, options.fit)
            return model.fitted.best_score, model

        options, model, trials = tune(attempt, self.options, TabularSearchSpace())
        _log.info("trained: the best of %d epochs was %d", len(model.fitted.history), model.fitted.best_epoch)
        return replace(trained, options=options, model=model, trials=trials)

    def export(self, trained: TrainedProfiles, directory: Path) -> ExportedModel:
        prepared = trained.prepared
        network = None if trained.model is None else trained.model.network
        exported = export_tabular(network, trained.rates, trained.encode(prepared.train).inputs, directory, relative=True)
        if not prepared.category_of_item:
            return exported
        (directory / ITEM_CATEGORIES).write_bytes(orjson.dumps({"category_of_item": prepared.category_of_item}))
        return replace(exported, files=[*exported.files, ITEM_CATEGORIES])

    def manifest(self, trained: TrainedProfiles, directory: Path) -> dict[str, Any]:
        prepared, targets, model, rates = trained.prepared, trained.targets, trained.model, trained.rates
        data = prepared.data
        content: dict[str, Any] = {
            "timezone": data.timezone,
            "history_window": {"max_events": data.window.max_events, "max_days": data.window.max_days},
            "horizon": data.horizon,
            "churn_horizon": data.churn_horizon,
            "hazard_days": list(targets.days),
            "next_category_names": list(targets.categories),
            "rfm": quintile_edges(prepared.latest),
            "currency": prepared.currency,
            "fallback": {"probability": float(rates["probability_within"][targets.interval])}
            | {name: np.asarray(rate).tolist() for name, rate in rates.items()},
            "data_fingerprint": prepared.fingerprint,
            "rows": prepared.report["rows"],
            "decisions": [decision.to_json() for decision in prepared.decisions],
            "importance": [],
            "notes": trained.notes,
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
            config, fit = trained.options.config, trained.options.fit
            content["network"] = {"members": config.members, "widths": list(config.widths), "bins": config.bins}
            content["options"] |= {
                "learning_rate": fit.learning_rate,
                "weight_decay": fit.weight_decay,
                "dropout": config.dropout,
                "epochs": model.fitted.best_epoch,
            }
        draft = draft_bundle(directory, self.kind, prepared.encoder, content)
        return content | {"behaviour": behaviour_thresholds(draft, prepared.latest)}

    def evaluate(self, trained: TrainedProfiles, draft: Bundle) -> Evaluation:
        prepared, data = trained.prepared, trained.prepared.data
        train, valid = trained.encode(prepared.train), trained.encode(prepared.valid)
        test = None if prepared.test is None else trained.encode(prepared.test)
        evaluator = ProfilesEvaluator(
            encoder=prepared.encoder,
            targets=trained.targets,
            churn_horizon=data.churn_horizon,
            train=(prepared.train, train),
            valid=(prepared.valid, valid),
            test=None if test is None or prepared.test is None else (prepared.test, test),
            outputs=(run_graph(draft, valid.inputs), None if test is None else run_graph(draft, test.inputs)),
            seed=data.seed,
            with_baselines=trained.model is not None,
            group_by=self.options.groups,
        )
        _log.info("baselines: recency and frequency, logistic regression, dense 64-32-1, LightGBM")
        evaluation = evaluator.evaluate()
        metrics = evaluation.metrics
        metrics |= {"cuts": prepared.cuts.to_json(data.zone), "data": prepared.report, "notes": trained.notes}
        if trained.trials:
            metrics["tuning"] = trained.trials
        if test is not None and has_attributes(prepared.encoder):
            outputs = run_graph(draft, without_attributes(prepared.encoder, test).inputs)
            metrics["test_without_attributes"] = evaluator.headline(outputs)
        metrics["segments"] = segment_outcomes(draft, trained.evaluation_rows)
        return evaluation

    def explain(self, trained: TrainedProfiles, draft: Bundle) -> Explanation:
        train = trained.encode(trained.prepared.train).inputs
        if trained.model is None:
            return explain_tabular(draft, train, None)
        return explain_tabular(draft, train, trained.encode(trained.evaluation_rows).inputs, _importance(trained, draft))

    def report(
        self, trained: TrainedProfiles, evaluation: Evaluation, explanation: Explanation, exported: ExportedModel
    ) -> str:
        return profile_report(trained, evaluation, explanation, exported)

    def refit(self, trained: TrainedProfiles, evaluation: Evaluation) -> Refitted[TrainedProfiles] | None:
        """A network trained up to the newest event; no later rows are left to evaluate it, so its metrics are optimistic."""
        if trained.model is None:
            return None
        prepared = prepare_profiles(replace(self.data, no_test=True, cutoff=None))
        everything = prepared.train if prepared.cuts.by_user else stack([prepared.train, prepared.valid])
        options = trained.options
        seed, encoder = options.fit.seed, prepared.encoder
        targets = prepared.targets(seed, everything)
        rows = attribute_dropout(encoder, encode_sample(encoder, everything, targets), seed)
        _log.info("training once more, on all %d rows", len(rows))
        model = refit_profiles_network(encoder, targets, rows, trained.model, options.config, options.fit)
        note = "this model was trained on its validation rows too: their metrics are optimistic"
        prepared = replace(prepared, cuts=replace(prepared.cuts, notes=(*prepared.cuts.notes, note)))
        return Refitted(TrainedProfiles(prepared, targets, base_rates(everything, targets), options, model))

    def encoder(self, trained: TrainedProfiles) -> TableEncoder:
        return trained.prepared.encoder

    def model_name(self, trained: TrainedProfiles) -> str:
        return BASE_RATE if trained.model is None else TABULAR


def _importance(trained: TrainedProfiles, draft: Bundle) -> list[Importance]:
    """Importance for the headline probability; none where no validation row covers the horizon."""
    prepared, targets = trained.prepared, trained.targets
    labels, observed = bought_within(prepared.valid.labels, targets.days, targets.horizon)
    if not observed.any():
        return []

    def predict(inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        return draft.run(dict(inputs))["probability_within"][:, targets.interval]

    valid = trained.encode(prepared.valid).take(observed)
    return permutation_importance(
        prepared.encoder, predict, valid.inputs, labels[observed], seed=prepared.data.seed, repeats=2, max_rows=2_000
    )
