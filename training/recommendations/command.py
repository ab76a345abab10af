"""`train recommendations --interactions F …` on the command line."""

from __future__ import annotations

import argparse

from training.runtime import prepare


def run(arguments: argparse.Namespace) -> None:
    """Train from the parsed options of `training.cli`. Raises `InvalidInput` for what the user can put right."""
    prepare(arguments.seed)  # before anything imports TensorFlow
    from training.recommendations.fitting import FitOptions
    from training.recommendations.options import RecommendationData, RecommendationTraining
    from training.recommendations.train import train_recommendations

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
    fit = FitOptions(
        seed=arguments.seed,
        epochs=arguments.epochs,
        budget=arguments.budget,
        quiet=arguments.quiet,
        tensorboard=arguments.tensorboard,
    )
    training = RecommendationTraining(
        out=arguments.out, model=arguments.model, tune=arguments.tune, refit=arguments.refit, fit=fit
    )
    version = train_recommendations(data, training)
    print(f"{arguments.out}: recommendations {version}")
