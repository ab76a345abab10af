"""``train JOB …``: from a flat table, or from a job's raw events."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

from personalization.core.errors import InvalidInput
from personalization.core.schema import JOBS
from personalization.core.time import parse_timezone
from personalization.data import parse_mapping
from training.cli import raw

# Where the trainers from raw events live: a function `run(arguments)` each.
RAW: Final = {
    "profiles": "training.tasks.profiles.command",
    "recommendations": "training.tasks.recommendations.command",
    "ads": "training.tasks.ads.command",
}


def add(commands: Any) -> None:
    """Add ``train`` with one subcommand for each job."""
    parser = commands.add_parser("train", help="train a model and write its bundle")
    jobs = parser.add_subparsers(required=True, metavar="JOB")
    for job in JOBS:
        one = jobs.add_parser(job, help=f"a model for {job}")
        one.set_defaults(run=run, job=job)
        _table(one)
        raw.ADD[job](one)
        _common(one)
        one.set_defaults(**raw.DEFAULTS.get(job, {}))


def run(arguments: argparse.Namespace) -> None:
    """Train from what was given: exactly one of a table and raw events."""
    table, events = arguments.table, getattr(arguments, raw.SOURCE[arguments.job])
    if (table is None) == (events is None):
        source = "--" + raw.SOURCE[arguments.job]
        raise InvalidInput(f"expected either --table with --label, or {source}; received {'both' if table else 'neither'}")
    if table is None:
        cast(Callable[[argparse.Namespace], None], importlib.import_module(RAW[arguments.job]).run)(arguments)
    else:
        _run_table(arguments)


def _run_table(arguments: argparse.Namespace) -> None:
    if arguments.label is None:
        raise InvalidInput("expected --label with the name of the label's column")
    if arguments.folds == 1:
        raise InvalidInput("expected at least 2 folds, received 1")
    if arguments.no_test and arguments.test is not None:
        raise InvalidInput("expected --test or --no-test, received both")
    from training.runtime import prepare

    prepare(arguments.seed)
    from training.fitting import FitOptions
    from training.networks.tabular import TabularConfig
    from training.task import TrainOptions, train
    from training.tasks.tabular.prepare import FlatTableData
    from training.tasks.tabular.task import FlatTableTask

    data = FlatTableData(
        job=arguments.job,
        folds=arguments.folds,
        table=arguments.table,
        label=arguments.label,
        valid=arguments.valid,
        test=arguments.test,
        no_test=arguments.no_test,
        positive=arguments.positive,
        mapping=arguments.map or {},
        timezone=arguments.timezone,
        seed=arguments.seed,
    )
    options = TrainOptions(
        config=TabularConfig(),
        groups=arguments.groups,
        fit=FitOptions(**raw.fit_settings(arguments)),
        **raw.model_settings(arguments),
    )
    version = train(FlatTableTask(data, options))
    print(f"{arguments.out}: {arguments.job}-table {version}")


def _table(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("from a flat table", "any numeric, categorical and date columns, with a label")
    group.add_argument("--table", type=Path, metavar="F", help="CSV, CSV.gz, JSON Lines or Parquet")
    group.add_argument("--label", metavar="COL", help="column with two different values")
    group.add_argument("--positive", metavar="WORD", help="the value that counts as 1, where that is not plain")
    group.add_argument("--valid", type=Path, metavar="F", help="validation rows; else 15 %% of the table")
    group.add_argument("--test", type=Path, metavar="F", help="test rows; else 15 %% of the table")
    group.add_argument("--folds", type=_count, default=0, metavar="K", help="also cross-validate over K folds")


def _common(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("every training")
    group.add_argument("--out", type=Path, required=True, metavar="DIR", help="the bundle, and metrics.json beside it")
    group.add_argument("--no-test", action="store_true", help="hold nothing out for test")
    group.add_argument("--seed", type=int, default=0, metavar="N")
    group.add_argument("--tune", type=_count, default=0, metavar="N", help="try N settings, judged on validation")
    group.add_argument("--refit", action="store_true", help="also train one on everything, in DIR/refit")
    group.add_argument(
        "--model", choices=("tabular", "base-rate"), default="tabular", help="base-rate: a constant, to start with"
    )
    group.add_argument(
        "--groups", type=_names, default=(), metavar="COL,…", help="judge their groups one by one; else columns of few words"
    )
    group.add_argument("--map", type=mapping, metavar="OURS=THEIRS,…", help="other column names, or a JSON file with them")
    group.add_argument(
        "--timezone", type=_timezone, default="UTC", metavar="ZONE", help="of times without an offset, and of hours"
    )
    group.add_argument("--epochs", type=_count, default=200, metavar="N", help="at most")
    group.add_argument("--budget", type=float, default=300.0, metavar="SECONDS", help="of one network's training")
    group.add_argument("--tensorboard", type=Path, metavar="DIR", help="write logs for TensorBoard")
    group.add_argument("--quiet", action="store_true", help="warnings only")


def mapping(text: str) -> dict[str, str]:
    """``user_id=CustomerID,event_type==purchase``, or the name of a JSON file."""
    try:
        return parse_mapping(Path(text).read_bytes() if text.endswith(".json") else text)
    except (InvalidInput, OSError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected a number from 0, received {value}")
    return value


def _timezone(text: str) -> str:
    try:
        parse_timezone(text)
    except InvalidInput as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
