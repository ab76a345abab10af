"""How good the answers are, target by target, beside the baselines: the content of `metrics.json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.encoder import TableEncoder
from personalization.profiles.predict import ATTRIBUTE_PREFIX
from training.evaluation.by_group import by_group, groupings
from training.evaluation.intervals import Resampler, binary_uncertainty, regression_uncertainty
from training.evaluation.metrics import EPSILON, Metrics, best_threshold, binary_metrics, regression_metrics
from training.fitting import Examples
from training.tasks.profiles.baselines import category_baselines, orders_baselines, purchase_baselines, spend_baselines
from training.tasks.profiles.examples import Sample
from training.tasks.profiles.labels import bought_within
from training.tasks.profiles.model import ProfileTargets

_TOP: Final = 3
Rows = tuple[Sample, Examples]
Outputs = Mapping[str, NDArray[Any]]


@dataclass
class ProfilesEvaluation:
    """metrics        `test`, `validation`, `baselines`, `targets`, …
    labels         (N,) of the first target, on the rows that were judged; empty where it could not be seen there
    probabilities  (N,) each, of those: ``model`` and each baseline
    """

    metrics: dict[str, Any]
    labels: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    probabilities: dict[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class ProfilesEvaluator:
    """Everything that judging needs, over the rows of the test cut (or of validation, where nothing is held out).

    outputs   by name, of the validation and of the test rows
    group_by  columns, as `groupings` has them
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
    def judged(self) -> Rows:
        return self.test or self.valid

    @property
    def judged_outputs(self) -> Outputs:
        return self.outputs[1] if self.outputs[1] is not None else self.outputs[0]


def evaluate(judge: ProfilesEvaluator) -> ProfilesEvaluation:
    """The metrics of all targets. A target that no judged row could see is there, with null and the reason."""
    targets = judge.targets
    first = f"buys_within_{targets.horizon}"
    buys, evaluation = _purchase(judge, targets.horizon, churn=False)
    found: dict[str, Any] = {first: buys, "churn": _purchase(judge, judge.churn_horizon, churn=True)[0]}
    if "expected_orders" in judge.judged_outputs:
        found["expected_orders"] = _orders(judge)
    if targets.spend_scale:
        found["expected_spend"] = _spend(judge)
    if targets.categories:
        found["next_category"] = _category(judge)
    metrics = {
        "test": buys["test"],
        "validation": buys["validation"],
        "baselines": buys["baselines"],
        "targets": found,
        "threshold": buys["threshold"],
        "uncertainty": buys.get("uncertainty"),
        "groups": buys.get("groups"),
        "intervals": _intervals(judge),
    }
    evaluation.metrics = metrics
    return evaluation


def headline(judge: ProfilesEvaluator, outputs: Outputs) -> Metrics | None:
    """Metrics of the first target for other answers about the judged rows."""
    targets = judge.targets
    labels, known = bought_within(judge.judged[0].labels, targets.days, targets.horizon)
    said = outputs["probability_within"][:, targets.interval].astype(np.float64)
    return _binary(labels[known], said[known], 0.5)


def _purchase(judge: ProfilesEvaluator, days: int, *, churn: bool) -> tuple[dict[str, Any], ProfilesEvaluation]:
    """P(buys within `days`), or the churn that is its complement."""
    targets = judge.targets
    interval = targets.days.index(days)
    valid_labels, valid_known = bought_within(judge.valid[0].labels, targets.days, days)
    labels, known = bought_within(judge.judged[0].labels, targets.days, days)
    said = [o["probability_within"][:, interval].astype(np.float64) for o in (judge.outputs[0], judge.judged_outputs)]

    def turned(values: NDArray[Any]) -> NDArray[Any]:
        return 1 - values if churn else values

    threshold = 0.5
    if valid_known.any():
        threshold = best_threshold(turned(valid_labels[valid_known]), turned(said[0][valid_known]))
    result: dict[str, Any] = {
        "validation": _binary(turned(valid_labels[valid_known]), turned(said[0][valid_known]), threshold),
        "test": _binary(turned(labels[known]), turned(said[1][known]), threshold) if judge.test else None,
        "baselines": {},
        "threshold": threshold,
    }
    if not known.any():
        result |= {"test": None, "note": f"no judged row was observed for {days} days"}
        return result, ProfilesEvaluation({})
    probabilities = {"model": turned(said[1][known])}
    if judge.with_baselines:
        answers, learnt = purchase_baselines(judge.encoder, targets, judge.train, judge.valid, judge.judged, days, judge.seed)
        for name, (on_valid, on_judged) in answers.items():
            its = threshold if not valid_known.any() else best_threshold(
                turned(valid_labels[valid_known]), turned(on_valid[valid_known])
            )  # fmt: skip
            result["baselines"][name] = _binary(turned(labels[known]), turned(on_judged[known]), its)
            probabilities[name] = turned(on_judged[known])
        if learnt != days:
            result["baselines_note"] = f"no training row saw {days} days: the baselines learnt purchases within {learnt} days"
    inputs = {name: values[known] for name, values in judge.judged[1].inputs.items()}
    groups = groupings(judge.encoder, inputs, judge.group_by, numeric_prefix=ATTRIBUTE_PREFIX)
    result["uncertainty"] = binary_uncertainty(turned(labels[known]), probabilities, threshold, _resampler(judge, known))
    result["groups"] = by_group(turned(labels[known]), probabilities["model"], threshold, groups)
    return result, ProfilesEvaluation({}, turned(labels[known]), probabilities)


def _resampler(judge: ProfilesEvaluator, rows: NDArray[np.bool_]) -> Resampler:
    """Draws users, who have one row each at a test cut, and more where validation has several cuts."""
    return Resampler.of(int(rows.sum()), judge.judged[0].user[rows], seed=judge.seed)


def _binary(labels: NDArray[Any], probability: NDArray[Any], threshold: float) -> Metrics | None:
    if not len(labels):
        return None
    rates: Metrics = {"mean_probability": float(probability.mean()), "rate": float(labels.mean())}
    return binary_metrics(labels, probability, threshold) | rates


def _intervals(judge: ProfilesEvaluator) -> list[dict[str, Any]]:
    """Predicted and observed share of buyers within each interval's end, where the judged rows saw it."""
    outputs = judge.judged_outputs["probability_within"]
    found = []
    for place, days in enumerate(judge.targets.days):
        labels, known = bought_within(judge.judged[0].labels, judge.targets.days, days)
        seen = bool(known.any())
        observed = float(labels[known].mean()) if seen else None
        predicted = float(outputs[known if seen else slice(None), place].mean())
        learnt = place < judge.targets.observed
        found.append({"days": days, "predicted": predicted, "observed": observed, "extrapolated": not learnt})
    return found


def _orders(judge: ProfilesEvaluator) -> dict[str, Any]:
    """Orders up to the horizon."""
    targets = judge.targets

    def actual(sample: Sample) -> NDArray[np.float32]:
        return sample.labels.orders[:, targets.interval]

    answers = orders_baselines(judge.train[0], judge.judged[0], targets) if judge.with_baselines else {}
    return _amounts(judge, "expected_orders", actual, answers)


def _spend(judge: ProfilesEvaluator) -> dict[str, Any]:
    """Net spend up to the horizon."""
    answers = spend_baselines(judge.train, judge.judged, judge.targets, judge.seed) if judge.with_baselines else {}
    return _amounts(judge, "expected_spend", lambda sample: sample.labels.spend, answers)


def _amounts(
    judge: ProfilesEvaluator, output: str, actual: Callable[[Sample], NDArray[np.float32]], answers: Mapping[str, NDArray[Any]]
) -> dict[str, Any]:
    """Of a number that a horizon brings, over the users who were seen for all of it."""

    def seen_whole(rows: Rows) -> NDArray[np.bool_]:
        return np.asarray(rows[0].labels.seen_days >= judge.targets.horizon - 1 / 24)

    def metrics(rows: Rows, said: NDArray[Any]) -> Metrics | None:
        seen = seen_whole(rows)
        if not seen.any():
            return None
        true = actual(rows[0])[seen]
        means: Metrics = {"mean_predicted": float(said[seen].mean()), "mean": float(true.mean())}
        return regression_metrics(true, said[seen]) | means

    sample, seen = judge.judged[0], seen_whole(judge.judged)
    said = judge.judged_outputs[output]
    return {
        "validation": metrics(judge.valid, judge.outputs[0][output]),
        "test": metrics(judge.judged, said) if judge.test else None,
        "baselines": {name: metrics(judge.judged, answer) for name, answer in answers.items()},
        "uncertainty": regression_uncertainty(actual(sample)[seen], said[seen], _resampler(judge, seen)),
    }


def _category(judge: ProfilesEvaluator) -> dict[str, Any]:
    result: dict[str, Any] = {
        "validation": _category_metrics(judge.valid[0], judge.outputs[0]["next_category"]),
        "test": _category_metrics(judge.judged[0], judge.judged_outputs["next_category"]) if judge.test else None,
        "baselines": {},
    }
    if judge.with_baselines:
        answers = category_baselines(judge.train[0], judge.judged[0], judge.targets)
        result["baselines"] = {name: _category_metrics(judge.judged[0], said) for name, said in answers.items()}
    return result


def _category_metrics(sample: Sample, said: NDArray[Any]) -> Metrics | None:
    """Over users whose next basket was seen: is the most likely category in it (one of three), and the log loss."""
    rows = sample.baskets.any(axis=1)
    if not rows.any():
        return None
    baskets, p = sample.baskets[rows], said[rows].astype(np.float64)
    ranked = np.argsort(-p, axis=1, kind="stable")[:, :_TOP]
    hits = np.take_along_axis(baskets, ranked, axis=1)
    share = baskets / baskets.sum(axis=1, keepdims=True)
    return {
        "accuracy": float(hits[:, 0].mean()),
        f"accuracy_in_{_TOP}": float(hits.any(axis=1).mean()),
        "log_loss": float(-(share * np.log(np.maximum(p, EPSILON))).sum(axis=1).mean()),
        "users": float(rows.sum()),
    }
