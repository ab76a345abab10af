"""Metrics of the profile targets beside their baselines: the content of `metrics.json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.encoder import TableEncoder
from personalization.profiles.predict import ATTRIBUTE_PREFIX
from training.evaluation.bootstrap import ClusterBootstrap, bootstrap_binary_metrics, bootstrap_regression_metrics
from training.evaluation.group_metrics import groupings, metrics_by_group
from training.evaluation.metrics import EPSILON, Metrics, best_threshold, binary_metrics, regression_metrics
from training.io.point_in_time import horizon_observed
from training.task import Evaluation
from training.tasks.profiles.baselines import (
    Predictions,
    Rows,
    category_baselines,
    orders_baselines,
    purchase_baselines,
    spend_baselines,
)
from training.tasks.profiles.labels import bought_within
from training.tasks.profiles.samples import Sample
from training.tasks.profiles.targets import ProfileTargets

_TOP: Final = 3
Outputs = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ProfilesEvaluator:
    """Evaluates outputs on the test rows, or on the validation rows where nothing is held out for test.

    outputs   by name, of the validation and of the test rows
    group_by  columns, as in `groupings`
    """

    encoder: TableEncoder
    targets: ProfileTargets
    churn_horizon: int
    train: Rows
    valid: Rows
    test: Rows | None
    outputs: tuple[Outputs, Outputs | None]
    seed: int
    with_baselines: bool = True
    group_by: Sequence[str] = ()

    @property
    def evaluated(self) -> Rows:
        return self.test or self.valid

    @property
    def evaluated_outputs(self) -> Outputs:
        return self.outputs[1] if self.outputs[1] is not None else self.outputs[0]

    def evaluate(self) -> Evaluation:
        """The metrics of all targets. A target whose horizon no evaluated row covers is None, with a note."""
        targets = self.targets
        buys, labels, probabilities = self._purchase(targets.horizon, churn=False)
        of_target: dict[str, Any] = {
            f"buys_within_{targets.horizon}": buys,
            "churn": self._purchase(self.churn_horizon, churn=True)[0],
        }
        train, test, with_baselines = self.train, self.evaluated, self.with_baselines
        if "expected_orders" in self.evaluated_outputs:
            baselines = orders_baselines(train[0], test[0], targets) if with_baselines else {}
            of_target["expected_orders"] = self._amount(
                "expected_orders", lambda sample: sample.labels.orders[:, targets.interval], baselines
            )
        if targets.spend_scale:
            baselines = spend_baselines(train, test, targets, self.seed) if with_baselines else {}
            of_target["expected_spend"] = self._amount("expected_spend", lambda sample: sample.labels.spend, baselines)
        if targets.categories:
            baselines = category_baselines(train[0], test[0], targets) if with_baselines else {}
            of_target["next_category"] = {
                "validation": _category_metrics(self.valid[0], self.outputs[0]["next_category"]),
                "test": _category_metrics(test[0], self.evaluated_outputs["next_category"]) if self.test else None,
                "baselines": {name: _category_metrics(test[0], scores) for name, scores in baselines.items()},
            }
        metrics = {
            "test": buys["test"],
            "validation": buys["validation"],
            "baselines": buys["baselines"],
            "targets": of_target,
            "threshold": buys["threshold"],
            "uncertainty": buys.get("uncertainty"),
            "groups": buys.get("groups"),
            "intervals": self._intervals(),
        }
        return Evaluation(metrics, labels, probabilities)

    def headline(self, outputs: Outputs) -> Metrics | None:
        """Metrics of the first target for other outputs of the evaluated rows."""
        labels, observed = bought_within(self.evaluated[0].labels, self.targets.days, self.targets.horizon)
        probability = outputs["probability_within"][:, self.targets.interval].astype(np.float64)
        return _binary(labels[observed], probability[observed], 0.5)

    def _purchase(self, days: int, *, churn: bool) -> tuple[dict[str, Any], Floats, dict[str, Floats]]:
        """P(buys within `days`), or churn, its complement: the metrics, the labels, and the probabilities by model."""
        interval = self.targets.days.index(days)
        valid_bought, valid_observed = bought_within(self.valid[0].labels, self.targets.days, days)
        bought, observed = bought_within(self.evaluated[0].labels, self.targets.days, days)

        def positive(values: NDArray[Any], rows: NDArray[np.bool_]) -> Floats:
            return np.asarray(1 - values[rows] if churn else values[rows], np.float64)

        valid_labels, labels = positive(valid_bought, valid_observed), positive(bought, observed)

        def threshold_on(valid_values: NDArray[Any]) -> float:
            return best_threshold(valid_labels, positive(valid_values, valid_observed)) if len(valid_labels) else 0.5

        both = (self.outputs[0], self.evaluated_outputs)
        valid_within, within = (outputs["probability_within"][:, interval].astype(np.float64) for outputs in both)
        threshold = threshold_on(valid_within)
        probabilities = {"model": positive(within, observed)}
        result: dict[str, Any] = {
            "validation": _binary(valid_labels, positive(valid_within, valid_observed), threshold),
            "test": _binary(labels, probabilities["model"], threshold) if self.test else None,
            "baselines": {},
            "threshold": threshold,
        }
        if not len(labels):
            result["note"] = f"no evaluated row was observed for {days} days"
            return result, labels, {}
        if self.with_baselines:
            predictions, trained_days = purchase_baselines(
                self.encoder, self.targets, self.train, self.valid, self.evaluated, days, self.seed
            )
            for name, (on_valid, on_evaluated) in predictions.items():
                probabilities[name] = positive(on_evaluated, observed)
                result["baselines"][name] = _binary(labels, probabilities[name], threshold_on(on_valid))
            if trained_days != days:
                result["baselines_note"] = (
                    f"no training row was observed for {days} days: the baselines learnt purchases within {trained_days} days"
                )
        inputs = {name: values[observed] for name, values in self.evaluated[1].inputs.items()}
        groups = groupings(self.encoder, inputs, self.group_by, numeric_prefix=ATTRIBUTE_PREFIX)
        result["uncertainty"] = bootstrap_binary_metrics(labels, probabilities, threshold, self._bootstrap(observed))
        result["groups"] = metrics_by_group(labels, probabilities["model"], threshold, groups)
        return result, labels, probabilities

    def _amount(self, output: str, actual: Callable[[Sample], NDArray[np.float32]], baselines: Predictions) -> dict[str, Any]:
        """Metrics of an expected amount up to the horizon, over the rows that cover it."""

        def covered(sample: Sample) -> NDArray[np.bool_]:
            return horizon_observed(sample.labels.observed_days, self.targets.horizon)

        def metrics(sample: Sample, predicted: NDArray[Any]) -> Metrics | None:
            rows = covered(sample)
            if not rows.any():
                return None
            true, predicted = actual(sample)[rows], predicted[rows]
            means: Metrics = {"mean_predicted": float(predicted.mean()), "mean": float(true.mean())}
            return regression_metrics(true, predicted) | means

        sample, predicted = self.evaluated[0], self.evaluated_outputs[output]
        rows = covered(sample)
        return {
            "validation": metrics(self.valid[0], self.outputs[0][output]),
            "test": metrics(sample, predicted) if self.test else None,
            "baselines": {name: metrics(sample, values) for name, values in baselines.items()},
            "uncertainty": bootstrap_regression_metrics(actual(sample)[rows], predicted[rows], self._bootstrap(rows)),
        }

    def _intervals(self) -> list[dict[str, Any]]:
        """Predicted and observed share of buyers within each interval's end; observed is None where no row covers it."""
        within = self.evaluated_outputs["probability_within"]
        intervals = []
        for index, days in enumerate(self.targets.days):
            labels, observed = bought_within(self.evaluated[0].labels, self.targets.days, days)
            any_observed = bool(observed.any())
            intervals.append(
                {
                    "days": days,
                    "predicted": float(within[observed if any_observed else slice(None), index].mean()),
                    "observed": float(labels[observed].mean()) if any_observed else None,
                    "extrapolated": index >= self.targets.observed,
                }
            )
        return intervals

    def _bootstrap(self, rows: NDArray[np.bool_]) -> ClusterBootstrap:
        """Draws users, who have one row each at a test cut, and more where validation has several cuts."""
        return ClusterBootstrap.from_groups(int(rows.sum()), self.evaluated[0].user[rows], seed=self.seed)


def _binary(labels: NDArray[Any], probability: NDArray[Any], threshold: float) -> Metrics | None:
    if not len(labels):
        return None
    rates: Metrics = {"mean_probability": float(probability.mean()), "rate": float(labels.mean())}
    return binary_metrics(labels, probability, threshold) | rates


def _category_metrics(sample: Sample, scores: NDArray[Any]) -> Metrics | None:
    """Over the users with a next basket: whether the likeliest category (or one of three) is in it, and the log loss."""
    rows = sample.baskets.any(axis=1)
    if not rows.any():
        return None
    baskets, p = sample.baskets[rows], scores[rows].astype(np.float64)
    ranked = np.argsort(-p, axis=1, kind="stable")[:, :_TOP]
    hits = np.take_along_axis(baskets, ranked, axis=1)
    share = baskets / baskets.sum(axis=1, keepdims=True)
    return {
        "accuracy": float(hits[:, 0].mean()),
        f"accuracy_in_{_TOP}": float(hits.any(axis=1).mean()),
        "log_loss": float(-(share * np.log(np.maximum(p, EPSILON))).sum(axis=1).mean()),
        "users": float(rows.sum()),
    }
