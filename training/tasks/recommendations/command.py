"""`train recommendations --interactions F …` on the command line."""

from __future__ import annotations

import argparse

from personalization.core.errors import InvalidInput
from training.cli.raw import fit_settings, model_settings
from training.runtime import prepare


def run(arguments: argparse.Namespace) -> None:
    """Train from the parsed options of `training.cli`. Raises `InvalidInput` for what the user can put right."""
    if arguments.groups:
        raise InvalidInput("expected --groups with a table or for profiles and ads: lists of items have no groups of rows")
    prepare(arguments.seed)  # before anything imports TensorFlow
    from training.tasks.recommendations.options import RecommendationData, RecommendationTraining
    from training.tasks.recommendations.sequence_training import SequenceFitOptions
    from training.tasks.recommendations.train import train_recommendations

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
    training = RecommendationTraining(fit=SequenceFitOptions(**fit_settings(arguments)), **model_settings(arguments))
    version = train_recommendations(data, training)
    print(f"{arguments.out}: recommendations {version}")
