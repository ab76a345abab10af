"""`--tune N`: N tries of the network's settings, judged on the validation rows alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from training.fitting import FitOptions
from training.networks.tabular import TabularConfig

Result = TypeVar("Result")


def tune(
    attempt: Callable[[TabularConfig, FitOptions], tuple[float, Result]],
    tries: int,
    config: TabularConfig,
    options: FitOptions,
) -> tuple[Result, TabularConfig, FitOptions, list[dict[str, Any]]]:
    """Try `tries` settings after the given ones, which are the first; answer the best result, its settings, and all tries.

    attempt   trains with the settings and answers its validation loss and whatever it made

    Tree-structured Parzen estimator, seeded (Bergstra et al. 2011; optuna).
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    log = logging.getLogger(__name__)
    best: tuple[float, Result, TabularConfig, FitOptions] | None = None
    tried: list[dict[str, Any]] = []

    def objective(trial: Any) -> float:
        nonlocal best
        rate = trial.suggest_float("learning_rate", 5e-4, 8e-3, log=True)
        decay = trial.suggest_float("weight_decay", 1e-3, 0.5, log=True)
        dropout = trial.suggest_float("dropout", 0.0, 0.4)
        width = trial.suggest_categorical("width", [32, 64, 96])
        depth = trial.suggest_int("depth", 1, 3)
        bins = trial.suggest_categorical("bins", [None, 0, 4, 16, 32])
        its_config = replace(config, dropout=dropout, widths=(width,) * depth, bins=bins)
        its_options = replace(options, learning_rate=rate, weight_decay=decay)
        loss, result = attempt(its_config, its_options)
        tried.append({**trial.params, "validation_loss": loss})
        log.info("try %d of %d: validation loss %.5f", len(tried), tries + 1, loss)
        if best is None or loss < best[0]:
            best = (loss, result, its_config, its_options)
        return loss

    study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=options.seed))
    study.enqueue_trial(
        {
            "learning_rate": options.learning_rate,
            "weight_decay": options.weight_decay,
            "dropout": config.dropout,
            "width": config.widths[0],
            "depth": len(config.widths),
            "bins": config.bins,
        }
    )
    study.optimize(objective, n_trials=tries + 1)
    if best is None:
        raise ValueError("expected at least one try")
    return best[1], best[2], best[3], tried
