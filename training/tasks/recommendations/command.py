"""`train recommendations --interactions F …` on the command line."""

from __future__ import annotations

import argparse

from personalization.core.errors import InvalidInput
from training.cli.raw import fit_settings, model_settings
from training.runtime import prepare


def run(arguments: argparse.Namespace) -> None:
    """Train from the parsed options of `training.cli`. Raises `InvalidInput` for what the user can put right."""
    if arguments.groups:
        raise InvalidInput("expected --groups for tables, profiles or ads; recommendations have no groups of rows to evaluate")
    prepare(arguments.seed)  # before anything imports TensorFlow
    from training.fitting import FitOptions
    from training.networks.sequence import SequenceConfig
    from training.task import TrainOptions, train
    from training.tasks.recommendations.prepare import RecommendationData
    from training.tasks.recommendations.sequence_training import LEARNING_RATE, PATIENCE
    from training.tasks.recommendations.task import RecommendationTask

    data = RecommendationData(
        interactions=tuple(arguments.interactions),
        items=arguments.items,
        mapping=arguments.map or {},
        split=arguments.split,
        cutoff=arguments.cutoff,
        no_test=arguments.no_test,
        timezone=arguments.timezone,
        seed=arguments.seed,
    )
    fit = FitOptions(patience=PATIENCE, learning_rate=LEARNING_RATE, **fit_settings(arguments))
    version = train(RecommendationTask(data, TrainOptions(config=SequenceConfig(), fit=fit, **model_settings(arguments))))
    print(f"{arguments.out}: recommendations {version}")
