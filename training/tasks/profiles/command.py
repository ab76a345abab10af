"""`train profiles --interactions F …` on the command line."""

from __future__ import annotations

import argparse

from training.cli.raw import fit_settings, model_settings
from training.runtime import prepare


def run(arguments: argparse.Namespace) -> None:
    """Train from the parsed options of `training.cli`. Raises `InvalidInput` for what the user can put right."""
    prepare(arguments.seed)  # before anything imports TensorFlow
    from training.fitting import FitOptions
    from training.task import TabularOptions, train
    from training.tasks.profiles.options import NETWORK, PATIENCE, ProfileData
    from training.tasks.profiles.task import ProfilesTask

    data = ProfileData(
        interactions=tuple(arguments.interactions),
        items=arguments.items,
        users=arguments.users,
        id_map=arguments.id_map,
        mapping=arguments.map or {},
        cutoff=arguments.cutoff,
        no_test=arguments.no_test,
        horizon=arguments.horizon,
        churn_horizon=arguments.churn_horizon,
        timezone=arguments.timezone,
        seed=arguments.seed,
    )
    fit = FitOptions(patience=PATIENCE, **fit_settings(arguments))
    options = TabularOptions(config=NETWORK, fit=fit, groups=arguments.groups, **model_settings(arguments))
    version = train(ProfilesTask(data, options))
    print(f"{arguments.out}: profiles {version}")
