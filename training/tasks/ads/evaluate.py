"""How good the answers are, beside the baselines: the content of `metrics.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.encoder import TableEncoder
from training.baselines import binary_baselines
from training.evaluation.bootstrap import ClusterBootstrap, bootstrap_binary_metrics
from training.evaluation.group_metrics import groupings, metrics_by_group
from training.evaluation.metrics import Metrics, best_threshold, binary_metrics
from training.fitting import Examples
from training.tasks.ads.heads import CLICK, CONVERSION, AdTasks
from training.tasks.ads.model import TARGET

_BASELINE_BUDGET: Final = 120.0  # seconds of the dense network
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class JudgedRows:
    """Rows with the probabilities that a model gave them: P(click) and P(conversion) as placed, by name.

    user   (N,) code of whom the ad was shown to
    """

    rows: Examples
    probabilities: Mapping[str, Floats]
    user: NDArray[np.int64]

    def labels(self, name: str) -> Floats:
        return self.rows.targets[TARGET][:, 0 if name == CLICK else 1].astype(np.float64)

    @property
    def shown(self) -> NDArray[np.bool_]:
        return np.asarray(self.rows.targets[TARGET][:, 3] > 0)


@dataclass
class AdsEvaluation:
    """metrics        `test`, `validation`, `baselines`, `targets`, …
    labels         (N,) of the first target on the rows that were judged
    probabilities  (N,) each, of those: ``model`` and each baseline
    """

    metrics: dict[str, Any]
    labels: Floats = field(default_factory=lambda: np.zeros(0))
    probabilities: dict[str, Floats] = field(default_factory=dict)


def evaluate(
    encoder: TableEncoder,
    tasks: AdTasks,
    train: Examples,
    valid: JudgedRows,
    test: JudgedRows,
    stopping: Examples,
    seed: int,
    *,
    with_baselines: bool,
    group_by: Sequence[str] = (),
) -> AdsEvaluation:
    """Metrics of each task, on the test rows and on those of validation; the first task's are the headline.

    valid      rows that the model was validated on
    test       rows of the test, none where nothing is held out: then baselines are judged on `stopping`
    stopping   validation rows in time, by which baselines stop early
    group_by   columns, as `groupings` has them
    """
    targets: dict[str, Any] = {}
    headline: tuple[Floats, dict[str, Floats]] | None = None
    judged = test if len(test.rows) else valid
    shown = {name: values[judged.shown] for name, values in judged.rows.inputs.items()}
    groups = groupings(encoder, shown, group_by)
    for name in (name for name in tasks.outputs if name in (CLICK, CONVERSION)):
        threshold = best_threshold(valid.labels(name)[valid.shown], valid.probabilities[name][valid.shown])
        others = _baselines(encoder, name, train, stopping, judged, seed) if with_baselines else {}
        found = {"model": judged.probabilities[name][judged.shown]}
        found |= {label: answers.probability[judged.shown] for label, answers in others.items()}
        labels, weight = judged.labels(name)[judged.shown], _weight(judged)
        targets[name] = {
            "test": _metrics(test, name, threshold),
            "validation": _metrics(valid, name, threshold),
            "baselines": {
                label: binary_metrics(labels, found[label], answers.threshold, weight) for label, answers in others.items()
            },
            "threshold": threshold,
            "uncertainty": bootstrap_binary_metrics(
                labels,
                found,
                threshold,
                ClusterBootstrap.from_groups(len(labels), judged.user[judged.shown], seed=seed),
                weight,
            ),
            "groups": metrics_by_group(labels, found["model"], threshold, groups, weight),
        }
        headline = headline or (labels, found)
    first = next(iter(targets.values()))
    metrics = first | {"targets": targets}
    labels, probabilities = headline or (np.zeros(0), {})
    return AdsEvaluation(metrics, labels, probabilities)


def _metrics(judged: JudgedRows, name: str, threshold: float) -> Metrics:
    if not len(judged.rows):
        return {}
    probability = judged.probabilities[name][judged.shown]
    return binary_metrics(judged.labels(name)[judged.shown], probability, threshold, _weight(judged))


def _weight(judged: JudgedRows) -> Floats | None:
    weight = judged.rows.weight
    return None if weight is None else weight[judged.shown].astype(np.float64)


@dataclass(frozen=True)
class _Answers:
    """Probabilities (N,) of the judged rows, and the threshold that was best on the validation rows."""

    probability: Floats
    threshold: float


def _baselines(
    encoder: TableEncoder, name: str, train: Examples, stopping: Examples, judged: JudgedRows, seed: int
) -> dict[str, _Answers]:
    """Of the impressions that were shown, without a word on their places."""
    column = 0 if name == CLICK else 1

    def plain(rows: Examples, *, shown: bool = True) -> Examples:
        target = rows.targets[TARGET]
        part = Examples(rows.inputs, {"label": target[:, column]}, rows.weight)
        return part.take(target[:, 3] > 0) if shown else part

    train, stopping = plain(train), plain(stopping)
    if not 0 < stopping.targets["label"].sum() < len(stopping):
        stopping = train
    every = plain(judged.rows, shown=False)
    found = binary_baselines(encoder, train, stopping, [stopping, every], seed=seed, budget=_BASELINE_BUDGET)
    return {
        label: _Answers(answers[1], best_threshold(stopping.targets["label"], answers[0])) for label, answers in found.items()
    }
