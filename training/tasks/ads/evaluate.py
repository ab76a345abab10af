"""Metrics of an ad model and its baselines: the content of `metrics.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from personalization.core.encoder import TableEncoder
from training.baselines import binary_baselines
from training.evaluation.bootstrap import ClusterBootstrap, bootstrap_binary_metrics
from training.evaluation.group_metrics import groupings, metrics_by_group
from training.evaluation.metrics import Metrics, best_threshold, binary_metrics
from training.fitting import Examples
from training.task import Evaluation
from training.tasks.ads.heads import CLICK, CONVERSION, AdTasks
from training.tasks.ads.model import labels_of, shown

_BASELINE_BUDGET: Final = 120.0  # seconds of the dense network
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ScoredImpressions:
    """Shown impressions with the probabilities that a model gives them.

    probabilities   (N,) P(click) and P(conversion) at their positions, by name
    user            (N,) codes
    """

    rows: Examples
    probabilities: Mapping[str, Floats]
    user: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Examples, probabilities: Mapping[str, Floats], user: NDArray[np.int64]) -> ScoredImpressions:
        """The shown ones of all impressions."""
        chosen = shown(rows)
        return cls(rows.take(chosen), {name: values[chosen] for name, values in probabilities.items()}, user[chosen])

    @property
    def weight(self) -> Floats | None:
        return None if self.rows.weight is None else self.rows.weight.astype(np.float64)

    def metrics(self, name: str, threshold: float) -> Metrics:
        """Of an output; empty without rows."""
        if not len(self.rows):
            return {}
        return binary_metrics(labels_of(self.rows, name), self.probabilities[name], threshold, self.weight)


def evaluate(
    encoder: TableEncoder,
    tasks: AdTasks,
    train: Examples,
    stopping: Examples,
    validation: ScoredImpressions,
    test: ScoredImpressions,
    seed: int,
    *,
    with_baselines: bool,
    group_by: Sequence[str] = (),
) -> Evaluation:
    """Metrics of each output on test and validation rows; those of the first output are the headline.

    stopping     later rows than `train`, by which baselines stop early
    validation   scored by networks that were not trained on them
    test         without rows where nothing is held out: then groups, intervals and baselines are those of `validation`
    group_by     columns, see `groupings`
    """
    scored = test if len(test.rows) else validation
    weight = scored.weight
    groups = groupings(encoder, scored.rows.inputs, group_by)
    targets: dict[str, Any] = {}
    first: tuple[Floats, dict[str, Floats]] | None = None
    for name in (name for name in tasks.outputs if name in (CLICK, CONVERSION)):
        labels = labels_of(scored.rows, name)
        threshold = best_threshold(labels_of(validation.rows, name), validation.probabilities[name])
        probabilities, baselines = {"model": scored.probabilities[name]}, {}
        if with_baselines:
            for baseline, (probability, its_threshold) in _baselines(encoder, name, train, stopping, scored, seed).items():
                probabilities[baseline] = probability
                baselines[baseline] = binary_metrics(labels, probability, its_threshold, weight)
        bootstrap = ClusterBootstrap.from_groups(len(labels), scored.user, seed=seed)
        targets[name] = {
            "test": test.metrics(name, threshold),
            "validation": validation.metrics(name, threshold),
            "baselines": baselines,
            "threshold": threshold,
            "uncertainty": bootstrap_binary_metrics(labels, probabilities, threshold, bootstrap, weight),
            "groups": metrics_by_group(labels, probabilities["model"], threshold, groups, weight),
        }
        first = first or (labels, probabilities)
    assert first is not None  # a log has clicks or conversions
    return Evaluation(next(iter(targets.values())) | {"targets": targets}, *first)


def _baselines(
    encoder: TableEncoder, name: str, train: Examples, stopping: Examples, scored: ScoredImpressions, seed: int
) -> dict[str, tuple[Floats, float]]:
    """Probabilities of the scored rows and threshold of each baseline. Baselines do not use positions."""

    def labelled(rows: Examples) -> Examples:
        return Examples(rows.inputs, {"label": labels_of(rows, name).astype(np.float32)}, rows.weight)

    train, stopping = (labelled(rows.take(shown(rows))) for rows in (train, stopping))
    if not 0 < stopping.targets["label"].sum() < len(stopping):
        stopping = train
    probabilities = binary_baselines(
        encoder, train, stopping, [stopping, labelled(scored.rows)], seed=seed, budget=_BASELINE_BUDGET
    )
    return {
        baseline: (on_scored, best_threshold(stopping.targets["label"], on_stopping))
        for baseline, (on_stopping, on_scored) in probabilities.items()
    }
