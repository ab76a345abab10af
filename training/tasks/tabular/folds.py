"""`--folds K`: the mean of each metric over K folds, and its standard error."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from training.baselines.binary import binary_baselines
from training.evaluation.metrics import Metrics, best_threshold, binary_metrics
from training.fitting import FitOptions
from training.networks.tabular import TabularConfig
from training.tasks.tabular.model import TARGET, train_binary
from training.tasks.tabular.prepare import PreparedTable
from training.tasks.tabular.splits import folds, split

_log = logging.getLogger(__name__)
_VALID = 0.15


def cross_validate(prepared: PreparedTable, count: int, config: TabularConfig, options: FitOptions) -> dict[str, Any]:
    """Each row of the table is held out once; of the others 15 % say when to stop.

    ``{"count", "mean": {metric}, "standard_error": {metric}, "baselines": {name: {"mean", "standard_error"}}}``. What a
    column is was decided once, without looking at labels.
    """
    labels = prepared.everything.targets[TARGET]
    results: dict[str, list[Metrics]] = {}
    for fold, held in enumerate(folds(labels, prepared.groups, count, options.seed)):
        rest = np.setdiff1d(np.arange(len(labels)), held)
        learn, stop = split(labels[rest], _renumbered(prepared.groups[rest]), [1 - _VALID, _VALID], options.seed + fold)
        train, valid, test = (prepared.everything.take(rows) for rows in (rest[learn], rest[stop], held))
        if not len(valid) or not len(test) or not 0 < train.targets[TARGET].mean() < 1:
            continue  # too few rows of a class for so many folds
        model = train_binary(prepared.encoder, train, valid, config, options)
        answers = {"": [model.probability(valid), model.probability(test)]}
        answers |= binary_baselines(prepared.encoder, train, valid, [valid, test], seed=options.seed, budget=60.0)
        for name, (on_valid, on_test) in answers.items():
            threshold = best_threshold(valid.targets[TARGET], on_valid)
            results.setdefault(name, []).append(binary_metrics(test.targets[TARGET], on_test, threshold))
        _log.info("fold %d of %d: AUC %s", fold + 1, count, results[""][-1]["auc"])
    own = _summary(results.pop("", []))
    return {"count": count, **own, "baselines": {name: _summary(metrics) for name, metrics in results.items()}}


def _summary(metrics: Sequence[Metrics]) -> dict[str, Mapping[str, float | None]]:
    mean: dict[str, float | None] = {}
    error: dict[str, float | None] = {}
    for name in metrics[0] if metrics else ():
        values = [value for one in metrics if (value := one[name]) is not None]
        mean[name] = float(np.mean(values)) if values else None
        error[name] = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return {"mean": mean, "standard_error": error}


def _renumbered(groups: Any) -> Any:
    return np.unique(groups, return_inverse=True)[1]
