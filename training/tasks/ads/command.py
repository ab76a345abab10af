"""`train ads --impressions F …` on the command line."""

from __future__ import annotations

import argparse

from training.cli.raw import fit_settings, model_settings
from training.runtime import prepare


def run(arguments: argparse.Namespace) -> None:
    """Train from the parsed options of `training.cli`. Raises `InvalidInput` for what the user can put right."""
    prepare(arguments.seed)  # before anything imports TensorFlow
    from training.fitting import FitOptions
    from training.networks.tabular import TabularConfig
    from training.task import TabularOptions
    from training.tasks.ads.options import PATIENCE, AdData
    from training.tasks.ads.train import train_ads

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
    fit = FitOptions(patience=PATIENCE, **fit_settings(arguments))
    training = TabularOptions(config=TabularConfig(), fit=fit, groups=arguments.groups, **model_settings(arguments))
    version = train_ads(data, training)
    print(f"{arguments.out}: ads {version}")
