"""`--tune N`: N settings of a network besides the given ones, compared by their validation score alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar

from training.task import TabularOptions, TrainOptions

Options = TypeVar("Options", bound=TrainOptions[Any])
Result = TypeVar("Result")
# Trains with some options; the validation score, and the trained model.
Attempt = Callable[[Options], tuple[float, Result]]

_log = logging.getLogger(__name__)


class SearchSpace(Protocol[Options]):
    """The settings that a task tunes.

    metric     name of the validation score
    maximize   whether a larger score is better
    """

    metric: str
    maximize: bool

    def parameters(self, options: Options) -> dict[str, Any]:
        """Values of the tuned parameters in `options`, by parameter name: where the search starts."""
        ...

    def suggest(self, trial: Any, options: Options) -> Options:
        """`options` with the parameters that an `optuna.Trial` suggests."""
        ...


@dataclass
class Trials(Generic[Options, Result]):
    """Scores of the settings that were tried, and the best of them.

    records   for each trial its parameters and its score, by name
    """

    metric: str = "validation_loss"
    maximize: bool = False
    records: list[dict[str, Any]] = field(default_factory=list)
    _best: tuple[float, Options, Result] | None = None

    def run(self, attempt: Attempt[Options, Result], options: Options, parameters: dict[str, Any]) -> float:
        """Train with `options` and compare; the score."""
        score, result = attempt(options)
        self.records.append({**parameters, self.metric: score})
        _log.info("trial %d: %s %.5f", len(self.records), self.metric, score)
        if self._best is None or (score > self._best[0] if self.maximize else score < self._best[0]):
            self._best = (score, options, result)
        return score

    @property
    def best(self) -> tuple[Options, Result]:
        """The options with the best score, and the model trained with them. Raises `ValueError` before the first trial."""
        if self._best is None:
            raise ValueError("expected at least one trial")
        return self._best[1], self._best[2]


def tune(
    attempt: Attempt[Options, Result], options: Options, space: SearchSpace[Options]
) -> tuple[Options, Result, list[dict[str, Any]]]:
    """The best options and their model among the given ones and `options.tune` others; the records of all trials.

    Without `options.tune` the given options are used and nothing is recorded. Search: tree-structured Parzen estimator,
    seeded (Bergstra et al. 2011; optuna).
    """
    if not options.tune:
        return options, attempt(options)[1], []
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trials = Trials[Options, Result](space.metric, space.maximize)
    study = optuna.create_study(
        direction="maximize" if space.maximize else "minimize", sampler=optuna.samplers.TPESampler(seed=options.fit.seed)
    )
    study.enqueue_trial(space.parameters(options))

    def objective(trial: Any) -> float:
        suggested = space.suggest(trial, options)
        return trials.run(attempt, suggested, trial.params)

    study.optimize(objective, n_trials=options.tune + 1)
    return *trials.best, trials.records


class TabularSearchSpace:
    """Size, dropout and optimizer of a tabular network, compared by validation loss."""

    metric = "validation_loss"
    maximize = False

    def parameters(self, options: TabularOptions) -> dict[str, Any]:
        config, fit = options.config, options.fit
        return {
            "learning_rate": fit.learning_rate,
            "weight_decay": fit.weight_decay,
            "dropout": config.dropout,
            "width": config.widths[0],
            "depth": len(config.widths),
            "bins": config.bins,
        }

    def suggest(self, trial: Any, options: TabularOptions) -> TabularOptions:
        rate = trial.suggest_float("learning_rate", 5e-4, 8e-3, log=True)
        decay = trial.suggest_float("weight_decay", 1e-3, 0.5, log=True)
        dropout = trial.suggest_float("dropout", 0.0, 0.4)
        width = trial.suggest_categorical("width", [32, 64, 96])
        depth = trial.suggest_int("depth", 1, 3)
        bins = trial.suggest_categorical("bins", [None, 0, 4, 16, 32])
        config = replace(options.config, dropout=dropout, widths=(width,) * depth, bins=bins)
        return replace(options, config=config, fit=replace(options.fit, learning_rate=rate, weight_decay=decay))
