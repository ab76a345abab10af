"""``train JOB …``: from a flat table, or from a job's raw events."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from personalization.core.errors import InvalidInput
from personalization.core.schema import JOBS
from training.cli import arguments as types

# The option that gives the raw events of a job.
_EVENTS: Final = {"profiles": "interactions", "recommendations": "interactions", "ads": "impressions"}
_RECOMMENDATIONS_BUDGET: Final = 1200.0


def add(commands: Any) -> None:
    """Add ``train`` with one subcommand for each job."""
    parser = commands.add_parser("train", help="train a model and write its bundle")
    jobs = parser.add_subparsers(required=True, metavar="JOB")
    for job in JOBS:
        subparser = jobs.add_parser(job, help=f"a model for {job}")
        subparser.set_defaults(run=run, job=job)
        _add_table(subparser)
        {"profiles": _add_profiles, "recommendations": _add_recommendations, "ads": _add_ads}[job](subparser)
        _add_training(subparser)
        if job == "recommendations":
            subparser.set_defaults(budget=_RECOMMENDATIONS_BUDGET)


def run(arguments: argparse.Namespace) -> None:
    """Train from either a table or raw events. Raises `InvalidInput` for what the user can put right."""
    events = _EVENTS[arguments.job]
    if (arguments.table is None) == (getattr(arguments, events) is None):
        received = "both" if arguments.table else "neither"
        raise InvalidInput(f"expected either --table with --label, or --{events}; received {received}")
    if arguments.table is not None:
        _check_table(arguments)
    elif arguments.job == "recommendations" and arguments.groups:
        raise InvalidInput("expected --groups for tables, profiles or ads; recommendations have no groups of rows to evaluate")
    from training.runtime import prepare

    prepare(arguments.seed)  # before anything imports TensorFlow
    from training.task import train

    task = _table_task(arguments) if arguments.table is not None else _events_task(arguments)
    print(f"{arguments.out}: {task.name} {train(task)}")


def _check_table(arguments: argparse.Namespace) -> None:
    if arguments.label is None:
        raise InvalidInput("expected --label with the name of the label's column")
    if arguments.folds == 1:
        raise InvalidInput("expected at least 2 folds, received 1")
    if arguments.no_test and arguments.test is not None:
        raise InvalidInput("expected --test or --no-test, received both")


def _table_task(arguments: argparse.Namespace) -> Any:
    from training.networks.tabular import TabularConfig
    from training.tasks.tabular.prepare import FlatTableData
    from training.tasks.tabular.task import FlatTableTask

    data = FlatTableData(
        job=arguments.job,
        table=arguments.table,
        label=arguments.label,
        valid=arguments.valid,
        test=arguments.test,
        folds=arguments.folds,
        positive=arguments.positive,
        **_data_options(arguments),
    )
    return FlatTableTask(data, _train_options(arguments, TabularConfig()))


def _events_task(arguments: argparse.Namespace) -> Any:
    return {"profiles": _profiles_task, "recommendations": _recommendation_task, "ads": _ads_task}[arguments.job](arguments)


def _profiles_task(arguments: argparse.Namespace) -> Any:
    from training.tasks.profiles.model import NETWORK, PATIENCE
    from training.tasks.profiles.prepare import ProfileData
    from training.tasks.profiles.task import ProfilesTask

    data = ProfileData(
        interactions=tuple(arguments.interactions),
        items=arguments.items,
        users=arguments.users,
        id_map=arguments.id_map,
        cutoff=arguments.cutoff,
        horizon=arguments.horizon,
        churn_horizon=arguments.churn_horizon,
        **_data_options(arguments),
    )
    return ProfilesTask(data, _train_options(arguments, NETWORK, patience=PATIENCE))


def _recommendation_task(arguments: argparse.Namespace) -> Any:
    from training.networks.sequence import SequenceConfig
    from training.tasks.recommendations.prepare import RecommendationData
    from training.tasks.recommendations.sequence_training import LEARNING_RATE, PATIENCE
    from training.tasks.recommendations.task import RecommendationTask

    data = RecommendationData(
        interactions=tuple(arguments.interactions),
        items=arguments.items,
        split=arguments.split,
        cutoff=arguments.cutoff,
        **_data_options(arguments),
    )
    options = _train_options(arguments, SequenceConfig(), patience=PATIENCE, learning_rate=LEARNING_RATE)
    return RecommendationTask(data, options)


def _ads_task(arguments: argparse.Namespace) -> Any:
    from training.networks.tabular import TabularConfig
    from training.tasks.ads.model import PATIENCE
    from training.tasks.ads.prepare import AdData
    from training.tasks.ads.task import AdsTask

    data = AdData(
        impressions=arguments.impressions,
        ads=arguments.ads,
        users=arguments.users,
        interactions=tuple(arguments.interactions or ()),
        attribution_days=arguments.attribution_days,
        **_data_options(arguments),
    )
    return AdsTask(data, _train_options(arguments, TabularConfig(), patience=PATIENCE))


def _data_options(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "mapping": arguments.map or {},
        "no_test": arguments.no_test,
        "timezone": arguments.timezone,
        "seed": arguments.seed,
    }


def _train_options(arguments: argparse.Namespace, config: Any, **fit: Any) -> Any:
    """`TrainOptions` of a network; `fit` are fields of its `FitOptions` that the command line does not give."""
    from training.fitting import FitOptions
    from training.task import TrainOptions

    fit |= {name: getattr(arguments, name) for name in ("seed", "epochs", "quiet", "tensorboard", "budget")}
    options = {name: getattr(arguments, name) for name in ("out", "model", "tune", "refit", "groups")}
    return TrainOptions(config=config, fit=FitOptions(**fit), **options)


def _add_table(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("from a flat table", "any numeric, categorical and date columns, with a label")
    group.add_argument("--table", type=Path, metavar="F", help="CSV, CSV.gz, JSON Lines or Parquet")
    group.add_argument("--label", metavar="COL", help="column with two different values")
    group.add_argument("--positive", metavar="WORD", help="the value that counts as 1, where it does not follow from the two")
    group.add_argument("--valid", type=Path, metavar="F", help="validation rows; default: 15 %% of the table")
    group.add_argument("--test", type=Path, metavar="F", help="test rows; default: 15 %% of the table")
    group.add_argument("--folds", type=types.count, default=0, metavar="K", help="also cross-validate over K folds")


def _add_profiles(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("from interactions")
    _add_files(group, "interactions", "items", "users")
    group.add_argument("--id-map", type=Path, metavar="F", help="table: other id → user_id, for channels with ids of their own")
    group.add_argument("--cutoff", type=types.day, metavar="DATE", help="the test cut; training uses earlier cuts only")
    group.add_argument(
        "--horizon", type=types.days, default=14, metavar="DAYS", help="of the probability that a user buys (default 14)"
    )
    group.add_argument(
        "--churn-horizon",
        type=types.days,
        default=90,
        metavar="DAYS",
        help="without a purchase, after which a user counts as churned (default 90)",
    )


def _add_recommendations(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("from interactions")
    _add_files(group, "interactions", "items")
    group.add_argument("--split", choices=("leave-one-out", "temporal"), default="temporal", help="default: temporal")
    group.add_argument("--cutoff", type=types.day, metavar="DATE", help="the cut of the temporal split")


def _add_ads(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("from impressions")
    _add_files(group, "impressions", "ads", "users", "interactions")
    group.add_argument(
        "--attribution-days",
        type=types.days,
        metavar="DAYS",
        help="after an impression, within which conversions count; default: estimated from the data",
    )


def _add_files(group: argparse._ArgumentGroup, *names: str) -> None:
    for name in names:
        if name == "interactions":
            help_text = "may be given several times: the files are merged"
            group.add_argument(f"--{name}", type=Path, metavar="F", action="append", help=help_text)
        else:
            group.add_argument(f"--{name}", type=Path, metavar="F")


def _add_training(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("every training")
    group.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory of the bundle and of metrics.json")
    group.add_argument("--no-test", action="store_true", help="hold nothing out for test")
    group.add_argument("--seed", type=int, default=0, metavar="N")
    group.add_argument(
        "--tune", type=types.count, default=0, metavar="N", help="try N settings of the network, compared on validation"
    )
    group.add_argument("--refit", action="store_true", help="also train a model on everything, in DIR/refit")
    group.add_argument(
        "--model", choices=("tabular", "base-rate"), default="tabular", help="base-rate: constants instead of a network"
    )
    group.add_argument(
        "--groups",
        type=types.column_names,
        default=(),
        metavar="COL,…",
        help="columns whose groups are evaluated one by one; default: those with few words",
    )
    types.add_mapping(group)
    group.add_argument(
        "--timezone", type=types.timezone, default="UTC", metavar="ZONE", help="of times without an offset, and of hours"
    )
    group.add_argument("--epochs", type=types.count, default=200, metavar="N", help="at most (default 200)")
    group.add_argument("--budget", type=float, default=300.0, metavar="SECONDS", help="time limit of one network's training")
    group.add_argument("--tensorboard", type=Path, metavar="DIR", help="write logs for TensorBoard")
    group.add_argument("--quiet", action="store_true", help="log warnings only")
