"""`train ads --impressions F …` on the command line."""

from __future__ import annotations

import argparse

from training.runtime import prepare


def run(arguments: argparse.Namespace) -> None:
    """Train from the parsed options of `training.cli`. Raises `InvalidInput` for what the user can put right."""
    prepare(arguments.seed)  # before anything imports TensorFlow
    from training.ads.options import PATIENCE, AdData, AdTraining
    from training.ads.train import train_ads
    from training.fitting import FitOptions

    data = AdData(
        impressions=arguments.impressions,
        ads=arguments.ads,
        users=arguments.users,
        interactions=tuple(arguments.interactions or ()),
        mapping=arguments.map or {},
        attribution_days=arguments.attribution_days,
        no_test=arguments.no_test,
        timezone=arguments.timezone,
        seed=arguments.seed,
    )
    fit = FitOptions(
        seed=arguments.seed,
        epochs=arguments.epochs,
        patience=PATIENCE,
        quiet=arguments.quiet,
        tensorboard=arguments.tensorboard,
        budget=arguments.budget,
    )
    training = AdTraining(out=arguments.out, model=arguments.model, tune=arguments.tune, refit=arguments.refit, fit=fit)
    version = train_ads(data, training)
    print(f"{arguments.out}: ads {version}")
